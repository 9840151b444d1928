"""Suspicions about the log as a whole: holes, spikes, its first weeks and its last day.

What is usual for a day is the median of the same weekday within six weeks around it, so growth, a cohort that fades
and closed Sundays raise nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from features.suspicions.finding import Ask, Suspicion, share

WEEKS_AROUND = 6
# A hole is told from chance and from holidays: two usual days or more without orders, 20 orders missing.
FEWEST_OPEN_DAYS, FEWEST_MISSING = 2, 20
SPIKE_TIMES, SPIKE_ORDERS = 5, 50
START_DAYS, START_TIMES, START_CUSTOMERS = 28, 2, 100
SHOWN = 4


@dataclass(frozen=True)
class Days:
    """Orders by local day from the first to the last, and what is usual for each day's weekday."""

    first: date
    counts: NDArray[np.int64]
    usual: NDArray[np.float64]

    def day(self, position: int) -> date:
        """Return the date at a position."""
        return self.first + timedelta(days=int(position))


def find(ask: Ask) -> Iterator[Suspicion]:
    """Look for strays, holes, spikes, a start amid business and an unfinished last day."""
    strays = _strays(ask)
    yield from (_stray(ask, *strays) if strays else ())
    days = _days(ask, strays[1] if strays else None)
    yield from _gap(days)
    yield from _spike(days)
    yield from _last_day(ask, days)
    yield from _start(ask, days)


def _strays(ask: Ask) -> tuple[int, date] | None:
    """Return how many orders stand alone before the real start, and that start: 90 empty days lie between."""
    rows = ask("SELECT local_at::DATE, count(*) FROM placed GROUP BY 1 ORDER BY 1")
    total, before = sum(count for _, count in rows), 0
    start = None
    for (day, count), (after, _) in pairwise(rows):
        before += count
        if before > max(3, total / 1000):
            break
        if (after - day).days >= 90 and total >= 100:
            start = (before, after)
    return start


def _stray(ask: Ask, count: int, start: date) -> Iterator[Suspicion]:
    first = ask("SELECT min(local_at)::DATE FROM placed")[0][0]
    yield Suspicion(
        "stray_dates",
        "orders",
        f"{count:,} orders stand alone from {first} on; the log really begins on {start}. They make the history look "
        f"{(start - first).days:,} days longer than it is.",
        "If those dates are slips, correct or remove these orders; the churn grade counts days from the first order.",
        count,
        (str(first),),
    )


def _days(ask: Ask, start: date | None) -> Days:
    since = f"WHERE local_at >= DATE '{start}'" if start else ""
    rows = ask(f"SELECT local_at::DATE AS day, count(*) FROM placed {since} GROUP BY 1 ORDER BY 1")
    first = rows[0][0]
    counts = np.zeros((rows[-1][0] - first).days + 1, dtype=np.int64)
    for day, count in rows:
        counts[(day - first).days] = count
    return Days(first, counts, _usual(counts))


def _usual(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    usual = np.zeros(len(counts))
    for position in range(len(counts)):
        same = np.arange(position % 7, len(counts), 7)
        near = same[(abs(same - position) <= 7 * WEEKS_AROUND) & (same != position)]
        local = np.median(counts[near]) if len(near) >= 3 else 0
        usual[position] = local or np.median(counts[same])
    return usual


def _gap(days: Days) -> Iterator[Suspicion]:
    runs = [_open_part(days, *run) for run in _runs(days.counts <= 0.02 * days.usual)]
    holes = [
        (low, high, days.usual[low:high].sum() - days.counts[low:high].sum())
        for low, high in runs
        if (days.usual[low:high] >= 1).sum() >= FEWEST_OPEN_DAYS
    ]
    holes = sorted((hole for hole in holes if hole[2] >= FEWEST_MISSING), key=lambda hole: -hole[2])
    if not holes:
        return
    listed = [
        f"{days.day(low)} to {days.day(high - 1)} ({high - low} days, usually about {missing:,.0f} orders)"
        for low, high, missing in holes[:SHOWN]
    ]
    more = f" and {len(holes) - SHOWN} more" if len(holes) > SHOWN else ""
    yield Suspicion(
        "gap",
        "orders",
        f"Days without orders where the same weekdays usually have some: {'; '.join(listed)}{more}.",
        "A holiday or a hole in the export? Silence in a hole counts as customers leaving: export those days again.",
        sum(high - low for low, high, _ in holes),
        tuple(str(days.day(low)) for low, _, _ in holes[:SHOWN]),
    )


def _open_part(days: Days, low: int, high: int) -> tuple[int, int]:
    """Leave out the days at both ends on which nobody usually buys."""
    is_open = np.flatnonzero(days.usual[low:high] >= 1)
    return (low + int(is_open[0]), low + int(is_open[-1]) + 1) if len(is_open) else (low, low)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return [low, high) of every stretch of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _spike(days: Days) -> Iterator[Suspicion]:
    over = (days.counts >= SPIKE_TIMES * days.usual) & (days.counts - days.usual >= SPIKE_ORDERS)
    where = sorted(np.flatnonzero(over).tolist(), key=lambda position: -days.counts[position])
    if not where:
        return
    listed = [f"{days.day(at)} ({days.counts[at]:,} orders, usually {days.usual[at]:,.0f})" for at in where[:SHOWN]]
    yield Suspicion(
        "spike",
        "orders",
        f"{len(where):,} days have {SPIKE_TIMES} times the orders of their weekday or more: {', '.join(listed)}.",
        "A sale, or old orders booked on the day of an import? If booked so, their true dates are needed.",
        int(days.counts[where].sum()),
        tuple(str(days.day(at)) for at in where[:SHOWN]),
    )


def _last_day(ask: Ask, days: Days) -> Iterator[Suspicion]:
    count, usual = days.counts[-1], days.usual[-1]
    before = days.counts[-1 - 7 * WEEKS_AROUND : -1][::-1][6::7]
    if usual < 20 or len(before) < 3 or count >= 0.6 * usual or count >= before.min():
        return
    last = ask("SELECT max(local_at) FROM placed")[0][0]
    until = f" and ends at {last:%H:%M}" if last.time().isoformat() != "00:00:00" else ""
    yield Suspicion(
        "last_day_incomplete",
        "orders",
        f"The last day, {last:%Y-%m-%d}, has {count:,} orders{until}; that weekday usually has {usual:,.0f}.",
        f"The export probably ran during that day: train and score with --as-of {last:%Y-%m-%d} to leave it out.",
        int(count),
        (f"{last:%Y-%m-%d}",),
    )


def _start(ask: Ask, days: Days) -> Iterator[Suspicion]:
    """A business that was running before its log shows most customers as new at once."""
    if len(days.counts) < 3 * START_DAYS:
        return
    early, later, customers = ask(
        f"SELECT count(*) FILTER (WHERE age < {START_DAYS}), count(*) FILTER (WHERE age >= {START_DAYS} AND age < "
        f"{2 * START_DAYS}), count(*) FROM (SELECT min(local_at)::DATE - DATE '{days.first}' AS age FROM placed "
        "GROUP BY customer_id)"
    )[0]
    if early < START_CUSTOMERS or early < START_TIMES * later:
        return
    yield Suspicion(
        "left_censored",
        "orders",
        f"{early:,} of {customers:,} buyers ({share(early, customers)}) first appear in the log's first {START_DAYS} "
        f"days, against {later:,} in the next {START_DAYS}: many of them bought before the log begins.",
        "Add older orders if you have them; until then these customers look younger than they are.",
        early,
        (str(days.first),),
    )
