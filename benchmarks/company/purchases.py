"""When customers order and when they leave: BG/NBD on a clock that may run faster at Christmas.

Fader, Hardie & Lee 2005, section 2: gaps are exponential with a gamma rate, and after each repeat order the customer
leaves for good with a beta probability. The season is a change of clock, so it moves orders and breaks nothing else.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from benchmarks.company.people import People
from benchmarks.company.settings import FIRST_DAY, CompanySettings, Flags, Floats, Ints

WEEKDAYS = np.array([0.90, 0.90, 0.95, 1.00, 1.15, 1.30, 0.80])  # Monday first
HOURS = np.array(
    [0.05] * 6 + [0.3, 0.6, 0.9, 1.1, 1.2, 1.3, 1.5, 1.4, 1.2, 1.2, 1.3, 1.5, 1.8, 2.2, 2.2, 1.8, 1.1, 0.4]
)
HOURS /= HOURS.mean()
REPLY_IN_TIME_DAYS = 1.0
DAY_SPAN = 65_536.0  # longer than any log: customer * span + day sorts by both


@dataclass(frozen=True)
class Clock:
    """Busy days: a clock that runs through one plain day in the time that brings one mean day's orders."""

    days: int
    season: float
    trend_per_year: float

    @cached_property
    def _busy(self) -> Floats:
        """Busy days passed at every full hour of the log, (24 * days + 1,)."""
        day = np.arange(max(self.days, 365))
        calendar = FIRST_DAY + pd.to_timedelta(day, unit="D")
        of_year = calendar.day_of_year.to_numpy() - 1
        pace = (1 + 0.15 * np.cos(2 * np.pi * (of_year - 350) / 365)) * WEEKDAYS[calendar.day_of_week]
        pace *= 1 + 0.9 * np.exp(-(((of_year - 348) / 9.0) ** 2))
        pace = 1 + self.season * (pace / pace[:365].mean() - 1)
        pace *= np.exp(self.trend_per_year * day / 365)
        hours = 1 + self.season * (HOURS - 1)
        hourly = (pace[: self.days, None] * hours / 24).ravel()
        return np.concatenate([[0.0], np.cumsum(hourly)])

    def busy(self, day: Floats) -> Floats:
        """Return the busy days passed at each day of the log."""
        if self.season == 0 and self.trend_per_year == 0:
            return day
        return np.interp(day, np.arange(24 * self.days + 1) / 24, self._busy)

    def day(self, busy: Floats) -> Floats:
        """Return the day of the log on which so many busy days have passed; infinite beyond the log."""
        if self.season == 0 and self.trend_per_year == 0:
            return np.where(busy < self.days, busy, np.inf)
        found = np.interp(busy, self._busy, np.arange(24 * self.days + 1) / 24)
        return np.where(busy < self._busy[-1], found, np.inf)


@dataclass
class History:
    """Orders of a block, sorted by customer and day; ``left`` (n,) is each customer's day of leaving or infinite."""

    owner: Ints
    day: Floats
    left: Floats
    left_because: Ints

    LEAVING = ("stays", "own_accord", "complaint", "offer")

    def leave(self, who: Ints, day: Floats, because: str) -> None:
        """Let customers leave on a day, unless they left before."""
        earlier = day < self.left[who]
        self.left[who[earlier]] = day[earlier]
        self.left_because[who[earlier]] = self.LEAVING.index(because)


@dataclass(frozen=True)
class Complaints:
    """Complaints (k,), days of the log; ``replied`` is infinite where nobody ever replied."""

    owner: Ints
    opened: Floats
    replied: Floats
    closed: Floats
    staff_minutes: Floats
    drove_away: Flags


def order_days(rng: np.random.Generator, people: People, clock: Clock, settings: CompanySettings) -> History:
    """Draw every order inside the log, the first on the day the customer arrives.

    Repeats are cut where even eight standard deviations above the expected count would lie beyond the log.
    """
    n = len(people)
    end = float(clock.busy(np.array([float(clock.days)]))[0])
    born = clock.busy(people.born)
    repeats = rng.geometric(people.dropout_probability)
    expected = people.rate_per_day * (end - born)
    kept = np.minimum(repeats, np.ceil(expected + 8 * np.sqrt(expected) + 12)).astype(np.int64)
    owner = np.repeat(np.arange(n), kept)
    shape = people.erlang[owner]
    running = np.cumsum(rng.standard_gamma(shape) / (shape * people.rate_per_day[owner]))
    ends = np.cumsum(kept)
    before = np.concatenate([[0.0], running[ends[:-1] - 1]])
    day = clock.day(np.repeat(born - before, kept) + running)
    left = np.where(repeats == kept, day[ends - 1], np.inf)
    owner, day = np.concatenate([np.arange(n), owner]), np.concatenate([people.born, day])
    inside = day < clock.days
    owner, day = by_customer(owner[inside], day[inside])
    return History(owner, day, left, np.where(left < np.inf, 1, 0))


def by_customer(owner: Ints, day: Floats) -> tuple[Ints, Floats]:
    """Sort orders by customer and day."""
    order = np.argsort(owner * DAY_SPAN + day, kind="stable")
    return owner[order], day[order]


def complain(
    rng: np.random.Generator, people: People, history: History, clock: Clock, settings: CompanySettings
) -> Complaints:
    """Let about 3 % of orders be complained about, less by the satisfied; who waits a day for a reply may leave.

    Which complaints are answered fast is random: half go to a team whose median is 4 hours, a third to one that
    takes 48, and the rest are never answered. ``drove_away`` marks those after which the customer left.
    """
    odds = 0.03 * np.exp(-0.5 * people.satisfaction[history.owner])
    chosen = np.flatnonzero(rng.uniform(size=len(odds)) < odds)
    owner = history.owner[chosen]
    opened = history.day[chosen] + rng.uniform(0.2, 4.0, size=len(chosen))
    team = rng.uniform(size=len(chosen))
    hours = rng.lognormal(np.log(np.where(team < 0.5, 4.0, 48.0)), 0.6)
    replied = np.where(team < 5 / 6, opened + hours / 24, np.inf)
    closed = replied + rng.uniform(0.0, 1.0, size=len(chosen))
    minutes = np.where(replied < np.inf, np.ceil(rng.gamma(4.0, 7.0, size=len(chosen))), 0.0)
    angry = (replied - opened > REPLY_IN_TIME_DAYS) & (rng.uniform(size=len(chosen)) < settings.complaint_dropout)
    leaving = np.where(angry, opened + REPLY_IN_TIME_DAYS, np.inf)
    first = np.lexsort((leaving, owner))
    first = first[np.diff(owner[first], prepend=-1) > 0]  # of several of one customer, the first drives away
    drove = np.zeros(len(chosen), dtype=np.bool_)
    drove[first] = leaving[first] < np.minimum(history.left[owner[first]], clock.days)
    history.leave(owner[drove], leaving[drove], "complaint")
    return Complaints(owner, opened, replied, closed, minutes, drove)
