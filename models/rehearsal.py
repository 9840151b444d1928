"""What closed windows teach about the distances between what is expected and what comes.

Drift and history are learned from closed windows, by maximum likelihood, each window first brought to the level that
came: a level that all customers share is no customer's own surprise and is kept apart as ``errors``. What shape is left
is learned as ranks: for customers who are expected to buy about as much, a table of which rank of the distribution was
really the 5th, 10th … 95th percentile (conformal prediction: Vovk et al. 2005; of distributions: Chernozhukov et al.
2021).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

from models.matrix import Floats
from models.outlook import Outlook, Ranks, Spread, log_gap, log_variance

_FEWEST_BUYERS = 50
_SAMPLE = 20_000


@dataclass(frozen=True)
class Window:
    """A closed window: what would have been said of customers at its start, and what came, (n_customers,) each."""

    outlook: Outlook
    orders: Floats
    value: Floats

    @property
    def order_ratio(self) -> float:
        """Orders that came over those expected."""
        return float(self.orders.sum() / self.outlook.orders.sum())

    @property
    def value_ratio(self) -> float:
        """Value that came over what was expected."""
        return float(self.value.sum() / self.outlook.value.sum())

    @property
    def tells(self) -> bool:
        """Whether enough customers bought."""
        return int((self.orders > 0).sum()) >= _FEWEST_BUYERS and float(self.value.sum()) > 0

    def levelled(self) -> "Window":
        """Return the window as if as many orders had been expected as came."""
        return replace(self, outlook=self.outlook.at_level(self.order_ratio))


def learn_spread(
    windows: Sequence[Window], window_days: float, *, bare: Sequence[Window] = (), seed: int = 7
) -> Spread:
    """Learn from closed windows; the default where too few customers bought in them.

    ``bare`` are further windows, forecast by histories alone: they say how far totals may be off, not who buys what.
    """
    windows, bare = ([window for window in some if window.tells] for some in (windows, bare))
    seen = [*windows, *bare]
    errors = Spread(
        order_errors=tuple(float(np.log(window.order_ratio)) for window in seen),
        value_errors=tuple(float(np.log(window.value_ratio)) for window in seen),
        window_days=window_days,
    )
    if not windows:
        return errors
    levelled = [window.levelled() for window in windows]
    shaped = _with_value_shape(_with_order_shape(errors, levelled), levelled)
    return _with_ranks(shaped, levelled, seed)


def _with_order_shape(spread: Spread, windows: Sequence[Window]) -> Spread:
    """Fit drift and history to the orders of who bought."""
    columns = [(w.orders - 1, w.outlook.more, w.outlook.dispersion) for w in windows]
    bought = np.concatenate([w.orders > 0 for w in windows])
    extra, more, dispersion = (np.concatenate(parts)[bought] for parts in zip(*columns, strict=True))
    extra, more, dispersion = (_thinned(column) for column in (extra, more, dispersion))

    def loss(logs: Floats) -> float:
        drift, history = np.exp(logs)
        shape = 1 / (drift + history * dispersion)
        terms = special.gammaln(extra + shape) - special.gammaln(shape) - special.gammaln(extra + 1)
        terms = terms + shape * np.log(shape / (shape + more)) + extra * np.log(more / (shape + more))
        return float(_pull(logs) - terms.mean())

    drift, history = np.exp(_least(loss))
    return replace(spread, drift=float(drift), history=float(history))


def _with_value_shape(spread: Spread, windows: Sequence[Window]) -> Spread:
    """Fit drift and history to the logarithm of the value of who bought."""
    parts = []
    for window in windows:
        came = window.value > 0
        outlook = window.outlook.part(came)
        shape = spread.shape(outlook)
        off = np.log(window.value[came]) - np.log(np.maximum(outlook.value / outlook.buys, np.finfo(np.float64).tiny))
        parts.append((off, log_variance(outlook, shape), log_gap(outlook, shape)))
    off, variance, gap = (_thinned(np.concatenate(columns)) for columns in zip(*parts, strict=True))

    def loss(logs: Floats) -> float:
        drift, history = np.exp(logs)
        whole = drift + history * variance
        away = off + drift / 2 + history * gap
        return float(_pull(logs) + (np.log(whole) + away**2 / whole).mean() / 2)

    drift, history = np.exp(_least(loss))
    return replace(spread, value_drift=float(drift), value_history=float(history))


def _pull(logs: Floats) -> float:
    """Draw weakly to a little drift and to what histories say: directions that windows leave open must end."""
    return 1e-3 * float((logs[0] + 4) ** 2 + logs[1] ** 2)


def _least(loss: Callable[[Floats], float]) -> Floats:
    return np.asarray(optimize.minimize(loss, np.array([-4.0, 0.0]), method="Nelder-Mead").x)


def _thinned(column: Floats) -> Floats:
    return column[:: max(1, len(column) // _SAMPLE)]


def _with_ranks(spread: Spread, windows: Sequence[Window], seed: int) -> Spread:
    """Learn the ranks of what came; an outcome's rank is drawn from those that its step takes up (randomised PIT)."""
    rng = np.random.default_rng(seed)
    expected = np.concatenate([window.outlook.orders for window in windows])
    ranks = [
        (
            _between(spread.order_rank(w.outlook, w.orders - 1), spread.order_rank(w.outlook, w.orders), rng),
            _between(
                spread.value_rank(w.outlook, np.where(w.value > 0, w.value, -1.0)),
                spread.value_rank(w.outlook, np.maximum(w.value, 0.0)),
                rng,
            ),
        )
        for w in windows
    ]
    of_orders, of_value = (np.concatenate(parts) for parts in zip(*ranks, strict=True))
    return replace(spread, order_ranks=Ranks.learn(of_orders, expected), value_ranks=Ranks.learn(of_value, expected))


def _between(below: Floats, upto: Floats, rng: np.random.Generator) -> Floats:
    return np.asarray(below + rng.random(len(below)) * (upto - below))
