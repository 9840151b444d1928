"""Suspicions about the clock: instants on another zone's wall, days among instants, hours that jump.

People buy least at night. A log whose quietest hours lie in the day, or whose hours move when clocks change, was
written on another clock than the source file says.
"""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from features.records import Records
from features.suspicions.finding import Ask, Suspicion, share

FEWEST = 500
# Hours 1 to 4 hold a sixth of the day; more than a quarter of the orders there is no shop's rhythm.
NIGHT, NIGHT_SHARE = slice(1, 5), 0.25
MIXED_SHARE = 0.02
QUIET_HOURS, USUAL_MIDDLE = 6, 4
SLOTS_PER_HOUR, WEEKS_BESIDE = 4, 4
FEWEST_BESIDE = 200

Floats = NDArray[np.float64]


def find(records: Records, ask: Ask) -> Iterator[Suspicion]:
    """Look for a wrong zone, for days mixed with instants and for a jump when clocks change."""
    times = ask(
        "SELECT CAST(hour(local_at) * 60 + minute(local_at) AS INTEGER), CAST(second(local_at) AS INTEGER), count(*) "
        "FROM placed GROUP BY 1, 2 ORDER BY 3 DESC"
    )
    total = sum(count for _, _, count in times)
    midnight = sum(count for minute, second, count in times if minute == second == 0)
    if total < FEWEST or midnight == total:
        return
    fixed = _fixed_time(records, times, total)
    if fixed:
        yield fixed
        return
    yield from _mixed(midnight, times, total)
    yield from _night(records, times, total - midnight)
    yield from _jump(records, ask)


def _fixed_time(records: Records, times: list[tuple[int, int, int]], total: int) -> Suspicion | None:
    """Days that were turned into instants on another clock stand at one time of day, or two an hour apart."""
    head = times[:2]
    if sum(count for *_, count in head) < 0.95 * total or head[0][:2] == (0, 0):
        return None
    clock = " and ".join(f"{minute // 60:02}:{minute % 60:02}" for minute, _, _ in sorted(head[:2]))
    count = sum(count for *_, count in head)
    return Suspicion(
        "timezone_doubt",
        "orders",
        f"{count:,} of {total:,} orders ({share(count, total)}) stand at {clock} in {records.timezone}: these look "
        "like days that were turned into instants on another clock.",
        "Say whose midnight that was, with timezone at the top or on ordered_at; else orders fall on the wrong day.",
        count,
    )


def _mixed(midnight: int, times: list[tuple[int, int, int]], total: int) -> Iterator[Suspicion]:
    beside = sum(count for minute, second, count in times if minute < 60 and (minute, second) != (0, 0))
    if midnight < MIXED_SHARE * total or midnight < 5 * (beside + 1):
        return
    yield Suspicion(
        "midnight",
        "orders",
        f"{midnight:,} of {total:,} orders ({share(midnight, total)}) stand at exactly 00:00, {beside:,} in the rest "
        "of that hour: days without a time among instants with one.",
        "They count on the right day, but their hour is none. Export the time if the system holds it.",
        midnight,
    )


def _night(records: Records, times: list[tuple[int, int, int]], total: int) -> Iterator[Suspicion]:
    hours = np.zeros(24)
    for minute, second, count in times:
        hours[minute // 60] += count if (minute, second) != (0, 0) else 0
    quiet = np.array([np.roll(hours, -start)[:QUIET_HOURS].sum() for start in range(24)])
    start = int(quiet.argmin())
    # three quarters of the day would hold as many orders per hour as the rest if there were no rhythm at all
    rhythm = quiet.min() < 0.5 * QUIET_HOURS / 24 * hours.sum()
    at_night = hours[NIGHT].sum()
    if total < FEWEST or not rhythm or at_night < NIGHT_SHARE * total:
        return
    shift = (start + QUIET_HOURS // 2 - USUAL_MIDDLE + 12) % 24 - 12
    yield Suspicion(
        "timezone_doubt",
        "orders",
        f"{at_night:,.0f} of {total:,} orders ({share(at_night, total)}) fall between 1:00 and 5:00 at night in "
        f"{records.timezone}; the quietest hours are {start}:00 to {(start + QUIET_HOURS) % 24}:00.",
        f"The clock seems {abs(shift)} hours {'ahead' if shift > 0 else 'behind'}: set timezone to the zone that the "
        "times were written in, or correct them.",
        int(at_night),
    )


def _jump(records: Records, ask: Ask) -> Iterator[Suspicion]:
    """A log on a clock that does not change with its customers' moves by an hour in spring and back in autumn."""
    first, last = ask("SELECT min(local_at)::DATE, max(local_at)::DATE FROM placed")[0]
    for name, changes in (("Europe", _european), ("North America", _american)):
        moves = [
            (change, spring, moved)
            for year in range(first.year, last.year + 1)
            for change, spring in changes(year)
            if first <= change <= last and (moved := _moved(ask, change)) is not None
        ]
        jumped = [(change, moved) for change, spring, moved in moves if moved == (-60 if spring else 60)]
        back = [(change, moved) for change, spring, moved in moves if moved == (60 if spring else -60)]
        told = jumped if len(jumped) > len(back) else back
        if len(told) >= 2 and len(told) >= 0.75 * len(moves):
            dates = ", ".join(f"{change} ({moved:+d} minutes)" for change, moved in told[:4])
            yield Suspicion(
                "timezone_doubt",
                "orders",
                f"The hours of orders jump when clocks change in {name}: {dates}. Their clock does not follow "
                f"{records.timezone} as the customers do.",
                "If the times were written in UTC: put the customers' zone at the top of the source file, and timezone "
                '= "UTC" on ordered_at.',
                len(told),
                tuple(str(change) for change, _ in told[:4]),
            )
            return


def _moved(ask: Ask, change: date) -> int | None:
    """Return by how many minutes the daily rhythm moved at a change of clocks, None when too little is known."""
    before, after = (
        _rhythm(ask, change - timedelta(weeks=WEEKS_BESIDE), change),
        _rhythm(ask, change + timedelta(days=1), change + timedelta(days=1, weeks=WEEKS_BESIDE)),
    )
    if before.sum() < FEWEST_BESIDE or after.sum() < FEWEST_BESIDE:
        return None
    before, after = _smooth(before / before.sum()), _smooth(after / after.sum())
    lags = range(-2 * SLOTS_PER_HOUR, 2 * SLOTS_PER_HOUR + 1)
    apart = {lag: float(((np.roll(before, lag) - after) ** 2).sum()) for lag in lags}
    best = min(apart, key=lambda lag: apart[lag])
    minutes = round(best / SLOTS_PER_HOUR) * 60
    clear = apart[best] < 0.5 * apart[0] and abs(best - minutes * SLOTS_PER_HOUR / 60) <= 1
    return minutes if clear else 0


def _rhythm(ask: Ask, start: date, end: date) -> Floats:
    counts = np.zeros(24 * SLOTS_PER_HOUR)
    for slot, count in ask(
        f"SELECT (hour(local_at) * 60 + minute(local_at)) // {60 // SLOTS_PER_HOUR}, count(*) FROM placed "
        f"WHERE local_at >= DATE '{start}' AND local_at < DATE '{end}' GROUP BY 1"
    ):
        counts[slot] = count
    return counts


def _smooth(values: Floats) -> Floats:
    return np.asarray(sum(np.roll(values, lag) for lag in (-1, 0, 1)) / 3)


def _european(year: int) -> list[tuple[date, bool]]:
    """Last Sundays of March and October."""
    return [(_sunday(date(year, 3, 31)), True), (_sunday(date(year, 10, 31)), False)]


def _american(year: int) -> list[tuple[date, bool]]:
    """Second Sunday of March and first Sunday of November."""
    return [(_sunday(date(year, 3, 14)), True), (_sunday(date(year, 11, 7)), False)]


def _sunday(latest: date) -> date:
    return latest - timedelta(days=(latest.weekday() + 1) % 7)
