"""What each customer may really buy and spend: distributions around what is expected, and what past windows taught.

Orders are a hurdle: none with the probability that scores call churn, else one and a negative binomial number more, so
that the mean is what is served. Its dispersion (1/shape) is ``drift + history * dispersion`` of the purchases model; a
history alone has drift 0 and history 1, and rates that change add drift. Value is none where nothing is bought, else
log-normal around the expected value; its log-variance adds those of the number of orders, of their values (Gamma of
shape p each) and of the customer's own level (``Gamma(p x + q, .)``; Fader & Hardie 2013).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from scipy import special, stats

from models.matrix import Floats
from perennial.errors import ArtefactError

KNOTS = np.linspace(0.0, 1.0, 21)  # probabilities whose ranks are kept
TAILS = (0.05, 0.95)
_MOST_GROUPS = 5
_GROUP_ROWS = 400  # 20 of them lie beyond either tail
_SURELY = 1e-9
_NUMBERS = ("drift", "history", "value_drift", "value_history", "window_days")
_LEAST_MORE = 1e-4  # orders beyond the first: keeps the distribution proper where one is all that is expected
# One window of doubt before any is seen, with an interval of 18 % either way (few degrees of freedom are in it): with
# one closed window behind it, the total that BTYD forecast for the next was off by 11 % (root mean square) on CDNOW,
# Complete Journey, Online Retail and grocery. Half a window of 10 % gave wider intervals, none truer, at inner origins.
_DOUBT, _DOUBT_WINDOWS = 0.05, 1.0
_LEVEL_WINDOWS = 2.0  # windows without error that the mean error is drawn to; 1 and 4 did not do better there
_UNSEEN_SEASON = 2.0  # house rule: a season never seen may be as far off again as all windows seen, in variance
_LEAST_FREEDOM = 2.0
_Z = float(stats.norm.ppf(TAILS[1]))


@dataclass(frozen=True)
class Outlook:
    """What is expected of customers over some days, (n_customers,) each, and what their histories leave open.

    ``none`` is P(no purchase), ``orders`` and ``value`` are means over all cases, ``dispersion`` is 1/shape of the
    orders beyond the first, ``order_shape`` that of one order's value, ``level_shape`` that of the spend level.
    """

    none: Floats
    orders: Floats
    value: Floats
    dispersion: Floats
    level_shape: Floats
    order_shape: float

    def at_level(self, ratio: float) -> "Outlook":
        """Return the same with everybody buying ``ratio`` times as much."""
        return replace(self, none=self.none**ratio, orders=self.orders * ratio, value=self.value * ratio)

    @property
    def buys(self) -> Floats:
        """P(a purchase): at most the expected number of them."""
        return np.clip(np.minimum(1 - self.none, self.orders), _SURELY, 1 - _SURELY)

    @property
    def more(self) -> Floats:
        """Expected orders beyond the first of who buys."""
        return np.asarray(np.maximum(self.orders / self.buys - 1, _LEAST_MORE))

    def part(self, rows: Any) -> "Outlook":
        """Return some of the customers."""
        columns = ("none", "orders", "value", "dispersion", "level_shape")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})


@dataclass(frozen=True)
class Ranks:
    """Which ranks of the distributions the true percentiles have, by how much is expected.

    ``edges`` part the groups (n_groups - 1,); ``at`` (n_groups, 21) holds the rank of every probability in `KNOTS`.
    """

    edges: tuple[float, ...] = ()
    at: tuple[tuple[float, ...], ...] = (tuple(KNOTS.tolist()),)

    @classmethod
    def learn(cls, ranks: Floats, orders: Floats) -> Self:
        """Learn from the ranks (n,) that outcomes had and the orders that were expected."""
        groups = int(np.clip(len(ranks) // _GROUP_ROWS, 1, _MOST_GROUPS))
        edges = np.unique(np.quantile(orders, np.arange(1, groups) / groups))
        group = np.searchsorted(edges, orders)
        tables = [_percentiles(np.sort(ranks[group == number])) for number in range(len(edges) + 1)]
        return cls(tuple(edges.tolist()), tuple(tables))

    def of(self, probability: float, orders: Floats) -> Floats:
        """Return the rank (n,) of a percentile."""
        found = np.array([np.interp(probability, KNOTS, table) for table in self.at])
        return np.asarray(found[np.searchsorted(self.edges, orders)])

    def probability(self, ranks: Floats, orders: Floats) -> Floats:
        """Return the probability (n,) of an outcome of that rank or a lower one."""
        group, found = np.searchsorted(self.edges, orders), np.empty(len(ranks))
        for number, table in enumerate(self.at):
            found[group == number] = np.interp(ranks[group == number], table, KNOTS)
        return found


def _percentiles(ranks: Floats) -> tuple[float, ...]:
    """Return the ranks of `KNOTS`, the tails as far out as a new outcome's must be (n + 1 places for n outcomes)."""
    if not len(ranks):
        return tuple(KNOTS.tolist())
    places = np.concatenate([[0.0], ranks, [1.0]])
    found = np.interp(KNOTS, np.linspace(0, 1, len(places)), places)
    return tuple(np.maximum.accumulate(found + 1e-12 * KNOTS).tolist())


@dataclass(frozen=True, slots=True)
class Common:
    """What is wrong for all customers at once: the standard deviation of ln(came / expected), and how well it is known.

    ``windows`` are those it was seen in and the doubt: degrees of freedom of Student's t. Errors are normal around a
    level that is itself normal around 0 (conjugate: Gelman et al. 2013, section 3.3); the level is served, so what
    remains is the distance from it.
    """

    deviation: float
    windows: float

    @classmethod
    def of(cls, errors: Sequence[float], reach: float, *, season_seen: bool = True) -> Self:
        """Learn from the errors of closed windows; over ``reach`` such windows they add up like independent ones."""
        windows, known = _DOUBT_WINDOWS + len(errors), _LEVEL_WINDOWS + len(errors)
        squares = _DOUBT_WINDOWS * _DOUBT**2 + sum(error**2 for error in errors) - known * level(errors) ** 2
        variance = squares / windows * (1 + 1 / known) * (1.0 if season_seen else _UNSEEN_SEASON)
        return cls(float(np.sqrt(reach * variance)), windows)

    @property
    def as_normal(self) -> float:
        """Standard deviation of the normal distribution that has the same 5th and 95th percentile."""
        return float(self.deviation * stats.t.ppf(TAILS[1], max(self.windows, _LEAST_FREEDOM)) / _Z)

    def range(self, expected: float, variance: float) -> tuple[float, float]:
        """Return the 5th and 95th percentile of a sum, given its mean and what single customers add to its variance."""
        if expected <= 0:
            return 0.0, 0.0
        far = float(np.exp(_Z * np.sqrt(self.as_normal**2 + np.log1p(variance / expected**2))))
        return expected / far, expected * far


def level(errors: Sequence[float]) -> float:
    """Return the mean of the errors of closed windows, drawn to 0 where they are few."""
    return sum(errors) / (_LEVEL_WINDOWS + len(errors))


@dataclass(frozen=True)
class Spread:
    """How far outcomes lie from what is expected: one customer's by drift, history and ranks, all customers' by errors.

    ``order_errors`` and ``value_errors`` are ln(came / expected) of all customers together, one per closed window of
    ``window_days``. ``season_seen`` says whether the log has a whole year. Nothing learned is the default: histories
    alone, and one window's doubt.
    """

    drift: float = 0.0
    history: float = 1.0
    value_drift: float = 0.0
    value_history: float = 1.0
    order_ranks: Ranks = Ranks()
    value_ranks: Ranks = Ranks()
    order_errors: tuple[float, ...] = ()
    value_errors: tuple[float, ...] = ()
    window_days: float = 0.0
    season_seen: bool = False

    @property
    def levels(self) -> tuple[float, float]:
        """Return how many times as much as forecast came in closed windows, orders and value."""
        return float(np.exp(level(self.order_errors))), float(np.exp(level(self.value_errors)))

    def common(self, days: float) -> tuple["Common", "Common"]:
        """Return how far the orders and the value of all customers together may be off over so many days."""
        reach = max(1.0, days / self.window_days) if self.window_days else 1.0
        orders, value = (
            Common.of(errors, reach, season_seen=self.season_seen) for errors in (self.order_errors, self.value_errors)
        )
        return orders, value

    def over(self, days: float) -> "Spread":
        """Return the spread of one customer over so many days: what all may share widens it too."""
        orders, value = self.common(days)
        return replace(self, drift=self.drift + orders.as_normal**2, value_drift=self.value_drift + value.as_normal**2)

    def shape(self, outlook: Outlook) -> Floats:
        """Return the shape of the number of orders beyond the first, (n_customers,)."""
        return np.asarray(1 / np.maximum(self.drift + self.history * outlook.dispersion, _SURELY))

    def log_variance(self, outlook: Outlook) -> Floats:
        """Return the variance of the logarithm of a buyer's value, (n_customers,)."""
        return np.asarray(self.value_drift + self.value_history * log_variance(outlook, self.shape(outlook)))

    def order_variance(self, outlook: Outlook) -> Floats:
        """Return the variance of the number of orders, (n_customers,)."""
        more, buys = outlook.more, outlook.buys
        return np.asarray(buys * (more + more**2 / self.shape(outlook) + (1 + more) ** 2) - (buys * (1 + more)) ** 2)

    def value_variance(self, outlook: Outlook) -> Floats:
        """Return the variance of the value, (n_customers,)."""
        return np.asarray(outlook.value**2 * (np.exp(self.log_variance(outlook)) / outlook.buys - 1))

    def order_range(self, outlook: Outlook) -> tuple[Floats, Floats]:
        """Return the 5th and 95th percentile of the number of orders, whole, (n_customers,) each."""
        low, high = (self._orders_at(outlook, self.order_ranks.of(tail, outlook.orders)) for tail in TAILS)
        return low, high

    def value_range(self, outlook: Outlook) -> tuple[Floats, Floats]:
        """Return the 5th and 95th percentile of the value, (n_customers,) each."""
        low, high = (self._value_at(outlook, self.value_ranks.of(tail, outlook.orders)) for tail in TAILS)
        return low, high

    def order_probability(self, outlook: Outlook, orders: Floats) -> Floats:
        """Return P(that many orders or fewer), (n_customers,)."""
        return self.order_ranks.probability(self.order_rank(outlook, orders), outlook.orders)

    def value_probability(self, outlook: Outlook, value: Floats) -> Floats:
        """Return P(that much value or less), (n_customers,)."""
        return self.value_ranks.probability(self.value_rank(outlook, value), outlook.orders)

    def order_rank(self, outlook: Outlook, orders: Floats) -> Floats:
        """Return the rank that the distribution itself gives so many orders, (n_customers,)."""
        buys, shape = outlook.buys, self.shape(outlook)
        beyond = np.maximum(orders - 1, 0.0)
        within = special.betainc(shape, beyond + 1, shape / (shape + outlook.more))
        return np.where(orders < 0, 0.0, 1 - buys + np.where(orders < 1, 0.0, buys * within))

    def _orders_at(self, outlook: Outlook, rank: Floats) -> Floats:
        found = np.zeros(len(rank))
        some = np.flatnonzero(rank > 1 - outlook.buys)
        part = outlook.part(some)
        shape = self.shape(part)
        inside = np.clip(1 - (1 - rank[some]) / part.buys, 0.0, 1 - _SURELY)
        found[some] = 1 + np.maximum(stats.nbinom.ppf(inside, shape, shape / (shape + part.more)), 0.0)
        return found

    def _log_value(self, outlook: Outlook) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the logarithm of a buyer's value."""
        gap = self.value_drift / 2 + self.value_history * log_gap(outlook, self.shape(outlook))
        positive = np.maximum(outlook.value / outlook.buys, np.finfo(np.float64).tiny)
        return np.log(positive) - gap, np.sqrt(self.log_variance(outlook))

    def value_rank(self, outlook: Outlook, value: Floats) -> Floats:
        """Return the rank that the distribution itself gives so much value, (n_customers,)."""
        mean, deviation = self._log_value(outlook)
        some = value > 0
        inside = special.ndtr((np.log(np.where(some, value, 1.0)) - mean) / deviation)
        return np.where(value < 0, 0.0, 1 - outlook.buys + np.where(some, outlook.buys * inside, 0.0))

    def _value_at(self, outlook: Outlook, rank: Floats) -> Floats:
        mean, deviation = self._log_value(outlook)
        inside = np.clip(1 - (1 - rank) / outlook.buys, _SURELY, 1 - _SURELY)
        return np.where(rank > 1 - outlook.buys, np.exp(mean + deviation * special.ndtri(inside)), 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Restore what `to_json` returned; ArtefactError when it is something else."""
        try:
            learned: dict[str, Any] = {name: float(state[name]) for name in _NUMBERS}
            learned |= {name: _ranks(state[name]) for name in ("order_ranks", "value_ranks")}
            learned |= {name: tuple(map(float, state[name])) for name in ("order_errors", "value_errors")}
            learned["season_seen"] = bool(state["season_seen"])
        except (KeyError, TypeError, ValueError):
            raise ArtefactError("the stored spread of outcomes is damaged; train the clv model again") from None
        return cls(**learned)


def _ranks(state: Mapping[str, Any]) -> Ranks:
    table = np.array(state["at"], dtype=np.float64)
    edges = tuple(map(float, state["edges"]))
    if table.shape != (len(edges) + 1, len(KNOTS)) or not np.isfinite(table).all():
        raise ValueError("ranks of another format")
    return Ranks(edges, tuple(map(tuple, table.tolist())))


def log_variance(outlook: Outlook, shape: Floats) -> Floats:
    """Return what number, values and level each add to the variance of the logarithm of a buyer's value."""
    number = 1 + outlook.more
    of_number = np.log1p((outlook.more + outlook.more**2 / shape) / number**2)
    return np.asarray(
        of_number + special.polygamma(1, outlook.order_shape * number) + special.polygamma(1, outlook.level_shape)
    )


def log_gap(outlook: Outlook, shape: Floats) -> Floats:
    """Return ln of the mean less the mean of ln of a buyer's value."""
    number, level = 1 + outlook.more, np.maximum(outlook.level_shape, 1 + 1e-6)
    of_number = np.log1p((outlook.more + outlook.more**2 / shape) / number**2) / 2
    values = outlook.order_shape * number
    return np.asarray(of_number + np.log(values) - special.digamma(values) + special.digamma(level) - np.log(level - 1))
