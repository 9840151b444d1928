"""What customers spend per purchase: Gamma-Gamma."""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from models.likelihood import Evaluation, LikelihoodModel, LogNormalPrior, maximise, sum_products
from models.matrix import Floats
from models.summary import read_columns
from perennial.errors import ConvergenceError, InsufficientData

_MIN_SPENDERS = 10
_SAME = 1e-6  # spends that vary less than this share of their mean are one price, rounded


class SpendParams(NamedTuple):
    """Parameters, each over 0; ``v`` is in the currency of the summary."""

    p: float
    q: float
    v: float


# Orders of magnitude of published fits, with mean spend 1: used to start from and as the weak prior's centre.
_STARTS = (SpendParams(5.0, 4.0, 0.6), SpendParams(1.0, 2.0, 1.0), SpendParams(2.0, 10.0, 4.5))


class GammaGammaModel(LikelihoodModel):
    """Gamma-Gamma (Fader & Hardie 2013): a purchase is ``Gamma(p, nu)``, a customer's rate ``nu ~ Gamma(q, v)``.

    A summary has ``frequency`` (repeat purchases) and ``monetary_value`` (their mean value); rows where either is not
    over 0 say nothing about spend: they are left out of the fit and predicted the population mean ``p v / (q - 1)``.
    """

    family = "gamma_gamma"
    parameter_names = SpendParams._fields

    def fit(self, summary: pd.DataFrame) -> Self:
        """Fit by maximum likelihood; ConvergenceError when spend is so heavy-tailed that its mean is infinite."""
        x, mean_spend = read_columns(summary, ("frequency", "monetary_value"))
        known = _informative(x, mean_spend)
        n_known = int(known.sum())
        if n_known < _MIN_SPENDERS:
            raise InsufficientData(
                f"{self.family}: {n_known} of {len(x)} customers have repeat purchases with a value over 0;"
                f" at least {_MIN_SPENDERS} are needed"
            )
        scale = float(mean_spend[known].mean())
        if mean_spend[known].std() <= _SAME * scale:
            raise InsufficientData(
                f"{self.family}: every customer spends about {scale:g} a purchase, so there is nothing to learn about"
                " who spends more; check monetary_value, or multiply expected purchases by the price"
            )
        objective = GammaGammaLikelihood(x[known], mean_spend[known] / scale)
        starts = [np.log(start) for start in _STARTS]
        best = maximise(objective, starts, LogNormalPrior(starts[0]), self.family)
        params = SpendParams(*np.exp(best.theta))
        if params.q <= 1:
            raise ConvergenceError(
                f"{self.family}: q = {params.q:.3g}, and at q of 1 or less the mean spend has no finite value:"
                " a few customers spend out of all proportion; check monetary_value for outliers"
            )
        in_currency = np.array(params._replace(v=params.v * scale))
        # the density of money is that of scaled money over the scale
        value = best.value - n_known * float(np.log(scale))
        self._learn(in_currency, best.covariance, value, best.prior_used, n_known)
        return self

    def predict_spend(self, summary: pd.DataFrame) -> Floats:
        """Return the expected value of a future purchase, between the customer's own mean and the population's."""
        x, mean_spend = read_columns(summary, ("frequency", "monetary_value"))
        weight, rate = posterior_rate(SpendParams(**self.params_), x, mean_spend)
        return np.asarray(self.params_["p"] * rate / (weight - 1))


def posterior_rate(params: SpendParams, x: Floats, mean_spend: Floats) -> tuple[Floats, Floats]:
    """Return shape and rate of the gamma distribution of a customer's ``nu`` given the history, (n_customers,) each."""
    x = np.where(_informative(x, mean_spend), x, 0.0)
    return params.p * x + params.q, params.v + np.where(x > 0, x * mean_spend, 0.0)


def _informative(x: Floats, mean_spend: Floats) -> npt.NDArray[np.bool_]:
    return (x > 0) & np.isfinite(mean_spend) & (mean_spend > 0)


class GammaGammaLikelihood:
    """Log-likelihood of mean spends ``m`` over ``x`` purchases (Fader & Hardie 2013, equation 1a), derivatives in logs.

    Polygamma functions are taken of the distinct values of ``x`` only.
    """

    def __init__(self, x: Floats, mean_spend: Floats) -> None:
        self._x, x_code = np.unique(x, return_inverse=True)
        self._n_by_x = np.bincount(x_code).astype(np.float64)
        self._rows = (x, x * mean_spend, np.log(x * mean_spend))
        self._log_mean_sum = float(np.log(mean_spend).sum())

    def __call__(self, theta: Floats) -> Evaluation:
        """Evaluate at ``theta``, the logs of (p, q, v)."""
        with np.errstate(over="ignore", invalid="ignore"):  # a step too far is seen by its non-finite value
            params = SpendParams(*np.exp(theta))
            shape, rows = self._shape_part(params), self._rows_part(params)
            value, gradient, hessian = shape[0] + rows[0], shape[1] + rows[1], shape[2] + rows[2]
            scale = np.array(params)
            return value, gradient * scale, hessian * np.outer(scale, scale) + np.diag(gradient * scale)

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

    def _rows_part(self, params: SpendParams) -> Evaluation:
        """``(px-1) ln m + px ln x - (px+q) ln(v + xm)``, written with ``px ln(xm) - ln m``, and derivatives."""
        p, q, v = params
        x, spent, log_spent = self._rows
        total, inverse = np.log(v + spent), 1 / (v + spent)
        weight = p * x + q
        gradient, hessian = np.zeros(3), np.zeros((3, 3))
        value = p * sum_products(x, log_spent) - self._log_mean_sum - sum_products(weight, total)
        gradient[:] = sum_products(x, log_spent - total), -total.sum(), -sum_products(weight, inverse)
        hessian[0, 2] = hessian[2, 0] = -sum_products(x, inverse)
        hessian[1, 2] = hessian[2, 1] = -inverse.sum()
        hessian[2, 2] = sum_products(weight, inverse**2)
        return float(value), gradient, hessian
