"""Formulas of the Pareto/NBD model (Schmittlein, Morrison & Colombo 1987), in integrals that stay exact at any size.

A customer buys at rate ``lambda ~ Gamma(r, alpha)`` until leaving at rate ``mu ~ Gamma(s, beta)``. The likelihood is

    L = Gamma(r+x)/Gamma(r) alpha^r beta^s [(alpha+T)^-(r+x) (beta+T)^-s + s I],
    I = integral from t_x to T of (alpha+y)^-(r+x) (beta+y)^-(s+1) dy

(Fader & Hardie 2005, "A Note on Deriving the Pareto/NBD Model", equation 15, before it is written with two Gauss
functions that cancel where T is near t_x or x is large). Given alive, ``lambda ~ Gamma(r+x, alpha+T)`` and ``mu ~
Gamma(s, beta+T)``, independent of each other.

Every integral here is that of exp(g) over ``v = ln((m+y)/(m+start))``, m the lesser of alpha and beta: there g is
smooth and concave, so Gauss's rule needs few nodes between the points where exp(g) has become negligible.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from models.btyd_kernel import RowTerms, _totals
from models.histories import HistoryCounts
from models.likelihood import Evaluation
from models.matrix import Floats
from models.parallel import in_pieces

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_PANEL = 8.0  # how far in v so many nodes are exact
_NEGLIGIBLE = 42.0  # exp(-42) is 6e-19
_PIECE = 512  # rows at once: with 40 nodes each, intermediate results stay in a core's cache
_EVER = 1e300
_MOST_STEPS = 200
_BISECTIONS = 10  # in ratios: within a few percent is enough


class ParetoParams(NamedTuple):
    """Parameters, each over 0; ``alpha`` and ``beta`` are in the time unit of the summary."""

    r: float
    alpha: float
    s: float
    beta: float


class ParetoLikelihood:
    """Log-likelihood of counted histories with exact derivatives in the logs of (r, alpha, s, beta)."""

    def __init__(self, counts: HistoryCounts) -> None:
        self._x, (self._n_by_x,) = _totals(counts.x, counts.n)
        self._rows = (counts.x, counts.t_x, counts.age, counts.n)
        self.n = float(counts.n.sum())

    def __call__(self, theta: Floats) -> Evaluation:
        """Evaluate at ``theta``, the logs of (r, alpha, s, beta)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a step too far is seen by its value
            params = ParetoParams(*np.exp(theta))

            def sums(rows: slice) -> Evaluation:
                *history, n = (column[rows] for column in self._rows)
                return _life_terms(params, *history).total(n)

            parts = [self._rate_part(params), *in_pieces(sums, len(self._rows[0]), _PIECE)]
            value = sum(part[0] for part in parts)
            gradient = np.sum([part[1] for part in parts], axis=0)
            hessian = np.sum([part[2] for part in parts], axis=0)
            scale = np.array(params)
            return float(value), gradient * scale, hessian * np.outer(scale, scale) + np.diag(gradient * scale)

    def values(self, thetas: Floats) -> Floats:
        """Return the log-likelihoods (n,) at many ``thetas`` (n, 4)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            draws = [ParetoParams(*np.exp(theta)) for theta in thetas]

            def sums(rows: slice) -> Floats:
                x, t_x, age, n = (column[rows] for column in self._rows)
                totals = np.empty(len(draws))
                for i, params in enumerate(draws):
                    left = integral(params.r + x, params.alpha + t_x, params.s + 1, params.beta + t_x, age - t_x)
                    totals[i] = n @ np.logaddexp(*_log_lives(params, x, t_x, age, left))
                return totals

            lives = np.sum(in_pieces(sums, len(self._rows[0]), _PIECE), axis=0)
            return np.asarray(lives + np.array([self._rate_part(params)[0] for params in draws]))

    def _rate_part(self, params: ParetoParams) -> Evaluation:
        """``ln Gamma(r+x)/Gamma(r) + r ln alpha + s ln beta`` and derivatives."""
        r, alpha, s, beta = params
        n_by_x, x, n = self._n_by_x, self._x, self.n
        value = n_by_x @ (special.gammaln(r + x) - special.gammaln(r)) + n * (r * np.log(alpha) + s * np.log(beta))
        gradient, hessian = np.zeros(4), np.zeros((4, 4))
        gradient[0] = n_by_x @ (special.digamma(r + x) - special.digamma(r)) + n * np.log(alpha)
        gradient[1:] = n * r / alpha, n * np.log(beta), n * s / beta
        hessian[0, 0] = n_by_x @ (special.polygamma(1, r + x) - special.polygamma(1, r))
        hessian[0, 1] = hessian[1, 0] = n / alpha
        hessian[2, 3] = hessian[3, 2] = n / beta
        hessian[1, 1], hessian[3, 3] = -n * r / alpha**2, -n * s / beta**2
        return float(value), gradient, hessian


def _log_lives(params: ParetoParams, x: Floats, t_x: Floats, age: Floats, integral: Floats) -> tuple[Floats, Floats]:
    """Return the logs of the bracket's two parts: still there, and left between ``t_x`` and ``T``."""
    r, alpha, s, beta = params
    there = -(r + x) * np.log(alpha + age) - s * np.log(beta + age)
    return there, np.log(s * integral) - (r + x) * np.log(alpha + t_x) - (s + 1) * np.log(beta + t_x)


def _life_terms(params: ParetoParams, x: Floats, t_x: Floats, age: Floats) -> RowTerms:
    """Terms of the bracket's logarithm by row, with derivatives in (r, alpha, s, beta)."""
    r, alpha, s, beta = params
    p, q = r + x, np.full(len(x), s + 1)
    y, weight = _nodes(p, alpha + t_x, q, beta + t_x, age - t_x)
    total = weight.sum(axis=0)
    share = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    log_there, log_left = _log_lives(params, x, t_x, age, total)
    left = special.expit(log_left - log_there)
    there = _Slopes(p, alpha + age, q - 1, beta + age)
    inside = _Slopes(p, alpha + t_x + y, q, beta + t_x + y)
    mean = np.einsum("kn,ikn->in", share, inside.slope)
    bend = np.einsum("kn,ijkn->ijn", share, inside.bend())
    bend += np.einsum("kn,ikn,jkn->ijn", share, inside.slope, inside.slope) - mean[:, None] * mean
    mean[2] += 1 / s
    bend[2, 2] -= 1 / s**2
    difference = mean - there.slope
    bend = left * bend + (1 - left) * there.bend() + left * (1 - left) * difference[:, None] * difference
    return RowTerms(np.logaddexp(log_there, log_left), there.slope + left * difference, bend)


class _Slopes:
    """Derivatives of ``-p ln A - q ln B`` in (r, alpha, s, beta), all arrays of one shape."""

    def __init__(self, p: Floats, a: Floats, q: Floats, b: Floats) -> None:
        self._p, self._q, self._by_a, self._by_b = p, q, 1 / a, 1 / b
        self.slope = np.stack([-np.log(a), -p * self._by_a, -np.log(b), -q * self._by_b])

    def bend(self) -> Floats:
        """Return the second derivatives (4, 4, …)."""
        bend = np.zeros((4, *self.slope.shape))
        bend[0, 1] = bend[1, 0] = -self._by_a
        bend[2, 3] = bend[3, 2] = -self._by_b
        bend[1, 1], bend[3, 3] = self._p * self._by_a**2, self._q * self._by_b**2
        return bend


def _nodes(p: Floats, a: Floats, q: Floats, b: Floats, length: Floats | float) -> tuple[Floats, Floats]:
    """Return nodes y in (0, length) and weights (nodes, n) that integrate functions times ``(1+y/a)^-p (1+y/b)^-q``."""
    least = np.minimum(a, b)
    reach = _within_reach(p, a, q, b, np.log1p(length / least))
    shares, share_weights = _rule(float(reach.max(initial=0.0)))
    v = shares[:, None] * reach
    y = least * np.expm1(v)
    height = np.exp(v - p * np.log1p(y / a) - q * np.log1p(y / b))
    return y, share_weights[:, None] * height * (reach * least)


def _rule(length: float) -> tuple[Floats, Floats]:
    """Return nodes and weights on (0, 1): Gauss's rule in as many panels as a range so long needs."""
    panels = max(1, int(np.ceil(length / _PANEL)))
    shares = (np.arange(panels)[:, None] + (_NODES + 1) / 2).ravel() / panels
    return shares, np.tile(_WEIGHTS / (2 * panels), panels)


def _within_reach(p: Floats, a: Floats, q: Floats, b: Floats, end: Floats) -> Floats:
    """Return the v of at most ``end`` beyond which the integrand is negligible beside what came before."""
    least = np.minimum(a, b)

    def height(v: Floats) -> Floats:
        y = least * np.expm1(v)
        return np.asarray(v - p * np.log1p(y / a) - q * np.log1p(y / b))

    steep = height(end) < -_NEGLIGIBLE
    if not steep.any():
        return end
    low, high = np.minimum(_NEGLIGIBLE / (p + q), end), end  # no steeper than -(p+q) anywhere
    for _ in range(_BISECTIONS):
        middle = np.sqrt(low * high)
        fallen = height(middle) < -_NEGLIGIBLE
        low, high = np.where(fallen, low, middle), np.where(fallen, middle, high)
    return np.where(steep, high, end)


def integral(p: Floats, a: Floats, q: float | Floats, b: Floats, length: Floats | float) -> Floats:
    """Return the integral of ``(1+y/a)^-p (1+y/b)^-q`` for y from 0 to ``length``."""
    return np.asarray(_nodes(p, a, np.broadcast_to(q, p.shape), b, length)[1].sum(axis=0))


def log_odds_left(params: ParetoParams, x: Floats, t_x: Floats, age: Floats) -> Floats:
    """Return the log odds of having left."""
    r, alpha, s, beta = params
    silence, quiet, lived = age - t_x, alpha + t_x, beta + t_x
    chance = np.log(s / lived * integral(r + x, quiet, s + 1, lived, silence))
    return np.asarray(chance + (r + x) * np.log1p(silence / quiet) + s * np.log1p(silence / lived))


def log_silent(params: ParetoParams, x: Floats, age: Floats, horizon: Floats | float) -> Floats:
    """Return ``ln P(no purchase in the horizon, and still there after it | alive)``."""
    r, alpha, s, beta = params
    return np.asarray(-(r + x) * np.log1p(horizon / (alpha + age)) - s * np.log1p(horizon / (beta + age)))


def purchase_probability(params: ParetoParams, x: Floats, age: Floats, horizon: Floats | float) -> Floats:
    """Return P(a purchase in the horizon | alive)."""
    r, alpha, s, beta = params
    first = integral(r + x + 1, alpha + age, s, beta + age, horizon)
    return np.asarray((r + x) / (alpha + age) * first)


def log_no_purchase(params: ParetoParams, x: Floats, age: Floats, horizon: Floats | float) -> Floats:
    """Return ``ln P(no purchase in the horizon | alive)``, exact where either outcome is rare."""
    r, alpha, s, beta = params
    some = purchase_probability(params, x, age, horizon)
    leaves = s / (beta + age) * integral(r + x, alpha + age, s + 1, beta + age, horizon)
    none = np.exp(log_silent(params, x, age, horizon)) + leaves
    return np.where(some < 0.5, np.log1p(-np.minimum(some, 0.5)), np.log(none))


def expected_purchases(params: ParetoParams, x: Floats, age: Floats, horizon: Floats | float) -> Floats:
    """Return E[purchases in the horizon | alive] (Schmittlein, Morrison & Colombo 1987, equation 22)."""
    r, alpha, s, beta = params
    long = np.log1p(horizon / (beta + age))
    return np.asarray((r + x) / (alpha + age) * (beta + age) * long * special.exprel((1 - s) * long))


def discounted_purchases(params: ParetoParams, x: Floats, age: Floats, horizon: float, rate: float) -> Floats:
    """Return E[sum of exp(-rate t) over purchases at t within the horizon | alive]; the horizon may be inf.

    Over all time this is DERT (Fader, Hardie & Lee 2005, "RFM and CLV", equation 2) given alive, whose confluent
    hypergeometric function is the integral taken here: of exp(-rate t) (1 + t/(beta+T))^-s.
    """
    r, alpha, s, beta = params
    if rate == 0:
        return expected_purchases(params, x, age, horizon)
    lived = beta + age
    end = min(horizon, 2 * _NEGLIGIBLE / rate)
    reach = np.log1p(end / lived)
    shares, weights = _rule(float(np.log1p(end / beta)))  # beta is the least that anybody has lived
    v = shares[:, None] * reach
    stays = np.exp((1 - s) * v - rate * lived * np.expm1(v))
    return np.asarray((r + x) / (alpha + age) * lived * reach * np.einsum("k,kn->n", weights, stays))


def count_probability(params: ParetoParams, x: Floats, age: Floats, horizon: float, n: int) -> Floats:
    """Return P(n purchases in the horizon | alive), n over 0: n of them and still there, or leaving after the n-th.

    The time of leaving is integrated over its logarithm v, where the integrand is log-concave, on either side of its
    peak.
    """
    r, alpha, s, beta = params
    p, a, b = r + x, alpha + age, beta + age
    steps = np.arange(n)
    ways = np.sum(np.log((p + steps[:, None]) / (steps[:, None] + 1)), axis=0)

    def log_leaves(v: Floats) -> Floats:
        share, gone = np.exp(v - np.log(a)), np.exp(v - np.log(b))
        return np.asarray(v + n * np.log(share) - (p + n) * np.log1p(share) - (s + 1) * np.log1p(gone))

    end = np.full(len(x), np.log(horizon))
    peak = np.minimum(_peak(n + 1.0, p + n, np.log(a), s + 1, np.log(b)), end)
    leaves = np.zeros(len(x))
    for direction, room in ((-1.0, np.full(len(x), np.inf)), (1.0, end - peak)):
        width = np.minimum(_width(log_leaves, peak, direction), room)
        shares, weights = _rule(_PANEL)
        nodes = peak + direction * shares[:, None] * width
        leaves += width * np.einsum("k,kn->n", weights, np.exp(ways + log_leaves(nodes)))
    z = horizon / (a + horizon)
    there = np.exp(ways + n * np.log(z) + p * np.log1p(-z) - s * np.log1p(horizon / b))
    return np.asarray(there + s / b * leaves)


def _peak(rise: float, first: Floats, log_a: Floats, second: float, log_b: Floats) -> Floats:
    """Return the v at which ``rise v - first ln(1 + e^v/a) - second ln(1 + e^v/b)`` peaks, by bisection."""
    low, high = np.minimum(log_a, log_b) - 40.0, np.maximum(log_a, log_b) + 40.0
    for _ in range(60):
        middle = (low + high) / 2
        rising = first * special.expit(middle - log_a) + second * special.expit(middle - log_b) < rise
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return (low + high) / 2


def _width(log_height: Callable[[Floats], Floats], peak: Floats, direction: float) -> Floats:
    """Return how far from the peak the height has become negligible."""
    top = log_height(peak)
    low, high = np.full(len(peak), 1e-6), np.full(len(peak), 1e3)
    for _ in range(40):
        middle = np.sqrt(low * high)
        fallen = log_height(peak + direction * middle) < top - _NEGLIGIBLE
        low, high = np.where(fallen, low, middle), np.where(fallen, middle, high)
    return high


def waiting_time(params: ParetoParams, x: Floats, age: Floats, share: Floats) -> Floats:
    """Return the time by which a purchase has come with probability ``share``, given alive; NaN where it never has."""
    r, alpha, s, beta = params
    p, a, b = r + x, alpha + age, beta + age
    ever = purchase_probability(params, x, age, _EVER)
    time = np.where(share < ever, a * np.expm1(-np.log1p(-np.minimum(share, ever)) / p), np.nan)
    going = np.flatnonzero(np.isfinite(time))
    for _ in range(_MOST_STEPS):  # Newton from below on a concave function: never past the root
        now = time[going]
        reached = purchase_probability(params, x[going], age[going], now)
        speed = p[going] / a[going] * np.exp(-(p[going] + 1) * np.log1p(now / a[going]) - s * np.log1p(now / b[going]))
        step = (share[going] - reached) / speed
        time[going] = now + step
        going = going[step > 1e-13 * now]
        if not len(going):
            break
    return time


def mean_waiting_time(params: ParetoParams, x: Floats, age: Floats) -> Floats:
    """Return E[time to the next purchase | alive and there is one], inf where r + x + s is at most 1."""
    r, alpha, s, beta = params
    y, weight = _nodes(r + x + 1, alpha + age, np.full(len(x), s), beta + age, _EVER)
    finite = r + x + s > 1
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(finite, (y * weight).sum(axis=0) / weight.sum(axis=0), np.inf)
