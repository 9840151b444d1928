"""Columns of a few rows, and what each operation of an Ibis expression does to them, with SQL's nulls.

Text is an array of ``str``, an instant whole microseconds and a date whole days since 1970, as int64. Numbers of
whole millionths stay exact: `features.online` sends sums that could leave 64 bits to the other engine.
"""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NamedTuple

import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import numpy as np
import numpy.typing as npt

from features.windows import bit_count

Array = npt.NDArray[Any]
MICROSECONDS_PER_DAY = 86_400_000_000
MICROSECONDS_PER_HOUR = 3_600_000_000
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


class Column(NamedTuple):
    """Values and where they are known; of one dimension, or of none where all rows have the same."""

    values: Array
    valid: Array

    def take(self, rows: Array) -> "Column":
        """Return the column at these rows."""
        return self if self.values.ndim == 0 else Column(self.values[rows], self.valid[rows])

    def take_or_null(self, rows: Array) -> "Column":
        """Return the column at these rows; null where a row is -1."""
        found = rows >= 0
        if self.values.ndim == 0:
            return Column(self.values, found & self.valid)
        if not len(self.values):
            return Column(np.full(found.shape, blank(self.values.dtype.type)), found)
        return Column(self.values[rows], found & self.valid[rows])

    def full(self, rows: int) -> "Column":
        """Return the column with a value for each of so many rows."""
        if self.values.ndim:
            return self
        return Column(np.broadcast_to(self.values, rows), np.broadcast_to(self.valid, rows))

    @property
    def holds(self) -> Array:
        """Where a condition is known to be true."""
        return self.values & self.valid

    def listed(self, rows: int) -> list[Any]:
        """Return the rows as Python values, None where unknown."""
        values, valid = self.full(rows)
        return [value if known else None for value, known in zip(values.tolist(), valid.tolist(), strict=True)]


def constant(value: Any, dtype: dt.DataType) -> Column:
    """Return what every row has."""
    if value is None:
        return Column(np.array(blank(kind_of(dtype)), kind_of(dtype)), np.False_)  # type: ignore[arg-type]
    if dtype.is_timestamp():
        value = np.datetime64(value, "us").astype("int64")
    elif dtype.is_date():
        value = np.datetime64(value, "D").astype("int64")
    return Column(np.array(value, kind_of(dtype)), np.True_)  # type: ignore[arg-type]


def kind_of(dtype: dt.DataType) -> type:
    """Return the type of the values that stand for a type of Ibis's."""
    if dtype.is_floating():
        return float
    if dtype.is_boolean():
        return bool
    return object if dtype.is_string() else np.int64


def blank(kind: type) -> Any:
    """Return what stands where nothing is known."""
    return "" if kind in (object, np.object_) else kind(0)


def _strict(function: Callable[..., Array]) -> Callable[..., Column]:
    """Return an operation that is null where any of its columns is."""

    def operation(first: Column, *others: Column) -> Column:
        valid = first.valid
        for column in others:
            valid = valid & column.valid
        return Column(function(first.values, *[column.values for column in others]), valid)

    return operation


def _round(values: Array) -> Array:
    """Round halves away from zero, as SQL does; NumPy's own rounds them to even."""
    whole = np.trunc(values)
    rounded: Array = (whole + np.copysign(np.abs(values - whole) >= 0.5, values)).astype(np.int64)
    return rounded


def _and(left: Column, right: Column) -> Column:
    false = (left.valid & ~left.values) | (right.valid & ~right.values)
    return Column(left.values & right.values, (left.valid & right.valid) | false)


def _or(left: Column, right: Column) -> Column:
    return Column(left.holds | right.holds, (left.valid & right.valid) | left.holds | right.holds)


def _null_if(column: Column, other: Column) -> Column:
    return Column(column.values, column.valid & ~((column.values == other.values) & other.valid))


def _choose(condition: Column, then: Column, otherwise: Column) -> Column:
    holds = condition.holds
    return Column(np.where(holds, then.values, otherwise.values), np.where(holds, then.valid, otherwise.valid))


def _first_known(*columns: Column) -> Column:
    return reduce(
        lambda first, then: Column(np.where(first.valid, first.values, then.values), first.valid | then.valid), columns
    )


def _extreme(pick: Callable[..., Array]) -> Callable[..., Column]:
    """Return the greatest or least of some columns' known values."""

    def of_two(left: Column, right: Column) -> Column:
        both = pick(left.values, right.values)
        values = np.where(left.valid & right.valid, both, np.where(left.valid, left.values, right.values))
        return Column(values, left.valid | right.valid)

    return lambda *columns: reduce(of_two, columns)


def _any_of(column: Column, *options: Column) -> Column:
    equal = [column.values == option.values for option in options]
    return Column(np.logical_or.reduce(equal), column.valid)


def _listing(*items: Column) -> Column:
    values, valid = zip(*items, strict=True)
    return Column(np.stack(values), np.stack(valid))


def _known(column: Column) -> Column:
    return Column(column.valid, np.True_)  # type: ignore[arg-type]


def _unknown(column: Column) -> Column:
    return Column(~column.valid, np.True_)  # type: ignore[arg-type]


def casting(given: dt.DataType, wanted: dt.DataType) -> Callable[[Column], Column] | None:
    """Return what makes one type another, None where nothing need; fractions round to even, as in DuckDB."""
    kind = kind_of(wanted)
    if kind_of(given) is kind:
        return None
    if wanted.is_string():
        unit = (
            {True: "datetime64[us]", False: "datetime64[D]"}.get(given.is_timestamp()) if given.is_temporal() else None
        )
        return _strict(lambda values: (values.astype(unit) if unit else values).astype(str).astype(object))
    if wanted.is_integer() and given.is_floating():
        return _strict(lambda values: np.rint(values).astype(kind))
    return _strict(lambda values: values.astype(kind))


# What stands beside the operands in an operation (digits, parts) is checked where expressions are compiled.
OPERATIONS: Mapping[type[ops.Value], Callable[..., Column]] = {
    ops.Add: _strict(np.add),
    ops.Subtract: _strict(np.subtract),
    ops.Multiply: _strict(np.multiply),
    ops.Divide: _strict(np.true_divide),
    ops.Negate: _strict(np.negative),
    ops.Equals: _strict(np.equal),
    ops.NotEquals: _strict(np.not_equal),
    ops.Less: _strict(np.less),
    ops.LessEqual: _strict(np.less_equal),
    ops.Greater: _strict(np.greater),
    ops.GreaterEqual: _strict(np.greater_equal),
    ops.Not: _strict(np.logical_not),
    ops.And: _and,
    ops.Or: _or,
    ops.NotNull: _known,
    ops.IsNull: _unknown,
    ops.NullIf: _null_if,
    ops.IfElse: _choose,
    ops.Coalesce: _first_known,
    ops.Greatest: _extreme(np.maximum),
    ops.Least: _extreme(np.minimum),
    ops.InValues: _any_of,
    ops.Sqrt: _strict(np.sqrt),
    ops.Cos: _strict(np.cos),
    ops.Sin: _strict(np.sin),
    ops.Floor: _strict(lambda numbers: np.floor(numbers).astype(np.int64)),
    ops.Round: _strict(_round),
    ops.StringConcat: _strict(lambda *texts: reduce(np.add, texts)),
    ops.Date: _strict(lambda instants: instants // MICROSECONDS_PER_DAY),
    ops.ExtractHour: _strict(lambda instants: instants // MICROSECONDS_PER_HOUR % 24),
    ops.DayOfWeekIndex: _strict(lambda instants: (instants // MICROSECONDS_PER_DAY + EPOCH_WEEKDAY) % 7),
    ops.DateDelta: _strict(np.subtract),
    ops.BitwiseLeftShift: _strict(np.left_shift),
    type(bit_count(0).op()): _strict(lambda bits: np.bitwise_count(bits).astype(np.int64)),
    ops.Array: _listing,
    ops.Unnest: lambda listed: listed,
}
