"""Formulas of the beta-geometric purchase models: likelihood, derivatives and what the history says about the future.

A customer buys at rate ``lambda ~ Gamma(r, alpha)`` and, at every chance to leave, leaves with probability
``p ~ Beta(a, b)``. BG/NBD (Fader, Hardie & Lee 2005) gives one chance after every repeat purchase; MBG/NBD (Batislam,
Denizel & Filiztekin 2007; Hoppe & Wagner 2007) one more after the first purchase. With ``k`` the chances a living
customer has passed (BG/NBD ``x``, MBG/NBD ``x + 1``) both have one likelihood,

    L = Gamma(r+x)/Gamma(r) alpha^r (alpha+T)^-(r+x) B(a, b+k)/B(a, b) (1 + [k > 0] exp(d)),
    d = ln a - ln(b+k-1) + (r+x) ln((alpha+T)/(alpha+t_x)),

where ``d`` is the log odds of having left. Given that the customer is alive, ``lambda ~ Gamma(r+x, alpha+T)`` and
``p ~ Beta(a, b+k)``, independent of each other: every prediction follows from that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from models.likelihood import Evaluation, sum_products
from models.matrix import Floats

_NEAR_ONE = 3e-3  # wide enough that the nodes lose few digits, narrow enough that interpolation loses none
_TERMS, _MAX_TERMS = 4096, 50_000_000
_MAX_KEY = 2**62
_DENSE_CELLS = 4_000_000  # a table this large is still counted faster than keys are hashed


class GeoParams(NamedTuple):
    """Parameters of either model, each over 0; ``alpha`` is in the time unit of the summary."""

    r: float
    alpha: float
    a: float
    b: float


@dataclass(frozen=True)
class Collapsed:
    """Distinct rows of some columns: ``columns[i][inverse]`` is the column itself, ``counts`` how often each occurs."""

    columns: tuple[Floats, ...]
    counts: Floats
    inverse: npt.NDArray[np.intp]


def collapse(columns: Sequence[Floats]) -> Collapsed:
    """Find the distinct rows of equally long columns, sorted by the columns in turn whatever the rows' order."""
    key, cells = np.zeros(len(columns[0]), dtype=np.int64), 1
    for column in columns:
        codes, values = pd.factorize(column, sort=True)
        if cells * len(values) > _MAX_KEY:
            key, levels = pd.factorize(key, sort=True)
            cells = len(levels)
        key, cells = key * len(values) + codes, cells * len(values)
    if cells <= _DENSE_CELLS:
        table = np.bincount(key, minlength=cells)
        present = np.flatnonzero(table)
        place = np.zeros(cells, dtype=np.intp)
        place[present] = np.arange(len(present))
        inverse, counts = place[key], table[present]
    else:
        inverse, present = pd.factorize(key, sort=True)
        counts = np.bincount(inverse)
    example = np.zeros(len(present), dtype=np.intp)
    example[inverse] = np.arange(len(inverse))
    return Collapsed(tuple(column[example] for column in columns), counts.astype(np.float64), inverse)


class GeoLikelihood:
    """Log-likelihood of collapsed ``(x, t_x, T)`` with exact derivatives in the logs of (r, alpha, a, b).

    Terms in ``x`` or ``T`` alone are summed over those columns' distinct values; only the log odds of having left need
    every distinct row.
    """

    def __init__(self, rows: Collapsed, shift: int) -> None:
        x, t_x, age = rows.columns
        self._x, x_code = np.unique(x, return_inverse=True)
        self._n_by_x = np.bincount(x_code, weights=rows.counts)
        self._k = self._x + shift
        self._age, age_code = np.unique(age, return_inverse=True)
        self._n_by_age = np.bincount(age_code, weights=rows.counts)
        self._nx_by_age = np.bincount(age_code, weights=rows.counts * x)
        leaver = x + shift > 0
        self._rows = (x[leaver], t_x[leaver], age[leaver], (x + shift)[leaver], rows.counts[leaver])
        self.n = float(rows.counts.sum())

    def __call__(self, theta: Floats) -> Evaluation:
        """Evaluate at ``theta``, the logs of (r, alpha, a, b)."""
        with np.errstate(over="ignore", invalid="ignore"):  # a step too far is seen by its non-finite value
            params = GeoParams(*np.exp(theta))
            parts = (self._rate_part(params), self._chance_part(params), self._leaver_part(params))
            value = sum(part[0] for part in parts)
            gradient = np.sum([part[1] for part in parts], axis=0)
            hessian = np.sum([part[2] for part in parts], axis=0)
            scale = np.array(params)
            return value, gradient * scale, hessian * np.outer(scale, scale) + np.diag(gradient * scale)

    def _rate_part(self, params: GeoParams) -> Evaluation:
        """``ln Gamma(r+x)/Gamma(r) + r ln alpha - (r+x) ln(alpha+T)`` and derivatives in (r, alpha)."""
        r, alpha = params.r, params.alpha
        lived = alpha + self._age
        n, log_lived = self.n, np.log(lived)
        exposure = self._n_by_age * r + self._nx_by_age
        gradient, hessian = np.zeros(4), np.zeros((4, 4))
        value = self._n_by_x @ (special.gammaln(r + self._x) - special.gammaln(r)) + n * r * np.log(alpha)
        value -= exposure @ log_lived
        gradient[0] = self._n_by_x @ (special.digamma(r + self._x) - special.digamma(r))
        gradient[0] += n * np.log(alpha) - self._n_by_age @ log_lived
        gradient[1] = n * r / alpha - exposure @ (1 / lived)
        hessian[0, 0] = self._n_by_x @ (special.polygamma(1, r + self._x) - special.polygamma(1, r))
        hessian[0, 1] = hessian[1, 0] = n / alpha - self._n_by_age @ (1 / lived)
        hessian[1, 1] = -n * r / alpha**2 + exposure @ lived**-2
        return float(value), gradient, hessian

    def _chance_part(self, params: GeoParams) -> Evaluation:
        """``ln B(a, b+k) - ln B(a, b)`` and derivatives in (a, b)."""
        a, b = params.a, params.b
        n, k = self._n_by_x, self._k
        gradient, hessian = np.zeros(4), np.zeros((4, 4))
        value = n @ (special.gammaln(b + k) - special.gammaln(b) + special.gammaln(a + b) - special.gammaln(a + b + k))
        gradient[2] = n @ (special.digamma(a + b) - special.digamma(a + b + k))
        gradient[3] = gradient[2] + n @ (special.digamma(b + k) - special.digamma(b))
        hessian[2, 2] = n @ (special.polygamma(1, a + b) - special.polygamma(1, a + b + k))
        hessian[2, 3] = hessian[3, 2] = hessian[2, 2]
        hessian[3, 3] = hessian[2, 2] + n @ (special.polygamma(1, b + k) - special.polygamma(1, b))
        return float(value), gradient, hessian

    def _leaver_part(self, params: GeoParams) -> Evaluation:
        """``ln(1 + exp(d))`` and derivatives; ``left`` is the probability of having left."""
        x, t_x, age, k, n = self._rows
        log_odds = log_odds_left(params, x, t_x, age, k)
        left = special.expit(log_odds)
        quiet, lived = 1 / (params.alpha + t_x), 1 / (params.alpha + age)
        slope = np.empty((4, len(x)))
        slope[0] = np.log(params.alpha + age) - np.log(params.alpha + t_x)
        slope[1] = (params.r + x) * (lived - quiet)
        slope[2] = 1 / params.a
        slope[3] = -1 / (params.b + k - 1)
        weight = n * left
        hessian = sum_products((slope * (weight * (1 - left)))[:, None], slope)
        hessian[0, 1] += sum_products(weight, lived - quiet)
        hessian[1, 0] = hessian[0, 1]
        hessian[1, 1] += sum_products(weight, (params.r + x) * (quiet**2 - lived**2))
        hessian[2, 2] -= weight.sum() / params.a**2
        hessian[3, 3] += sum_products(weight, slope[3] ** 2)
        return float(sum_products(n, np.logaddexp(0, log_odds))), sum_products(slope, weight), hessian


def log_odds_left(params: GeoParams, x: Floats, t_x: Floats, age: Floats, k: Floats) -> Floats:
    """Return the log odds of having left, ``-inf`` where there was no chance to (``k = 0``)."""
    first_chance = np.log(params.a) - np.log(params.b + np.maximum(k, 1) - 1)
    silence = (params.r + x) * np.log1p((age - t_x) / (params.alpha + t_x))
    return np.where(k > 0, first_chance + silence, -np.inf)


def log_no_purchase(params: GeoParams, x: Floats, age: Floats, horizon: float) -> Floats:
    """Return ``ln P(no purchase in the horizon | alive)``."""
    return np.asarray(-(params.r + x) * np.log1p(horizon / (params.alpha + age)))


def expected_purchases(params: GeoParams, x: Floats, age: Floats, k: Floats, horizon: float) -> Floats:
    """Return E[purchases in the horizon | alive], finite and smooth for every parameter over 0.

    Fader, Hardie & Lee (2005), equation 10, after Euler's transformation: with z = h/(alpha+T+h) and c = a+b+k-1,
    E = c/(a-1) [1 - (1-z)^(a-1) 2F1(c-r-x, a-1; c; z)]. At a = 1 it is 0/0: there the value is interpolated between
    six values of a around it.
    """
    if abs(params.a - 1) >= _NEAR_ONE:
        return _expected_purchases(params, x, age, k, horizon)
    nodes = 1 + _NEAR_ONE * np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    total = np.zeros(len(x))
    for i, node in enumerate(nodes):
        others = np.delete(nodes, i)
        weight = float(np.prod((params.a - others) / (node - others)))
        total += weight * _expected_purchases(params._replace(a=float(node)), x, age, k, horizon)
    return total


def _expected_purchases(params: GeoParams, x: Floats, age: Floats, k: Floats, horizon: float) -> Floats:
    r, alpha, a, b = params
    z = horizon / (alpha + age + horizon)
    c = a + b + k - 1
    first, second = c - r - x, a - 1
    # c 2F1(A, B; c; z) from two functions further from the pole at c = 0, which a + b <= 1 comes close to at k = 0
    scaled = c * _hyp2f1(first, second, c + 1, z)
    scaled += z * first * second / (c + 1) * _hyp2f1(first + 1, second + 1, c + 2, z)
    return np.asarray((c - np.exp(second * np.log1p(-z)) * scaled) / second)


def _hyp2f1(first: Floats, second: float, third: Floats, z: Floats) -> Floats:
    """Return Gauss's 2F1, by its series where SciPy's overflows (third over 170 and z over 0.9)."""
    value = np.asarray(special.hyp2f1(first, second, third, z), dtype=np.float64)
    for i in np.flatnonzero(~np.isfinite(value)):
        value[i] = _series(float(first[i]), second, float(third[i]), float(z[i]))
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


def discounted_purchases(params: GeoParams, x: Floats, age: Floats, k: Floats, horizon: float, rate: float) -> Floats:
    """Return E[sum of exp(-rate t) over purchases at t within the horizon | alive], continuously discounted.

    By parts, from the expected counts E(t): exp(-rate h) E(h) + rate * integral of exp(-rate t) E(t).
    """
    nodes, weights = np.polynomial.legendre.leggauss(8)
    total: Floats = np.exp(-rate * horizon) * expected_purchases(params, x, age, k, horizon)
    for node, weight in zip((nodes + 1) / 2 * horizon, weights / 2 * horizon, strict=True):
        total += rate * weight * np.exp(-rate * node) * expected_purchases(params, x, age, k, float(node))
    return total
