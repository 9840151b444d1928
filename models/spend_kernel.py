"""Log-likelihood of Gamma-Gamma with exact derivatives."""

from typing import NamedTuple

import numpy as np
from scipy import special

from models.likelihood import Evaluation, sum_products
from models.matrix import Floats
from models.parallel import in_pieces


class SpendParams(NamedTuple):
    """Parameters, each over 0; ``v`` is in the currency of the summary."""

    p: float
    q: float
    v: float


class GammaGammaLikelihood:
    """Log-likelihood of mean spends ``m`` over ``x`` purchases (Fader & Hardie 2013, equation 1a), derivatives in logs.

    Polygamma functions are taken of the distinct values of ``x`` only.
    """

    def __init__(self, x: Floats, mean_spend: Floats) -> None:
        counts = np.bincount(x.astype(np.intp)).astype(np.float64)
        self._x = np.flatnonzero(counts).astype(np.float64)
        self._n_by_x = counts[counts > 0]
        spent = x * mean_spend
        log_spent = np.log(spent)
        self._rows = (x, spent)
        self._n_purchases = float(counts @ np.arange(len(counts)))
        self._x_log_spent = float(sum_products(x, log_spent))
        self._log_mean_sum = float(log_spent.sum() - self._n_by_x @ np.log(self._x))

    def __call__(self, theta: Floats) -> Evaluation:
        """Evaluate at ``theta``, the logs of (p, q, v)."""
        with np.errstate(over="ignore", invalid="ignore"):  # a step too far is seen by its non-finite value
            params = SpendParams(*np.exp(theta))
            pieces = in_pieces(lambda rows: self._sums(params, rows), len(self._rows[0]))
            sums = np.sum(pieces, axis=0)
            shape, rows = self._shape_part(params), self._rows_part(params, sums)
            value, gradient, hessian = shape[0] + rows[0], shape[1] + rows[1], shape[2] + rows[2]
            scale = np.array(params)
            return value, gradient * scale, hessian * np.outer(scale, scale) + np.diag(gradient * scale)

    def values(self, thetas: Floats) -> Floats:
        """Return the log-likelihoods (n,) at many ``thetas`` (n, 3)."""
        return np.array([self(theta)[0] for theta in thetas])

    def _shape_part(self, params: SpendParams) -> Evaluation:
        """``ln Gamma(px+q) - ln Gamma(px) - ln Gamma(q) + q ln v`` and derivatives."""
        p, q, v = params
        n, x = self._n_by_x, self._x
        total = n.sum()
        value = n @ (special.gammaln(p * x + q) - special.gammaln(p * x) - special.gammaln(q)) + total * q * np.log(v)
        gradient, hessian = np.zeros(3), np.zeros((3, 3))
        gradient[0] = n @ (x * (special.digamma(p * x + q) - special.digamma(p * x)))
        gradient[1] = n @ (special.digamma(p * x + q) - special.digamma(q)) + total * np.log(v)
        gradient[2] = total * q / v
        hessian[0, 0] = n @ (x**2 * (special.polygamma(1, p * x + q) - special.polygamma(1, p * x)))
        hessian[0, 1] = hessian[1, 0] = n @ (x * special.polygamma(1, p * x + q))
        hessian[1, 1] = n @ (special.polygamma(1, p * x + q) - special.polygamma(1, q))
        hessian[1, 2] = hessian[2, 1] = total / v
        hessian[2, 2] = -total * q / v**2
        return float(value), gradient, hessian

    def _sums(self, params: SpendParams, rows: slice) -> Floats:
        """Return sums of ln(v+xm), x ln(v+xm), 1/(v+xm), x/(v+xm), 1/(v+xm)^2 and x/(v+xm)^2."""
        x, spent = (column[rows] for column in self._rows)
        whole = params.v + spent
        total, inverse = np.log(whole), 1 / whole
        squared = inverse**2
        pairs = [(part.sum(), sum_products(x, part)) for part in (total, inverse, squared)]
        return np.array(pairs, dtype=np.float64).ravel()

    def _rows_part(self, params: SpendParams, sums: Floats) -> Evaluation:
        """``(px-1) ln m + px ln x - (px+q) ln(v + xm)``, written with ``px ln(xm) - ln m``, and derivatives."""
        p, q, _ = params
        total, x_total, inverse, x_inverse, squared, x_squared = sums
        gradient, hessian = np.zeros(3), np.zeros((3, 3))
        value = p * self._x_log_spent - self._log_mean_sum - p * x_total - q * total
        gradient[:] = self._x_log_spent - x_total, -total, -p * x_inverse - q * inverse
        hessian[0, 2] = hessian[2, 0] = -x_inverse
        hessian[1, 2] = hessian[2, 1] = -inverse
        hessian[2, 2] = p * x_squared + q * squared
        return float(value), gradient, hessian
