"""What every model of purchases answers, whatever its family: from what holds for a customer who is still alive."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np
import pandas as pd
from scipy import special

from models.histories import HistoryCounts, PurchaseHistories
from models.lifetimes_fitter import Fitter, fit_with_lifetimes
from models.likelihood import CountedLikelihood, LikelihoodModel, LogNormalPrior, Optimum, evaluated_at, maximise
from models.matrix import Floats
from models.posterior import Posterior, sample_posterior
from perennial.errors import InsufficientData

Living = Callable[..., Floats]
Summary = pd.DataFrame | PurchaseHistories
"""Columns frequency, recency, T, one row per customer, in one time unit."""

_MIN_REPEAT_BUYERS = 10
_SAMPLE = 20_000  # customers on whom the starts are tried


class PurchaseModel(LikelihoodModel):
    """Common to all families: how they are fitted and what they predict.

    Summaries have one row per customer with ``frequency`` (repeat purchases), ``recency`` (age at the last purchase)
    and ``T`` (age), in one time unit; horizons are in that unit, days unless said. A customer without history
    (frequency and T are 0) gets what holds for the population. All predictions are (n_customers,) unless said.
    """

    def __init__(self, *, fitter: Fitter = "own") -> None:
        self.fitter = fitter

    def fit(self, summary: Summary | HistoryCounts) -> Self:
        """Fit by maximum likelihood."""
        return self._fit(summary, [])

    def refit(self, summary: Summary | HistoryCounts) -> Self:
        """Fit again on changed histories, starting from where the last fit ended."""
        return self._fit(summary, [np.log(list(self.params_.values()))])

    def _fit(self, summary: Summary | HistoryCounts, first: list[Floats]) -> Self:
        counts = _counts(summary)
        repeat = int(counts.n[counts.x > 0].sum())
        if repeat < _MIN_REPEAT_BUYERS:
            raise InsufficientData(
                f"{self.family}: {repeat} of {counts.n_customers} customers bought again;"
                f" at least {_MIN_REPEAT_BUYERS} are needed"
            )
        best = self._optimum(counts, first)
        self._learn(np.exp(best.theta), best.covariance, best.value, best.prior_used, counts.n_customers)
        return self

    def _optimum(self, counts: HistoryCounts, first: list[Floats]) -> Optimum:
        likelihood, starts = self._likelihood(counts), self._starts(counts)
        if self.fitter == "lifetimes":
            return evaluated_at(np.log(fit_with_lifetimes(self.family, counts)), likelihood, "lifetimes")
        large = len(counts.n) > _SAMPLE and not first
        return maximise(
            likelihood,
            [*first, *starts],
            LogNormalPrior(starts[0]),
            self.family,
            sample=self._likelihood(counts.thinned(_SAMPLE)) if large else None,
            agreeing=1 if first else 2,
        )

    def sample_posterior(
        self,
        summary: Summary | HistoryCounts,
        *,
        prior: LogNormalPrior | None = None,
        effective: int = 1000,
        seed: int = 7,
    ) -> Posterior:
        """Return draws of the parameters given the histories fitted on, worth ``effective`` independent ones.

        ``prior`` is one of the log parameters, the fit's own weak one unless given.
        """
        counts = _counts(summary)
        prior = LogNormalPrior(self._starts(counts)[0]) if prior is None else prior
        start = np.log(list(self.params_.values()))
        likelihood = self._likelihood(counts)
        return sample_posterior(self.parameter_names, likelihood, start, prior, effective=effective, seed=seed)

    def predict_alive(self, summary: Summary) -> Floats:
        """Return P(alive). BG/NBD says 1 for every one-time buyer: it gives them no chance to leave."""
        return _histories(summary).each_quickly(lambda *history: special.expit(-self.log_odds_left(*history)))

    def predict_purchases(self, summary: Summary, *, horizon_days: float, alive: Floats | None = None) -> Floats:
        """Return the expected number of purchases within the horizon; ``alive`` replaces the model's own P(alive)."""
        _check_horizon(horizon_days)
        return self._weighted(summary, lambda x, t_x, age: self.purchases_if_alive(x, t_x, age, horizon_days), alive)

    def predict_discounted_purchases(
        self, summary: Summary, *, rate_per_day: float, horizon_days: float = np.inf, alive: Floats | None = None
    ) -> Floats:
        """Return expected purchases within the horizon, each worth ``exp(-rate_per_day t)`` at t days from now.

        Over all time (the default) these are the discounted expected residual transactions (DERT) of Fader, Hardie &
        Lee (2005, "RFM and CLV"); the rate must then be over 0.
        """
        if not (rate_per_day >= 0 and np.isfinite(rate_per_day)) or (rate_per_day == 0 and np.isinf(horizon_days)):
            raise ValueError(
                f"rate_per_day is {rate_per_day}; it must be finite and over 0, or 0 with a finite horizon"
            )
        if not horizon_days >= 0:
            raise ValueError(f"horizon_days is {horizon_days}; it must be at least 0")
        return self._weighted(
            summary, lambda x, t_x, age: self.discounted_if_alive(x, t_x, age, horizon_days, rate_per_day), alive
        )

    def predict_no_purchase(self, summary: Summary, *, horizon_days: float) -> Floats:
        """Return P(no purchase within the horizon): the models' churn probability."""
        _check_horizon(horizon_days)

        def none(x: Floats, t_x: Floats, age: Floats, log_none: Floats) -> Floats:
            odds = self.log_odds_left(x, t_x, age)
            return np.asarray(special.expit(odds) + special.expit(-odds) * np.exp(log_none))

        return self._each(summary, none, lambda x, t_x, age: self.log_none_if_alive(x, t_x, age, horizon_days))

    def predict_purchase_distribution(self, summary: Summary, *, horizon_days: float, max_count: int) -> Floats:
        """Return P(n purchases within the horizon) for n = 0 … max_count, of shape (n_customers, max_count + 1)."""
        _check_horizon(horizon_days)
        rows = _histories(summary).distinct
        x, t_x, age = rows.columns
        probability = np.empty((len(x), max_count + 1))
        alive = special.expit(-self.log_odds_left(x, t_x, age))
        probability[:, 0] = 1 - alive + alive * np.exp(self.log_none_if_alive(x, t_x, age, horizon_days))
        if max_count:
            probability[:, 1:] = alive[:, None] * self._count_probabilities(x, t_x, age, horizon_days, max_count)
        return np.asarray(probability[rows.inverse])

    def predict_next_purchase(self, summary: Summary, *, quantile: float = 0.5, alive: Floats | None = None) -> Floats:
        """Return the days from now by which the next purchase comes with probability ``quantile``, 0 < quantile < 1.

        NaN where the customer ever buys again with a lower probability than that. ``alive`` replaces the model's own
        P(alive).
        """
        if not 0 < quantile < 1:
            raise ValueError(f"quantile is {quantile}; it must lie between 0 and 1")
        histories = _histories(summary)
        alive = self.predict_alive(histories) if alive is None else alive
        x, t_x, age = (column.astype(np.float64) for column in (histories.x, histories.t_x, histories.age))
        likely = alive > quantile
        share = np.divide(quantile, alive, out=np.full(len(x), 0.5), where=likely)
        with np.errstate(over="ignore"):  # a wait beyond any number is inf
            return np.where(likely, self._waiting_time(x, t_x, age, share), np.nan)

    def predict_mean_wait(self, summary: Summary) -> Floats:
        """Return the expected days to the next purchase of a customer who buys again, inf where the mean has no end."""
        return _histories(summary).each(self._mean_wait)

    def _weighted(self, summary: Summary, living: Living, alive: Floats | None) -> Floats:
        """Return P(alive) times what holds for a living customer."""
        if alive is not None:
            return alive * self._each(summary, lambda x, t_x, age, value: value, living)

        def weighted(x: Floats, t_x: Floats, age: Floats, value: Floats) -> Floats:
            return np.asarray(special.expit(-self.log_odds_left(x, t_x, age)) * value)

        return self._each(summary, weighted, living)

    def _each(self, summary: Summary, formula: Living, living: Living) -> Floats:
        histories = _histories(summary)
        if self._recency_matters:
            return histories.each(lambda *history: formula(*history, living(*history)))
        return histories.each(formula, lambda x, age: living(x, age, age))

    _recency_matters = False
    """Whether what holds for a living customer depends on ``t_x`` too."""

    @abstractmethod
    def _starts(self, counts: HistoryCounts) -> list[Floats]:
        """Return log parameters to start from; the first are the centre of the weak prior."""

    @abstractmethod
    def _likelihood(self, counts: HistoryCounts) -> CountedLikelihood:
        """Return the log-likelihood of the counted histories."""

    @abstractmethod
    def log_odds_left(self, x: Floats, t_x: Floats, age: Floats) -> Floats:
        """Return the log odds of having left."""

    @abstractmethod
    def log_none_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float | Floats) -> Floats:
        """Return ``ln P(no purchase in the horizon | alive)``."""

    @abstractmethod
    def log_silent_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float) -> Floats:
        """Return ``ln P(no purchase in the horizon, and still there after it | alive)``."""

    @abstractmethod
    def purchases_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float) -> Floats:
        """Return E[purchases in the horizon | alive]."""

    @abstractmethod
    def discounted_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float, rate: float) -> Floats:
        """Return E[discounted purchases in the horizon | alive]."""

    @abstractmethod
    def _count_probabilities(self, x: Floats, t_x: Floats, age: Floats, horizon: float, max_count: int) -> Floats:
        """Return P(n purchases in the horizon | alive) for n = 1 … max_count, (n, max_count)."""

    @abstractmethod
    def _waiting_time(self, x: Floats, t_x: Floats, age: Floats, share: Floats) -> Floats:
        """Return the time by which a purchase has come with probability ``share`` given alive, NaN where never."""

    @abstractmethod
    def _mean_wait(self, x: Floats, t_x: Floats, age: Floats) -> Floats:
        """Return E[time to the next purchase | there is one]."""


def _counts(summary: Summary | HistoryCounts) -> HistoryCounts:
    if isinstance(summary, HistoryCounts):
        return summary
    return summary.counts if isinstance(summary, PurchaseHistories) else HistoryCounts.of(summary)


def _histories(summary: Summary) -> PurchaseHistories:
    return summary if isinstance(summary, PurchaseHistories) else PurchaseHistories(summary)


def _check_horizon(horizon_days: float) -> None:
    if not (np.isfinite(horizon_days) and horizon_days >= 0):
        raise ValueError(f"horizon_days is {horizon_days}; it must be finite and at least 0")
