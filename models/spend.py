"""What customers spend per purchase: Gamma-Gamma."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.likelihood import LikelihoodModel, LogNormalPrior, Optimum, maximise
from models.matrix import Floats
from models.posterior import Posterior, sample_posterior
from models.spend_kernel import GammaGammaLikelihood, SpendParams
from models.summary import read_columns
from perennial.errors import ArtefactError, ConvergenceError, InsufficientData

_MIN_SPENDERS = 10
_SAME = 1e-6  # spends that vary less than this share of their mean are one price, rounded
_SAMPLE = 20_000  # customers on whom the starts are tried
_CORRELATED_ON = 100_000  # customers on whom dependence is measured: its interval is then ± .006
_MATERIAL = 0.1
_STEPS = 50
_NORMAL_95 = 1.96
_NORMAL_MAD = 1.4826  # median absolute deviation to standard deviation, of a normal

# Orders of magnitude of published fits, with mean spend 1: used to start from and as the weak prior's centre.
_STARTS = (SpendParams(5.0, 4.0, 0.6), SpendParams(1.0, 2.0, 1.0), SpendParams(2.0, 10.0, 4.5))


class Correlation(NamedTuple):
    """A correlation between -1 and 1 with its 95 % interval."""

    value: float
    low: float
    high: float


class GammaGammaModel(LikelihoodModel):
    """Gamma-Gamma (Fader & Hardie 2013): a purchase is ``Gamma(p, nu)``, a customer's rate ``nu ~ Gamma(q, v)``.

    A summary has ``frequency`` (repeat purchases) and ``monetary_value`` (their mean value, net of returns); rows where
    either is not over 0 say nothing about spend: they are left out of the fit and predicted the population mean
    ``p v / (q - 1)``.

    The model holds spend and frequency for independent; how far that is true is measured.

    Parameters
    ----------
    given_frequency : bool or None
        Whether spend is modelled given frequency: ``v`` becomes ``v exp(slope (ln(1 + x) - centre))``. None does so
        where it is material: where one standard deviation of ln(1 + x) changes spend by more than 10 % for certain (95
        % interval).
    winsorise_at : float or None
        Mean spends further than so many robust standard deviations (1.4826 median absolute deviations of their
        logarithms) from the median count as if they lay there; None leaves them. Only the fit is concerned: whoever
        spends that much is predicted by their own spend.

    Attributes
    ----------
    frequency_correlation_ : Correlation
    frequency_slope_ : float
        0 where spend is not modelled given frequency.
    n_winsorised_ : int
    """

    family = "gamma_gamma"
    parameter_names = SpendParams._fields

    frequency_correlation_: Correlation
    frequency_slope_: float
    n_winsorised_: int
    _centre: float

    def __init__(self, *, given_frequency: bool | None = False, winsorise_at: float | None = None) -> None:
        self.given_frequency = given_frequency
        self.winsorise_at = winsorise_at

    def fit(self, summary: pd.DataFrame) -> Self:
        """Fit by maximum likelihood; ConvergenceError when spend is so heavy-tailed that its mean is infinite."""
        x, mean_spend, scale = self._spenders(summary)
        self._measure_dependence(x, mean_spend)
        best = _fitted(x, mean_spend / self.frequency_factor(x))
        params = SpendParams(*np.exp(best.theta))
        if params.q <= 1:
            raise ConvergenceError(
                f"{self.family}: q = {params.q:.3g}, and at q of 1 or less the mean spend has no finite value:"
                " a few customers spend out of all proportion; check monetary_value for outliers, or give winsorise_at"
            )
        in_currency = np.array(params._replace(v=params.v * scale))
        # the density of money is that of scaled money over the scale
        value = best.value - len(x) * float(np.log(scale)) - float(np.log(self.frequency_factor(x)).sum())
        self._learn(in_currency, best.covariance, value, best.prior_used, len(x))
        return self

    def _measure_dependence(self, x: Floats, mean_spend: Floats) -> None:
        step = max(1, len(x) // _CORRELATED_ON)
        x, mean_spend = x[::step], mean_spend[::step]
        self.frequency_correlation_ = _correlation(x, mean_spend)
        self.frequency_slope_, self._centre = 0.0, float(np.log1p(x).mean())
        if self.given_frequency is not False:
            slope, error = _elasticity(x, mean_spend)
            surely = (abs(slope) - _NORMAL_95 * error) * float(np.log1p(x).std())
            self.frequency_slope_ = slope if self.given_frequency or surely > _MATERIAL else 0.0

    def _spenders(self, summary: pd.DataFrame) -> tuple[Floats, Floats, float]:
        """Return frequency and mean spend of whoever has both, in units of the third: the mean of all."""
        x, mean_spend = read_columns(summary, ("frequency", "monetary_value"))
        known = _informative(x, mean_spend)
        n_known = int(known.sum())
        if n_known < _MIN_SPENDERS:
            raise InsufficientData(
                f"{self.family}: {n_known} of {len(x)} customers have repeat purchases with a value over 0;"
                f" at least {_MIN_SPENDERS} are needed"
            )
        x, mean_spend = x[known], mean_spend[known]
        mean_spend, self.n_winsorised_ = _winsorised(mean_spend, self.winsorise_at)
        scale = float(mean_spend.mean())
        if mean_spend.std() <= _SAME * scale:
            raise InsufficientData(
                f"{self.family}: every customer spends about {scale:g} a purchase, so there is nothing to learn about"
                " who spends more; check monetary_value, or multiply expected purchases by the price"
            )
        return x, mean_spend / scale, scale

    def frequency_factor(self, x: Floats) -> Floats:
        """Return what purchases of customers of that frequency cost, relative to the population's: 1 if independent."""
        return np.exp(self.frequency_slope_ * (np.log1p(x) - self._centre))

    def predict_spend(self, summary: pd.DataFrame) -> Floats:
        """Return the expected value of a future purchase, between the customer's own mean and the population's."""
        x, mean_spend = read_columns(summary, ("frequency", "monetary_value"))
        factor = self.frequency_factor(x)
        weight, rate = posterior_rate(SpendParams(**self.params_), x, mean_spend / factor)
        return np.asarray(factor * self.params_["p"] * rate / (weight - 1))

    def sample_posterior(self, summary: pd.DataFrame, *, effective: int = 1000, seed: int = 7) -> Posterior:
        """Return draws of (p, q, v) given the summary fitted on, worth ``effective`` independent ones."""
        x, mean_spend, scale = self._spenders(summary)
        likelihood = GammaGammaLikelihood(x, mean_spend / self.frequency_factor(x))
        unit = np.array([1.0, 1.0, scale])
        start = np.log(np.array(list(self.params_.values())) / unit)
        prior = LogNormalPrior(np.log(_STARTS[0]))
        drawn = sample_posterior(self.parameter_names, likelihood, start, prior, effective=effective, seed=seed)
        return Posterior(drawn.names, drawn.draws * unit, drawn.weights)

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain JSON values."""
        spoken = {"frequency_correlation": list(self.frequency_correlation_), "n_winsorised": self.n_winsorised_}
        return {**super().to_json(), "frequency_slope": self.frequency_slope_, "centre": self._centre, **spoken}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Restore a fitted model; ArtefactError when the state is not that of a fitted model of this family."""
        model = super().from_json(state)
        try:
            model.frequency_slope_, model._centre = float(state["frequency_slope"]), float(state["centre"])
            model.frequency_correlation_ = Correlation(*map(float, state["frequency_correlation"]))
            model.n_winsorised_ = int(state["n_winsorised"])
        except (KeyError, TypeError, ValueError):
            raise ArtefactError(
                f"{cls.family}: the stored state is not that of a fitted model; train it again"
            ) from None
        return model


def posterior_rate(params: SpendParams, x: Floats, mean_spend: Floats) -> tuple[Floats, Floats]:
    """Return shape and rate of the gamma distribution of a customer's ``nu`` given the history, (n_customers,) each."""
    x = np.where(_informative(x, mean_spend), x, 0.0)
    return params.p * x + params.q, params.v + np.where(x > 0, x * mean_spend, 0.0)


def _informative(x: Floats, mean_spend: Floats) -> npt.NDArray[np.bool_]:
    return (x > 0) & np.isfinite(mean_spend) & (mean_spend > 0)


def _winsorised(mean_spend: Floats, at: float | None) -> tuple[Floats, int]:
    """Return the spends with those too far out brought to the bounds, and how many those were."""
    if at is None:
        return mean_spend, 0
    logs = np.log(mean_spend)
    middle = float(np.median(logs))
    spread = _NORMAL_MAD * float(np.median(np.abs(logs - middle)))
    if spread == 0:  # most spend the very same: nothing says what is far out
        return mean_spend, 0
    bounded = np.clip(logs, middle - at * spread, middle + at * spread)
    return np.exp(bounded), int((bounded != logs).sum())


def _fitted(x: Floats, mean_spend: Floats) -> Optimum:
    step = max(1, len(x) // _SAMPLE)
    starts = [np.log(start) for start in _STARTS]
    sample = GammaGammaLikelihood(x[::step], mean_spend[::step]) if step > 1 else None
    likelihood = GammaGammaLikelihood(x, mean_spend)
    return maximise(likelihood, starts, LogNormalPrior(starts[0]), GammaGammaModel.family, sample=sample)


def _correlation(x: Floats, mean_spend: Floats) -> Correlation:
    """Correlate ln(1 + x) with spend: 0 under independence, whatever the shapes; the interval bears unequal spread."""
    away, gap = np.log1p(x) - np.log1p(x).mean(), mean_spend - mean_spend.mean()
    spread = away.std() * gap.std()
    if spread == 0:
        return Correlation(0.0, 0.0, 0.0)
    products = away * gap / spread
    value, error = float(products.mean()), float(products.std() / np.sqrt(len(x)))
    return Correlation(value, max(value - _NORMAL_95 * error, -1.0), min(value + _NORMAL_95 * error, 1.0))


def _elasticity(x: Floats, mean_spend: Floats) -> tuple[float, float]:
    """Return the slope of ln E[mean spend] in ln(1 + x) and its standard error, by Poisson's quasi-likelihood.

    It asks for the mean alone, so that a Gamma-Gamma of the wrong shape cannot feign a dependence.
    """
    away = np.log1p(x) - np.log1p(x).mean()
    design = np.stack([np.ones(len(x)), away])
    if away.std() == 0:
        return 0.0, np.inf
    level, slope = float(np.log(mean_spend.mean())), 0.0
    for _ in range(_STEPS):
        fitted = np.exp(level + slope * away)
        bread = np.linalg.inv((design * fitted) @ design.T)
        step = bread @ (design @ (mean_spend - fitted))
        level, slope = level + float(step[0]), slope + float(step[1])
        if abs(step).max() < 1e-10:
            break
    scores = design * (mean_spend - np.exp(level + slope * away))
    return slope, float(np.sqrt((bread @ scores @ scores.T @ bread)[1, 1]))
