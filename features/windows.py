"""Cutoffs, what each one sees, and the windows that end at it.

Money and quantities are summed as whole millionths: float addition depends on the order of the rows (and on the
number of threads), integer addition does not, so a customer's row is the same alone, in a batch and with any number
of cutoffs, to the last bit. Millionths keep every cent and four digits more; 64 bits reach 9.2e12 currency units.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops

from features.records import AsOf

MICRO = 1e6
WINDOW_DAYS = (7, 30, 90, 180, 274, 364, 365)
KEYS = ("customer_id",)

Columns = Mapping[str, Any]


def micro(amount: Any) -> Any:
    """Return a float column as whole millionths (int64), which add up exactly in any order."""
    return (amount * MICRO).round().cast("int64")


def units(total: Any) -> Any:
    """Return a sum of millionths as a float."""
    return total.cast("float64") / MICRO


def ratio(part: Any, whole: Any) -> Any:
    """Return ``part / whole`` as a float, null where the whole is 0."""
    return part.cast("float64") / whole.cast("float64").nullif(0.0)


def flag(condition: Any) -> Any:
    """Return a condition as 0 or 1; unknown is 0."""
    return condition.fill_null(False).cast("int64")


def count(condition: Any) -> Any:
    """Return in how many rows a condition holds; 0 (not null) where it holds in none."""
    return condition.count(where=condition)


def total(whole: Any, where: Any = None) -> Any:
    """Return the sum of whole numbers in 64 bits: DuckDB's own has 128, which all that reads it would drag along."""
    return ops.Cast(whole.sum(where=where), dt.int64).to_expr()


def cutoff_columns(moment: AsOf) -> Columns:
    """Return what is the same for all that one cutoff sees: its instant, last whole local day and window starts.

    A window of ``d`` days is ``[as_of - d * 86,400 s, as_of)``; the bounds are computed here, so no engine does
    interval arithmetic.
    """
    starts = {f"since_{days}d": _instant(moment.naive_utc - timedelta(days=days)) for days in WINDOW_DAYS}
    last_day = ibis.literal(moment.day - timedelta(days=1), type="date")
    return {"as_of": _instant(moment.naive_utc), "last_day": last_day, **starts}


def _instant(value: datetime) -> ibis.Value:
    return ibis.literal(value, type="timestamp(6)")


def seen(events: ibis.Table, instant: str, moment: AsOf) -> ibis.Table:
    """Keep the events that a cutoff sees: they happened *and* became known strictly before it."""
    as_of = _instant(moment.naive_utc)
    return events.filter(events[instant] < as_of, events.known_at < as_of)


def with_first_cutoff(events: ibis.Table, instant: str, moments: Sequence[AsOf]) -> ibis.Table:
    """Keep events that the last of the cutoffs, in time order, sees, and number the first that sees each."""
    seen_from = ibis.greatest(events[instant], events.known_at)
    number: Any = ibis.literal(0, type="int16")
    for moment in moments[:-1]:
        number = number + (seen_from >= _instant(moment.naive_utc)).cast("int16")
    return seen(events, instant, moments[-1]).mutate(first_cutoff=number.cast("int16"))


def days_between(later: Any, earlier: Any) -> Any:
    """Return whole days from one date to another."""
    return later.delta(earlier, unit="day")


def days_since(last_day: Any, day: Any) -> Any:
    """Return whole days from a date to the cutoff's last whole day; 0 for the cutoff's own, unfinished day."""
    days = days_between(last_day, day).cast("float64")
    return ibis.ifelse(days < 0.0, 0.0, days)


def stretches(last_day: Any, day: Any, *, days: int, latest: int) -> Any:
    """Return in how many of the ``latest`` stretches of ``days`` whole days, counted back from the last, dates lie.

    Each stretch sets a bit: one pass over the rows, where counting distinct numbers makes DuckDB group them once more.
    """
    number = (days_since(last_day, day) / float(days)).floor().cast("int64")
    bit = ibis.literal(1, type="int64") << ibis.least(number, latest)
    return bit_count(bit_or(bit, where=number < latest)).fill_null(0)


@ibis.udf.agg.builtin  # type: ignore[untyped-decorator]
def bit_or(bits: int) -> int:  # type: ignore[empty-body]
    """Return the bits that any row has; Ibis itself has no name for it on Spark."""


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def bit_count(bits: int) -> int:  # type: ignore[empty-body]
    """Return how many bits are set."""
