"""Rows in groups: totals of a group, and windows over one."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import ibis.expr.operations as ops
import numpy as np

from features.fewrows.columns import Array, Column
from features.windows import bit_or


class Groups(NamedTuple):
    """Which group each row is in; groups are numbered as they first appear, and unknown is a value like others.

    ``order`` are the rows group by group, each group's in their order, and ``starts`` where each begins in it.
    """

    number: Array
    order: Array
    starts: Array

    @property
    def first(self) -> Array:
        """The first row of each group."""
        return self.order[self.starts]

    def totals(self, add: np.ufunc, values: Array) -> Array:
        """Return one value a group."""
        return add.reduceat(values[self.order], self.starts) if len(self.starts) else values[:0]


def group(rows: int, *keys: Column) -> Groups:
    """Group so many rows by some columns; by none they are one group."""
    if not keys:
        return Groups(np.zeros(rows, np.intp), np.arange(rows), np.zeros(min(rows, 1), np.intp))
    seen: dict[tuple[object, ...], int] = {}
    listed = zip(*(key.listed(rows) for key in keys), strict=True)
    number = np.array([seen.setdefault(key, len(seen)) for key in listed], np.intp)
    sizes = np.bincount(number, minlength=len(seen))
    return Groups(number, np.argsort(number, kind="stable"), np.cumsum(sizes) - sizes)


def _counted(groups: Groups, rows: Array) -> Array:
    return groups.totals(np.add, rows.astype(np.int64))


def _count(groups: Groups, rows: Array) -> Column:
    return Column(_counted(groups, rows), np.ones(len(groups.starts), bool))


def _sum(groups: Groups, rows: Array, column: Column) -> Column:
    return Column(groups.totals(np.add, np.where(rows, column.values, 0)), _counted(groups, rows) > 0)


def _any_bit(groups: Groups, rows: Array, column: Column) -> Column:
    return Column(groups.totals(np.bitwise_or, np.where(rows, column.values, 0)), _counted(groups, rows) > 0)


def _extreme(sign: int) -> Callable[..., Column]:
    def extreme(groups: Groups, rows: Array, column: Column) -> Column:
        return _at_extreme(groups, rows, column, column, sign)

    return extreme


def _arg_extreme(sign: int) -> Callable[..., Column]:
    def extreme(groups: Groups, rows: Array, column: Column, key: Column) -> Column:
        return _at_extreme(groups, rows, column, key, sign)

    return extreme


def _at_extreme(groups: Groups, rows: Array, column: Column, key: Column, sign: int) -> Column:
    """Return a column where a key is greatest (sign 1) or least (-1) in each group."""
    ranks = np.where(rows & key.valid, sign * _rank(key.values), np.iinfo(np.int64).min)
    best = np.lexsort((ranks, groups.number))[np.append(groups.starts[1:], len(ranks)) - 1] if len(ranks) else ranks
    return Column(column.values[best], column.valid[best] & (rows & key.valid)[best])


def _rank(values: Array) -> Array:
    """Return numbers in the order of the values."""
    if values.dtype == np.int64:
        return values
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _count_distinct(groups: Groups, rows: Array, column: Column) -> Column:
    found = set(zip(groups.number[rows].tolist(), column.values[rows].tolist(), strict=True))
    counts = np.bincount([number for number, _ in found], minlength=len(groups.starts)) if found else 0
    return Column(np.zeros(len(groups.starts), np.int64) + counts, np.ones(len(groups.starts), bool))


def _quantile(groups: Groups, rows: Array, column: Column, quantile: Column) -> Column:
    """Interpolate linearly between the two values around the quantile."""
    known = _counted(groups, rows)
    values = column.values[np.lexsort((column.values, ~rows, groups.number))]
    place = quantile.values[groups.first] * np.maximum(known - 1, 0)
    below = np.floor(place).astype(np.int64)
    low = values[groups.starts + below].astype(float)
    high = values[groups.starts + np.ceil(place).astype(np.int64)]
    return Column(low + (high - low) * (place - below), known > 0)


# Each takes the groups, the rows that count and its columns, and returns one row a group.
REDUCTIONS: Mapping[type[ops.Value], Callable[..., Column]] = {
    ops.Count: lambda groups, rows, _: _count(groups, rows),
    ops.CountStar: _count,
    ops.CountDistinct: _count_distinct,
    ops.Sum: _sum,
    type(bit_or(0).op()): _any_bit,
    ops.Min: _extreme(-1),
    ops.Max: _extreme(1),
    ops.Any: _extreme(1),
    ops.ArgMin: _arg_extreme(-1),
    ops.ArgMax: _arg_extreme(1),
    ops.Quantile: _quantile,
}
# Of these an unknown value counts as one: they return it from the row that the key chooses.
KEEPS_NULLS = (ops.ArgMin, ops.ArgMax)


def sorted_rows(groups: Groups, keys: Sequence[tuple[Column, bool]]) -> Array:
    """Return the rows group by group, each group's sorted by columns that ascend (True) or descend; unknown is last."""
    by: list[Array] = []
    for column, ascends in reversed(keys):
        ranks = _rank(column.values)
        by += [np.where(column.valid, ranks if ascends else -ranks, 0), ~column.valid]
    return np.lexsort((*by, groups.number))


def row_number(groups: Groups, keys: Sequence[tuple[Column, bool]]) -> Column:
    """Return each row's place in its group, from 0."""
    order = sorted_rows(groups, keys)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order)) - groups.starts[groups.number[order]]
    return Column(places, np.ones(len(order), bool))


def lag(groups: Groups, keys: Sequence[tuple[Column, bool]], column: Column) -> Column:
    """Return the value of the row before in each group."""
    order = sorted_rows(groups, keys)
    before = np.empty(len(order), np.intp)
    before[order] = np.append(-1, order[:-1]) if len(order) else order
    before[order[groups.starts]] = -1
    return column.take_or_null(before)
