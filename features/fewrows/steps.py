"""Pieces of an Ibis expression, as the steps of a program take them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ibis.expr.operations as ops
import numpy as np

from features.fewrows.columns import Array, Column
from features.fewrows.groups import KEEPS_NULLS, REDUCTIONS, Groups, lag, row_number, sorted_rows


def sides(link: Any) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Return a link's equalities of a column on the left and one of its own, and its other conditions."""
    equal, further = [], []
    for predicate in link.predicates:
        sides = (predicate.left, predicate.right) if isinstance(predicate, ops.Equals) else ()
        if sides and all(isinstance(side, ops.Field) for side in sides) and sides[1].rel == link.table != sides[0].rel:
            equal.append(sides)
        else:
            further.append(predicate)
    return equal, further


def operands(node: Any) -> Iterator[Any]:
    """Yield the columns that an operation is over; what else it is told must be what the engine does anyway."""
    if isinstance(node, ops.Round):
        assert node.digits is None or node.digits.value == 0
        yield node.arg
        return
    assert not isinstance(node, ops.DateDelta) or node.part.value == "day"
    for name, argument in zip(node.argnames, node.args, strict=True):
        if name not in ("where", "part"):
            yield from argument if isinstance(argument, tuple) else (argument,)


def all_hold(conditions: tuple[Column, ...]) -> Column:
    """Return where every condition holds."""
    return Column(np.logical_and.reduce([condition.holds for condition in conditions]), np.True_)  # type: ignore[arg-type]


def holding(rows: int, *conditions: Column) -> Array:
    """Return which of so many rows every condition holds for."""
    return np.flatnonzero(np.broadcast_to(all_hold(conditions).values, rows))


def reducing(node: Any) -> Callable[..., Column]:
    """Return the step of a total over groups; its last column is the condition, where there is one."""
    function, keeps_nulls, conditional = REDUCTIONS[type(node)], isinstance(node, KEEPS_NULLS), node.where is not None

    def step(rows: int, groups: Groups, *columns: Column) -> Column:
        counts = columns[-1].full(rows).holds if conditional else np.ones(rows, bool)
        over = [column.full(rows) for column in (columns[:-1] if conditional else columns)]
        if over and not keeps_nulls:
            counts = counts & over[0].valid
        return function(groups, counts, *over)

    return step


@dataclass(frozen=True)
class Sorts:
    """What rows are sorted by."""

    columns: list[Any]
    ascending: list[bool]

    def _with(self, columns: tuple[Column, ...], groups: Groups) -> list[tuple[Column, bool]]:
        full = [column.full(len(groups.number)) for column in columns]
        return list(zip(full, self.ascending, strict=True))

    def rows(self, groups: Groups, *columns: Column) -> Array:
        """Return the rows sorted in each group."""
        return sorted_rows(groups, self._with(columns, groups))

    def places(self, groups: Groups, *columns: Column) -> Column:
        """Return each row's place in its group."""
        return row_number(groups, self._with(columns, groups))

    def before(self, groups: Groups, column: Column, *columns: Column) -> Column:
        """Return a column's value in the row before."""
        return lag(groups, self._with(columns, groups), column.full(len(groups.number)))


def sorts_of(keys: Any) -> Sorts:
    """Return what an expression sorts by; unknown values must come last."""
    assert not any(key.nulls_first for key in keys)
    return Sorts([key.arg for key in keys], [key.ascending for key in keys])
