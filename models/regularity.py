"""Customers who buy regularly: the time between purchases is Erlang, ``regularity`` wishes make a purchase.

(M)BG/CNBD-k of Platzer & Reutterer (2016) and Reutterer, Platzer & Schroeder (2020). Predictions here are exact; the
papers scale those of BG/NBD. Given alive, ``j`` wishes since the last purchase have the weight ``(R)_j u^j / j!`` with
R = r + regularity x and u = (T - t_x)/(alpha + T), fewer than ``regularity`` of them, and then
``lambda ~ Gamma(R + j, alpha + T)``: wishes to come are negative binomial, and every ``regularity``-th is a purchase.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import special

from models.matrix import Floats

if TYPE_CHECKING:
    from models.btyd_kernel import GeoParams

_MANY = 600.0  # exp(-this) is still a number: up to here the first probability can be written down
_BISECTIONS = 70
_TAIL = 1e-17
_WIDTH = 12.0  # standard deviations either side that hold all but 1e-17 of so many wishes


def still_waiting(r: float, alpha: float | Floats, x: Floats, t_x: Floats, age: Floats, regularity: int) -> Floats:
    """Return S: P(fewer than ``regularity`` wishes since the last purchase) over P(none), 1 at a regularity of 1."""
    return np.asarray(_stage_weights(r, alpha, x, t_x, age, regularity).sum(axis=0))


def _stage_weights(r: float, alpha: float | Floats, x: Floats, t_x: Floats, age: Floats, regularity: int) -> Floats:
    """Return the weights (regularity, n) of the wishes since the last purchase."""
    shape, u = r + regularity * x, (age - t_x) / (alpha + age)
    weights = np.ones((regularity, len(x)))
    for j in range(1, regularity):
        weights[j] = weights[j - 1] * u * (shape + j - 1) / j
    return weights


def log_no_purchase(
    params: "GeoParams", x: Floats, t_x: Floats, age: Floats, horizon: float | Floats, regularity: int
) -> Floats:
    """Return ``ln P(no purchase in the horizon | alive)``."""
    r, alpha = params.r, params.alpha
    later = still_waiting(r, alpha, x, t_x, age + horizon, regularity)
    now = still_waiting(r, alpha, x, t_x, age, regularity)
    return np.asarray(np.log(later / now) - (r + regularity * x) * np.log1p(horizon / (alpha + age)))


def count_probabilities(
    params: "GeoParams", x: Floats, t_x: Floats, age: Floats, horizon: float, regularity: int, max_count: int
) -> tuple[Floats, Floats]:
    """Return P(n wishes come true) and P(n or more) for n = 0 … max_count, (n_customers, max_count + 1) each.

    As if nobody left: the caller brings in the chances to leave.
    """
    weights = _stage_weights(params.r, params.alpha, x, t_x, age, regularity)
    weights /= weights.sum(axis=0)
    z = horizon / (params.alpha + age + horizon)
    shape = params.r + regularity * x
    least = np.zeros((len(x), max_count + 2))
    least[:, 0] = 1.0
    for n in range(1, max_count + 2):
        for j in range(regularity):
            least[:, n] += weights[j] * special.betainc(float(regularity * n - j), shape + j, z)
    return least[:, :-1] - least[:, 1:], least[:, :-1]


def expected_purchases(
    params: "GeoParams", x: Floats, t_x: Floats, age: Floats, k: Floats, horizon: float | Floats, regularity: int
) -> Floats:
    """Return E[purchases in the horizon | alive] by summing over the number of wishes."""
    alpha, a, b = (np.broadcast_to(np.asarray(part, dtype=np.float64), x.shape) for part in params[1:])
    weights = _stage_weights(params.r, alpha, x, t_x, age, regularity)
    weights /= weights.sum(axis=0)
    shape, z = params.r + regularity * x, horizon / (alpha + age + horizon)
    few = (shape + regularity) * -np.log1p(-z) < _MANY
    total = np.zeros(len(x))
    for j in range(regularity):
        wishes = _Wishes(shape + j, z, a, b + k, regularity, j)
        total[few] += (weights[j] * wishes.summed(few))[few]
        for i in np.flatnonzero(~few):
            total[i] += weights[j, i] * wishes.around_the_mean(int(i))
    return total


class _Wishes:
    """Negative binomial wishes to come when ``ahead`` have been made since the last purchase."""

    def __init__(self, shape: Floats, z: Floats, a: Floats, stay: Floats, regularity: int, ahead: int) -> None:
        self._shape, self._z, self._a, self._stay = shape, z, a, stay
        self._regularity, self._ahead = regularity, ahead

    def summed(self, rows: npt.NDArray[np.bool_]) -> Floats:
        """Return the expected purchases of the rows asked for, wish by wish."""
        at = np.flatnonzero(rows)
        total = np.zeros(len(self._shape))
        shape, z, a, stay = (part[at] for part in (self._shape, self._z, self._a, self._stay))
        state = np.stack([np.exp(shape * np.log1p(-z)), np.zeros(len(at)), np.ones(len(at)), np.zeros(len(at))])
        wishes = n = 0
        while len(at):
            probability, purchases, survives, result = state
            if wishes and (wishes + self._ahead) % self._regularity == 0:
                purchases += survives
                survives *= (stay + n) / (a + stay + n)
                n += 1
            result += probability * purchases
            probability *= (shape + wishes) / (wishes + 1) * z
            wishes += 1
            if wishes % 64 == 0:
                going = (probability > _TAIL * (1 - z)) | (wishes * (1 - z) < shape * z)
                total[at[~going]] = result[~going]
                at, shape, z, a, stay = (part[going] for part in (at, shape, z, a, stay))
                state = state[:, going]
        return total

    def around_the_mean(self, i: int) -> float:
        """Return the expected purchases of one row with many wishes, from those within reach of their mean."""
        shape, z, a, stay = (float(part[i]) for part in (self._shape, self._z, self._a, self._stay))
        mean, spread = shape * z / (1 - z), np.sqrt(shape * z) / (1 - z)
        low, high = max(0.0, np.floor(mean - _WIDTH * spread)), np.ceil(mean + _WIDTH * spread + 80 / (1 - z))
        wishes = np.arange(low, high)
        steps = np.log((shape + wishes[:-1]) / (wishes[:-1] + 1)) + np.log(z)
        log_probability = np.concatenate([[0.0], np.cumsum(steps)])
        probability = np.exp(log_probability - log_probability.max())
        n = np.floor((wishes + self._ahead) / self._regularity)
        return float(probability @ _purchases_among(n, a, stay) / probability.sum())


def _purchases_among(n: Floats, a: float, stay: float) -> Floats:
    """Return E[purchases out of n wishes that come true]: chances to be there still, summed; ``p ~ Beta(a, stay)``."""
    chances = np.arange(n[-1])
    survives = np.exp(np.concatenate([[0.0], np.cumsum(np.log1p(-a / (a + stay + chances)))]))
    return np.asarray(np.concatenate([[0.0], np.cumsum(survives)])[n.astype(np.intp)])


def waiting_time(params: "GeoParams", x: Floats, t_x: Floats, age: Floats, share: Floats, regularity: int) -> Floats:
    """Return the time by which a purchase has come with probability ``share`` given alive, by bisection."""
    lived, wanted = params.alpha + age, np.log1p(-share)
    low = np.zeros(len(x))
    high = -wanted / params.r + np.log(1e4)  # in v = ln(1 + t/lived)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        early = log_no_purchase(params, x, t_x, age, lived * np.expm1(middle), regularity) > wanted
        low, high = np.where(early, middle, low), np.where(early, high, middle)
    return np.asarray(lived * np.expm1((low + high) / 2))


def mean_waiting_time(params: "GeoParams", x: Floats, t_x: Floats, age: Floats, regularity: int) -> Floats:
    """Return E[time to the next purchase | alive], inf where r + regularity x is at most 1."""
    weights = _stage_weights(params.r, params.alpha, x, t_x, age, regularity)
    stages = np.arange(regularity)[:, None]
    shape = params.r + regularity * x + stages
    with np.errstate(divide="ignore"):
        mean = (regularity - stages) * (params.alpha + age) / np.maximum(shape - 1, 0)
    return np.asarray((weights * mean).sum(axis=0) / weights.sum(axis=0))
