"""How often customers will buy and whether they still do: BG/NBD and MBG/NBD."""

from typing import ClassVar, Self

import numpy as np
import pandas as pd
from scipy import special

from models.btyd_kernel import (
    GeoLikelihood,
    GeoParams,
    collapse,
    expected_purchases,
    log_no_purchase,
    log_odds_left,
)
from models.likelihood import LikelihoodModel, LogNormalPrior, maximise
from models.matrix import Floats
from models.summary import read_history
from perennial.errors import InsufficientData

_MIN_REPEAT_BUYERS = 10
# Orders of magnitude published for real bases; used to start from and as the weak prior's centre.
_USUAL = GeoParams(r=0.5, alpha=0.5, a=0.8, b=2.5)
_STARTS = (_USUAL, GeoParams(1.0, 1.0, 0.2, 2.0), GeoParams(2.0, 2.0, 0.1, 10.0), GeoParams(0.2, 0.2, 2.0, 5.0))


class GeoModel(LikelihoodModel):
    """What BG/NBD and MBG/NBD share: the same parameters, fitted and read alike.

    A summary has one row per customer with ``frequency`` (repeat purchases), ``recency`` (age at the last purchase) and
    ``T`` (age), in one time unit; horizons are in that unit, days unless said.
    """

    parameter_names = GeoParams._fields
    _shift: ClassVar[int]  # chances to leave that a customer has had before the first repeat purchase

    def fit(self, summary: pd.DataFrame) -> Self:
        """Fit by maximum likelihood."""
        x, t_x, age = read_history(summary)
        repeat = int((x > 0).sum())
        if repeat < _MIN_REPEAT_BUYERS:
            raise InsufficientData(
                f"{self.family}: {repeat} of {len(x)} customers bought again; at least {_MIN_REPEAT_BUYERS} are needed"
            )
        alpha_scale = float(age.sum() / x.sum())
        starts = [np.log(start._replace(alpha=start.alpha * alpha_scale)) for start in _STARTS]
        objective = GeoLikelihood(collapse((x, t_x, age)), self._shift)
        best = maximise(objective, starts, LogNormalPrior(starts[0]), self.family)
        self._learn(np.exp(best.theta), best.covariance, best.value, best.prior_used, len(x))
        return self

    @property
    def geo_params(self) -> GeoParams:
        """The fitted parameters in the kernel's form."""
        return GeoParams(**self.params_)

    def chances(self, x: Floats) -> Floats:
        """Return how many chances to leave a living customer has passed."""
        return x + self._shift

    def predict_alive(self, summary: pd.DataFrame) -> Floats:
        """Return P(alive). BG/NBD says 1 for every one-time buyer: it gives them no chance to leave."""
        x, t_x, age = read_history(summary)
        return self._alive(x, t_x, age)

    def _alive(self, x: Floats, t_x: Floats, age: Floats) -> Floats:
        return np.asarray(special.expit(-log_odds_left(self.geo_params, x, t_x, age, self.chances(x))))

    def predict_purchases(self, summary: pd.DataFrame, *, horizon_days: float, alive: Floats | None = None) -> Floats:
        """Return the expected number of purchases within the horizon; ``alive`` replaces the model's own P(alive)."""
        _check_horizon(horizon_days)
        x, t_x, age = read_history(summary)
        distinct = collapse((x, age))
        x_u, age_u = distinct.columns
        expected = expected_purchases(self.geo_params, x_u, age_u, self.chances(x_u), horizon_days)
        alive = self._alive(x, t_x, age) if alive is None else alive
        return alive * expected[distinct.inverse]

    def predict_no_purchase(self, summary: pd.DataFrame, *, horizon_days: float) -> Floats:
        """Return P(no purchase within the horizon): the models' churn probability."""
        _check_horizon(horizon_days)
        x, t_x, age = read_history(summary)
        return 1 + self._alive(x, t_x, age) * np.expm1(log_no_purchase(self.geo_params, x, age, horizon_days))

    def predict_purchase_distribution(self, summary: pd.DataFrame, *, horizon_days: float, max_count: int) -> Floats:
        """Return P(n purchases within the horizon) for n = 0 … max_count, of shape (n_customers, max_count + 1).

        Given alive, the count is the lesser of a negative binomial number of wishes to buy and the purchase after
        which the customer leaves (beta-geometric).
        """
        _check_horizon(horizon_days)
        x, t_x, age = read_history(summary)
        params, alive = self.geo_params, self._alive(x, t_x, age)
        shape, b_now = params.r + x, params.b + self.chances(x)
        z = horizon_days / (params.alpha + age + horizon_days)
        log_wish = log_no_purchase(params, x, age, horizon_days)
        probability = np.empty((len(x), max_count + 1))
        probability[:, 0] = 1 + alive * np.expm1(log_wish)
        stays = np.ones(len(x))  # probability of staying after each of the n purchases
        with np.errstate(divide="ignore"):  # a horizon of 0: no wish at all
            log_z = np.log(z)
        for n in range(1, max_count + 1):
            log_wish = log_wish + np.log((shape + n - 1) / n) + log_z
            leaves = stays * params.a / (params.a + b_now + n - 1)
            stays = stays - leaves
            probability[:, n] = alive * (np.exp(log_wish) * stays + special.betainc(n, shape, z) * leaves)
        return probability

    def predict_next_purchase(
        self, summary: pd.DataFrame, *, quantile: float = 0.5, alive: Floats | None = None
    ) -> Floats:
        """Return the days from now by which the next purchase comes with probability ``quantile``, 0 < quantile < 1.

        NaN where the customer ever buys again with a lower probability than that. ``alive`` replaces the model's own
        P(alive).
        """
        if not 0 < quantile < 1:
            raise ValueError(f"quantile is {quantile}; it must lie between 0 and 1")
        x, t_x, age = read_history(summary)
        alive = self._alive(x, t_x, age) if alive is None else alive
        likely = alive > quantile
        days = np.full(len(x), np.nan)
        wait = -np.log1p(-quantile / alive[likely]) / (self.params_["r"] + x[likely])
        with np.errstate(over="ignore"):  # a wait beyond any number is inf
            days[likely] = (self.params_["alpha"] + age[likely]) * np.expm1(wait)
        return days


class BetaGeoModel(GeoModel):
    """BG/NBD (Fader, Hardie & Lee 2005): customers may leave after each repeat purchase."""

    family = "bg_nbd"
    _shift = 0


class ModifiedBetaGeoModel(GeoModel):
    """MBG/NBD (Batislam et al. 2007; Hoppe & Wagner 2007): customers may leave after the first purchase too."""

    family = "mbg_nbd"
    _shift = 1


def _check_horizon(horizon_days: float) -> None:
    if not (np.isfinite(horizon_days) and horizon_days >= 0):
        raise ValueError(f"horizon_days is {horizon_days}; it must be finite and at least 0")
