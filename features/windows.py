"""Cutoffs, what each one can see, and the windows that end at it.

Money and quantities are summed as whole millionths: float addition depends on the order of the rows (and on the
number of threads), integer addition does not, so a customer's row is the same alone, in a batch and with any number
of cutoffs, to the last bit. Millionths keep every cent and four digits more; 64 bits reach 9.2e12 currency units.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import ibis
import pandas as pd

from features.records import AsOf

MICRO = 1e6
WINDOW_DAYS = (7, 30, 90, 180, 365)
KEYS = ("customer_id", "cutoff")


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
    """Return a condition as 0 or 1, so that its sum is a count and 0 (not null) where nothing holds."""
    return condition.fill_null(False).cast("int64")


def cutoff_table(moments: Sequence[AsOf]) -> ibis.Table:
    """Return one row per cutoff: number from 0 in time order, instant, last whole local day and window starts.

    A window of ``d`` days is ``[as_of - d * 86,400 s, as_of)``; the bounds are computed here, so no engine does
    interval arithmetic.
    """
    columns: dict[str, Any] = {
        "cutoff": range(len(moments)),
        "as_of": _instants([moment.naive_utc for moment in moments]),
        "last_day": pd.to_datetime([moment.day - timedelta(days=1) for moment in moments]).date,
    }
    for days in WINDOW_DAYS:
        columns[f"since_{days}d"] = _instants([moment.naive_utc - timedelta(days=days) for moment in moments])
    schema = dict.fromkeys(columns, "timestamp(6)") | {"cutoff": "int64", "last_day": "date"}
    return ibis.memtable(pd.DataFrame(columns), schema=schema)


def _instants(values: Sequence[Any]) -> pd.Series:
    return pd.Series(values, dtype="datetime64[us]")


def with_first_cutoff(events: ibis.Table, instant: str, moments: Sequence[AsOf]) -> ibis.Table:
    """Keep events that some cutoff can see and number the first one that does.

    An event is seen from a cutoff when it happened *and* became known strictly before it, so it is seen from every
    later cutoff too.
    """
    seen_from = ibis.greatest(events[instant], events.known_at)
    number: Any = ibis.literal(0, type="int64")
    for moment in moments:
        number = number + (seen_from >= ibis.literal(moment.naive_utc, type="timestamp(6)")).cast("int64")
    return events.mutate(first_cutoff=number).filter(lambda table: table.first_cutoff < len(moments))


def at_cutoffs(events: ibis.Table, cutoffs: ibis.Table) -> ibis.Table:
    """Repeat each numbered event (or group of events) for every cutoff that sees it, with the cutoff's columns."""
    return events.join(cutoffs, events.first_cutoff <= cutoffs.cutoff).drop("first_cutoff")


def days_between(later: Any, earlier: Any) -> Any:
    """Return whole days from one date to another."""
    return later.delta(earlier, unit="day")


def days_since(last_day: Any, day: Any) -> Any:
    """Return whole days from a date to the cutoff's last whole day; 0 for the cutoff's own, unfinished day."""
    days = days_between(last_day, day).cast("float64")
    return ibis.ifelse(days < 0.0, 0.0, days)
