"""Who the customers are: what a business sees of them, and what it does not."""

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, ndtri

from benchmarks.company.settings import (
    DROPOUT_EFFECTS,
    NEED_TYPES,
    RATE_EFFECTS,
    SHARES,
    CompanySettings,
    Effects,
    Flags,
    Floats,
    Ints,
)

REGULAR_ERLANG = 4
ENGAGEMENT_PER_DAY = 0.05  # visits of a customer of average interest
EMOTIONAL, SOCIAL = NEED_TYPES.index("emotional"), NEED_TYPES.index("social")


@dataclass(frozen=True)
class People:
    """Traits of the customers of one block, each (n,); they arrive in the order they are listed.

    ``codes`` are positions among the values in ``SHARES``; ``born`` is a day of the log; ``erlang`` the shape of the
    gaps between orders (1: exponential); ``satisfaction`` is about standard normal, lower where dropout is likelier.
    """

    first: int
    codes: dict[str, Ints]
    born: Floats
    rate_per_day: Floats
    dropout_probability: Floats
    mean_order_value: Floats
    erlang: Ints
    satisfaction: Floats
    engagement: Floats
    standing_control: Flags

    def __len__(self) -> int:
        return len(self.born)

    def by_need(self, effects: Effects, action: str) -> Floats:
        """Return each customer's value of ``action`` in a table by need type; 0 where the table has no such action."""
        row = effects.get(action, {})
        return np.array([row.get(need, 0.0) for need in NEED_TYPES])[self.codes["need_type"]]


def make_people(rng: np.random.Generator, first: int, count: int, days: int, settings: CompanySettings) -> People:
    """Draw ``count`` customers, numbered from ``first``, who arrive evenly over the first part of ``days``."""
    codes = {
        name: rng.choice(len(shares), size=count, p=list(shares.values())).astype(np.int64)
        for name, shares in SHARES.items()
    }
    codes["acquisition_channel"][:1] = 0  # nobody was there to recommend the business to the first
    rate = rng.gamma(settings.rate_shape, 1 / settings.rate_days, size=count)
    a = np.full(count, settings.dropout_a)
    if settings.covariates:
        rate *= np.exp(_total(RATE_EFFECTS, codes))
        a *= np.exp(_total(DROPOUT_EFFECTS, codes))
    dropout = np.clip(rng.beta(a, settings.dropout_b), 1e-9, 1 - 1e-9)
    unhappy = np.clip(ndtri(betainc(a, settings.dropout_b, dropout)), -4, 4)
    satisfaction = 0.8 * rng.normal(size=count) - 0.6 * unhappy + 0.6 * (codes["need_type"] == EMOTIONAL)
    scale = settings.value_v / rng.gamma(settings.value_q, size=count)
    return People(
        first=first,
        codes=codes,
        born=np.sort(rng.uniform(0, days * settings.arrival_share, size=count)),
        rate_per_day=np.maximum(rate, 1e-9),
        dropout_probability=dropout,
        mean_order_value=settings.value_p * scale,
        erlang=np.where(rng.uniform(size=count) < settings.regular_share, REGULAR_ERLANG, 1),
        satisfaction=satisfaction,
        engagement=ENGAGEMENT_PER_DAY * rng.lognormal(-0.32, 0.8, size=count),
        standing_control=rng.uniform(size=count) < settings.control_share,
    )


def _total(effects: Effects, codes: dict[str, Ints]) -> Floats:
    parts = [np.array(list(row.values()))[codes[name]] for name, row in effects.items()]
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def referrers(rng: np.random.Generator, people: People, left: Floats) -> Ints:
    """Return who recommended the business to each customer, -1 for those whom no friend brought.

    Social customers recommend six times as often, satisfied ones more; whoever recommends came earlier and, where
    eight draws find such a one, has not left.
    """
    friend = list(SHARES["acquisition_channel"]).index("friend")
    brought = np.flatnonzero(people.codes["acquisition_channel"] == friend)
    weight = np.exp(0.5 * people.satisfaction) * np.where(people.codes["need_type"] == SOCIAL, 6.0, 1.0)
    below = np.concatenate([[0.0], np.cumsum(weight)])
    drawn = rng.uniform(size=(8, len(brought))) * below[brought]
    candidates = np.minimum(np.searchsorted(below, drawn, side="right") - 1, brought - 1)
    staying = left[candidates] > people.born[brought]
    chosen = candidates[np.argmax(staying, axis=0), np.arange(len(brought))]
    found = np.full(len(people), -1, dtype=np.int64)
    found[brought] = chosen
    return found
