"""Formulas of the beta-geometric purchase models: likelihood, derivatives and what the history says about the future.

A customer buys at rate ``lambda ~ Gamma(r, alpha)`` and, at every chance to leave, leaves with probability
``p ~ Beta(a, b)``. BG/NBD (Fader, Hardie & Lee 2005) gives one chance after every repeat purchase; MBG/NBD (Batislam,
Denizel & Filiztekin 2007; Hoppe & Wagner 2007) one more after the first purchase. With ``k`` the chances a living
customer has passed (BG/NBD ``x``, MBG/NBD ``x + 1``) both have one likelihood,

    L = Gamma(r+x)/Gamma(r) alpha^r (alpha+T)^-(r+x) B(a, b+k)/B(a, b) (S + [k > 0] exp(d)),
    d = ln a - ln(b+k-1) + (r+x) ln((alpha+T)/(alpha+t_x)),

with S = 1, where ``d - ln S`` is the log odds of having left. Given that the customer is alive, ``lambda ~ Gamma(r+x,
alpha+T)`` and ``p ~ Beta(a, b+k)``, independent of each other: every prediction follows from that.

Of regular customers the time between purchases is Erlang with a whole ``regularity`` (Platzer & Reutterer 2016;
Reutterer, Platzer & Schroeder 2020: CNBD-k, (M)BG/CNBD-k): so many wishes at rate ``lambda`` make a purchase. Then
``r + regularity x`` stands for ``r + x`` and S is the sum over the wishes since the last purchase, fewer than
``regularity``: see `models.regularity`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from models.histories import HistoryCounts
from models.likelihood import Evaluation
from models.matrix import Floats
from models.parallel import in_pieces
from models.regularity import still_waiting

_NEAR_ONE = 3e-3  # wide enough that the nodes lose few digits, narrow enough that interpolation loses none
_NODES = 1 + _NEAR_ONE * np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
_TERMS, _MAX_TERMS = 4096, 50_000_000
_LOG_TINY, _LOG_SMALLEST_SHARE = -600.0, -39.0  # floats end near e^-700; e^-39 is 1e-17
_PIECE = 8192  # rows at once: some thirty columns of intermediate results stay in a core's cache
_NOTHING_LEFT = 45.0  # discounted by exp(-45), money is gone
_MOST_LEVELS = 10_000_000  # whole numbers up to here are counted in a table


class GeoParams(NamedTuple):
    """Parameters of either model, each over 0; ``alpha`` is in the time unit of the summary.

    ``alpha``, ``a`` and ``b`` may differ by customer: arrays as long as the histories they are used with.
    """

    r: float
    alpha: float | Floats
    a: float | Floats
    b: float | Floats


class RowTerms(NamedTuple):
    """Terms of a log-likelihood by row: values (n,), gradients (4, n) and Hessians (4, 4, n) in (r, alpha, a, b)."""

    value: Floats
    slope: Floats
    bend: Floats

    def total(self, weights: Floats) -> Evaluation:
        """Return the sums weighted by how often each row occurs."""
        # not `@`: BLAS splits long sums among threads, so their last digit would depend on the machine
        value, slope, bend = (np.einsum("...n,n->...", part, weights) for part in self)
        return float(value), slope, bend


class GeoLikelihood:
    """Log-likelihood of counted histories with exact derivatives in the logs of (r, alpha, a, b).

    Terms in ``x`` or ``T`` alone are summed over those columns' distinct values; only the log odds of having left need
    every distinct row.
    """

    def __init__(self, counts: HistoryCounts, shift: int, regularity: int = 1) -> None:
        self._regularity = regularity
        self._x, (self._n_by_x,) = _totals(counts.x, counts.n)
        self._k = self._x + shift
        self._age, (self._n_by_age, nx_by_age) = _totals(counts.age, counts.n, counts.n * counts.x)
        self._wishes_by_age = regularity * nx_by_age
        odd = (counts.x + shift > 0) | (regularity > 1)
        x = counts.x[odd]
        self._rows = (x, counts.t_x[odd], counts.age[odd], x + shift, counts.n[odd])
        self.n = float(counts.n.sum())
        log_gaps = 0.0 if np.isnan(counts.log_gaps) else counts.log_gaps
        n_gaps = float(self._n_by_x @ self._x)
        self._constant = (regularity - 1) * log_gaps - n_gaps * special.gammaln(regularity)

    def __call__(self, theta: Floats) -> Evaluation:
        """Evaluate at ``theta``, the logs of (r, alpha, a, b)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a step too far is seen by its value
            params = GeoParams(*np.exp(theta))
            pieces = in_pieces(lambda rows: self._leaver_sums(params, rows), len(self._rows[0]), _PIECE)
            parts = [self._rate_part(params), self._chance_part(params), *pieces]
            value = self._constant + sum(part[0] for part in parts)
            gradient = np.sum([part[1] for part in parts], axis=0)
            hessian = np.sum([part[2] for part in parts], axis=0)
            scale = np.array(params)
            return float(value), gradient * scale, hessian * np.outer(scale, scale) + np.diag(gradient * scale)

    def values(self, thetas: Floats) -> Floats:
        """Return the log-likelihoods (n,) at many ``thetas`` (n, 4)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            draws = [GeoParams(*np.exp(theta)) for theta in thetas]
            pieces = in_pieces(lambda rows: self._leaver_values(draws, rows), len(self._rows[0]), _PIECE)
            singles = [self._rate_value(params) + self._chance_value(params) for params in draws]
            return np.asarray(self._constant + np.array(singles) + np.sum(pieces, axis=0))

    def _leaver_sums(self, params: GeoParams, rows: slice) -> Evaluation:
        x, t_x, age, k, n = (column[rows] for column in self._rows)
        return leaver_terms(params, x, t_x, age, k, self._regularity).total(n)

    def _leaver_values(self, draws: list[GeoParams], rows: slice) -> Floats:
        x, t_x, age, k, n = (column[rows] for column in self._rows)
        totals = np.empty(len(draws))
        for i, params in enumerate(draws):
            odds = log_odds_left(params, x, t_x, age, k, self._regularity)
            waiting = np.log(still_waiting(params.r, params.alpha, x, t_x, age, self._regularity))
            totals[i] = np.einsum("n,n->", n, waiting + np.logaddexp(0, odds))
        return totals

    def _rate_value(self, params: GeoParams) -> float:
        r, alpha, n = params.r, params.alpha, self.n
        wishes = self._regularity * self._x
        value = self._n_by_x @ (special.gammaln(r + wishes) - special.gammaln(r)) + n * r * np.log(alpha)
        return float(value - (self._n_by_age * r + self._wishes_by_age) @ np.log(alpha + self._age))

    def _rate_part(self, params: GeoParams) -> Evaluation:
        """``ln Gamma(r+x)/Gamma(r) + r ln alpha - (r+x) ln(alpha+T)`` and derivatives in (r, alpha)."""
        r, alpha, n = params.r, params.alpha, self.n
        lived, wishes = alpha + self._age, self._regularity * self._x
        exposure = self._n_by_age * r + self._wishes_by_age
        gradient, hessian = np.zeros(4), np.zeros((4, 4))
        gradient[0] = self._n_by_x @ (special.digamma(r + wishes) - special.digamma(r))
        gradient[0] += n * np.log(alpha) - self._n_by_age @ np.log(lived)
        gradient[1] = n * r / alpha - exposure @ (1 / lived)
        hessian[0, 0] = self._n_by_x @ (special.polygamma(1, r + wishes) - special.polygamma(1, r))
        hessian[0, 1] = hessian[1, 0] = n / alpha - self._n_by_age @ (1 / lived)
        hessian[1, 1] = -n * r / alpha**2 + exposure @ lived**-2
        return self._rate_value(params), gradient, hessian

    def _chance_value(self, params: GeoParams) -> float:
        return float(self._n_by_x @ log_beta_ratio(params.a, params.b, self._k))

    def _chance_part(self, params: GeoParams) -> Evaluation:
        """``ln B(a, b+k) - ln B(a, b)`` and derivatives in (a, b)."""
        a, b = params.a, params.b
        n, k = self._n_by_x, self._k
        gradient, hessian = np.zeros(4), np.zeros((4, 4))
        gradient[2] = n @ (special.digamma(a + b) - special.digamma(a + b + k))
        gradient[3] = gradient[2] + n @ (special.digamma(b + k) - special.digamma(b))
        hessian[2, 2] = n @ (special.polygamma(1, a + b) - special.polygamma(1, a + b + k))
        hessian[2, 3] = hessian[3, 2] = hessian[2, 2]
        hessian[3, 3] = hessian[2, 2] + n @ (special.polygamma(1, b + k) - special.polygamma(1, b))
        return self._chance_value(params), gradient, hessian


def leaver_terms(params: GeoParams, x: Floats, t_x: Floats, age: Floats, k: Floats, regularity: int = 1) -> RowTerms:
    """``ln(S + exp(d))`` by row and derivatives; ``left`` is the probability of having left."""
    r, alpha, a, b = params
    slope, bend = np.zeros((4, len(x))), np.zeros((4, 4, len(x)))
    quiet, lived, chance = 1 / (alpha + t_x), 1 / (alpha + age), 1 / (b + np.maximum(k, 1) - 1)
    shape = r + regularity * x
    slope[0] = np.log1p((age - t_x) * quiet)
    slope[1] = shape * (lived - quiet)
    slope[2] = 1 / a
    slope[3] = -chance
    odds = np.where(k > 0, np.log(a * chance) + shape * slope[0], -np.inf)
    bend[0, 1] = lived - quiet
    bend[1, 1] = shape * (quiet - lived) * (quiet + lived)
    bend[2, 2] = -(slope[2] ** 2)
    bend[3, 3] = chance**2
    waiting = _waiting_terms(params, x, t_x, age, regularity)
    if waiting is not None:
        odds -= waiting.value
    left = special.expit(odds)
    bend *= left
    if waiting is not None:
        bend += (1 - left) * waiting.bend
        difference = slope - waiting.slope
        slope = waiting.slope + left * difference
    else:
        difference, slope = slope, left * slope
    weighted = left * (1 - left) * difference
    for i in range(4):
        for j in range(i, 4):
            bend[i, j] += weighted[i] * difference[j]
            bend[j, i] = bend[i, j]
    value = np.maximum(odds, 0) + np.log1p(np.exp(-np.abs(odds)))
    return RowTerms(value if waiting is None else value + waiting.value, slope, bend)


def _waiting_terms(params: GeoParams, x: Floats, t_x: Floats, age: Floats, regularity: int) -> RowTerms | None:
    """``ln S`` by row and derivatives in (r, alpha); None where S is 1."""
    if regularity == 1:
        return None
    shape, lived = params.r + regularity * x, params.alpha + age
    u = (age - t_x) / lived
    term = np.ones(len(x))
    harmonic, squares = np.zeros(len(x)), np.zeros(len(x))
    total = np.zeros((6, len(x)))  # S and its derivatives: r, alpha, r r, r alpha, alpha alpha
    for j in range(regularity):
        total += term * np.broadcast_arrays(1.0, harmonic, -j, harmonic**2 - squares, -j * harmonic, j * (j + 1.0))
        term = term * u * (shape + j) / (j + 1)
        harmonic, squares = harmonic + 1 / (shape + j), squares + (shape + j) ** -2
    by_r, by_alpha, by_rr, by_ra, by_aa = total[1:] / total[0]
    slope, bend = np.zeros((4, len(x))), np.zeros((4, 4, len(x)))
    slope[0], slope[1] = by_r, by_alpha / lived
    bend[0, 0] = by_rr - by_r**2
    bend[0, 1] = bend[1, 0] = (by_ra - by_r * by_alpha) / lived
    bend[1, 1] = (by_aa - by_alpha**2) / lived**2
    return RowTerms(np.log(total[0]), slope, bend)


def log_beta_ratio(a: float | Floats, b: float | Floats, k: Floats) -> Floats:
    """Return ``ln B(a, b+k) - ln B(a, b)``: the log probability of passing k chances."""
    return np.asarray(special.gammaln(b + k) - special.gammaln(b) + special.gammaln(a + b) - special.gammaln(a + b + k))


def log_odds_left(params: GeoParams, x: Floats, t_x: Floats, age: Floats, k: Floats, regularity: int = 1) -> Floats:
    """Return the log odds of having left, ``-inf`` where there was no chance to (``k = 0``)."""
    first_chance = np.log(params.a) - np.log(params.b + np.maximum(k, 1) - 1)
    silence = (params.r + regularity * x) * np.log1p((age - t_x) / (params.alpha + t_x))
    odds = np.where(k > 0, first_chance + silence, -np.inf)
    return odds - np.log(still_waiting(params.r, params.alpha, x, t_x, age, regularity)) if regularity > 1 else odds


def log_no_purchase(params: GeoParams, x: Floats, age: Floats, horizon: float | Floats) -> Floats:
    """Return ``ln P(no purchase in the horizon | alive)``."""
    return np.asarray(-(params.r + x) * np.log1p(horizon / (params.alpha + age)))


def expected_purchases(params: GeoParams, x: Floats, age: Floats, k: Floats, horizon: float | Floats) -> Floats:
    """Return E[purchases in the horizon | alive], finite and smooth for every parameter over 0.

    Fader, Hardie & Lee (2005), equation 10, after Euler's transformation: with z = h/(alpha+T+h) and c = a+b+k-1,
    E = c/(a-1) [1 - (1-z)^(a-1) 2F1(c-r-x, a-1; c; z)]. At a = 1 it is 0/0: there the value is interpolated between
    six values of a around it.
    """
    a = np.broadcast_to(np.asarray(params.a, dtype=np.float64), x.shape)
    near = np.abs(a - 1) < _NEAR_ONE
    if not near.any():
        return _expected_purchases(params, x, age, k, horizon)
    total = np.zeros(len(x))
    for i, node in enumerate(_NODES):
        others = np.delete(_NODES, i)
        weight = np.prod((a[:, None] - others) / (node - others), axis=1)
        total += weight * _expected_purchases(params._replace(a=float(node)), x, age, k, horizon)
    return total if near.all() else np.where(near, total, _expected_purchases(params, x, age, k, horizon))


def _expected_purchases(params: GeoParams, x: Floats, age: Floats, k: Floats, horizon: float | Floats) -> Floats:
    r, alpha, a, b = params
    z = horizon / (alpha + age + horizon)
    c = a + b + k - 1
    first, second = c - r - x, a - 1
    log_shrink = second * np.log1p(-z)
    huge = (log_shrink < _LOG_TINY) & (np.minimum(first, second) > 0)  # the function then may be beyond every float
    held = np.where(huge, 0.0, z)
    # c 2F1(A, B; c; z) from two functions further from the pole at c = 0, which a + b <= 1 comes close to at k = 0
    scaled = c * _hyp2f1(first, second, c + 1, held)
    scaled += held * first * second / (c + 1) * _hyp2f1(first + 1, second + 1, c + 2, held)
    shrunk = np.asarray(np.exp(log_shrink) * scaled)
    each = np.broadcast_arrays(first, second, c, z, log_shrink)
    for i in np.flatnonzero(huge):
        a_i, b_i, c_i, z_i, log_shrink_i = (float(part[i]) for part in each)
        shrunk[i] = c_i * np.exp(_log_series(a_i, b_i, c_i, z_i) + log_shrink_i)
    return np.asarray((c - shrunk) / second)


def _hyp2f1(first: Floats, second: float | Floats, third: Floats, z: Floats) -> Floats:
    """Return Gauss's 2F1, by its series where SciPy's overflows (third over 170 and z over 0.9)."""
    value = np.asarray(special.hyp2f1(first, second, third, z), dtype=np.float64)
    for i in np.flatnonzero(~np.isfinite(value)):
        value[i] = _series(*(float(np.broadcast_to(part, value.shape)[i]) for part in (first, second, third, z)))
    return value


def _series(first: float, second: float, third: float, z: float) -> float:
    total = term = 1.0
    for start in range(0, _MAX_TERMS, _TERMS):
        n = np.arange(start, start + _TERMS, dtype=np.float64)
        terms = term * np.cumprod((first + n) * (second + n) / ((third + n) * (n + 1)) * z)
        total, before, term = total + float(terms.sum()), term, float(terms[-1])
        if abs(term) <= 1e-17 * abs(total) and abs(term) <= abs(before):
            return total
    return np.nan


def _log_series(first: float, second: float, third: float, z: float) -> float:
    """Return ln 2F1 of parameters over 0, also where 2F1 itself is beyond every float."""
    total = last = 0.0
    for start in range(0, _MAX_TERMS, _TERMS):
        n = np.arange(start, start + _TERMS, dtype=np.float64)
        logs = last + np.cumsum(np.log((first + n) * (second + n) / ((third + n) * (n + 1)) * z))
        total, before, last = float(np.logaddexp(total, special.logsumexp(logs))), last, float(logs[-1])
        if last - total < _LOG_SMALLEST_SHARE and last <= before:
            return total
    return np.nan


def _totals(values: Floats, *weights: Floats) -> tuple[Floats, list[Floats]]:
    """Return the distinct values, sorted, and each weight's total over every one of them."""
    largest = float(values.max())
    if largest <= _MOST_LEVELS and (values == np.floor(values)).all():
        codes: npt.NDArray[np.intp] = values.astype(np.intp)
        present = np.flatnonzero(np.bincount(codes))
        return present.astype(np.float64), [
            np.bincount(codes, weights=weight)[present].astype(np.float64) for weight in weights
        ]
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct, [np.asarray(np.bincount(codes, weights=weight), dtype=np.float64) for weight in weights]


def discounted(
    expected: Callable[[Floats], Floats], lived: Floats, horizon: float, rate: float, *, shortest: float
) -> Floats:
    """Return E[sum of exp(-rate t) over purchases at t within the horizon] from the expected counts E(t).

    By parts: exp(-rate h) E(h) + rate * integral of exp(-rate t) E(t), over v = ln(1 + t/lived) in which the counts are
    smooth. The horizon may be inf when the rate is over 0. ``shortest`` is the least that ``lived`` can be: what it
    needs is taken for all, so that nobody's value depends on who else is asked for.
    """
    if rate == 0:
        return expected(np.full(len(lived), horizon))
    end = min(horizon, _NOTHING_LEFT / rate)
    reach = np.log1p(end / lived)
    nodes, weights = np.polynomial.legendre.leggauss(10 + int(5 * np.log1p(end / shortest)))
    total = (
        np.zeros(len(lived)) if np.isinf(horizon) else np.exp(-rate * horizon) * expected(np.full(len(lived), horizon))
    )
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        time = lived * np.expm1(node * reach)
        total += rate * weight * reach * (lived + time) * np.exp(-rate * time) * expected(time)
    return total
