"""How often customers will buy and whether they still do: BG/NBD, MBG/NBD and Pareto/NBD."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from models import pareto_kernel, regularity
from models.btyd_kernel import (
    GeoLikelihood,
    GeoParams,
    discounted,
    expected_purchases,
    log_no_purchase,
    log_odds_left,
)
from models.histories import HistoryCounts
from models.lifetimes_fitter import Fitter
from models.likelihood import Optimum
from models.matrix import Floats
from models.pareto_kernel import ParetoLikelihood, ParetoParams
from models.purchase_model import PurchaseModel
from perennial.errors import ArtefactError, InsufficientData

# Orders of magnitude published for real bases; used to start from and as the weak prior's centre.
_USUAL = GeoParams(r=0.5, alpha=0.5, a=0.8, b=2.5)
# The last hardly ever lets anybody leave: no fit may be less likely than the NBD it is next to.
_STARTS = (
    _USUAL,
    GeoParams(1.0, 1.0, 0.2, 2.0),
    GeoParams(2.0, 2.0, 0.1, 10.0),
    GeoParams(0.2, 0.2, 2.0, 5.0),
    GeoParams(0.5, 0.5, 0.01, 1.0),
)
_PARETO_STARTS = (
    ParetoParams(r=0.5, alpha=0.5, s=0.5, beta=0.5),
    ParetoParams(1.0, 1.0, 0.3, 0.3),
    ParetoParams(2.0, 2.0, 1.0, 5.0),
    ParetoParams(0.2, 0.2, 2.0, 10.0),
    ParetoParams(0.5, 0.5, 0.01, 1.0),
)
_MOST_REGULAR = 12  # the grid of Platzer & Reutterer (2016)


class GeoModel(PurchaseModel):
    """What BG/NBD and MBG/NBD share: the same parameters, fitted and read alike.

    Parameters
    ----------
    regularity : int or None
        How many wishes make a purchase: 1 for random timing, more for regular shoppers (CNBD-k); None lets the
        likelihood choose, which needs a summary column ``log_gaps``: the sum of the natural logarithms of a customer's
        times between purchases, each over 0.
    fitter : {"own", "lifetimes"}
        Who maximises the likelihood; lifetimes knows a regularity of 1 alone.

    Attributes
    ----------
    regularity_ : int
        The one fitted with.
    """

    parameter_names = GeoParams._fields
    _shift: ClassVar[int]  # chances to leave that a customer has had before the first repeat purchase

    regularity_: int = 1
    own_params: GeoParams | None = None
    """Parameters that differ by customer, set by `models.covariates`."""

    def __init__(self, *, regularity: int | None = 1, fitter: Fitter = "own") -> None:
        super().__init__(fitter=fitter)
        self.regularity = regularity

    @property
    def geo_params(self) -> GeoParams:
        """The fitted parameters in the kernel's form, or the customers' own."""
        return GeoParams(**self.params_) if self.own_params is None else self.own_params

    def chances(self, x: Floats) -> Floats:
        """Return how many chances to leave a living customer has passed."""
        return x + self._shift

    def _optimum(self, counts: HistoryCounts, first: list[Floats]) -> Optimum:
        if self.regularity is not None:
            if not 1 <= self.regularity <= _MOST_REGULAR or int(self.regularity) != self.regularity:
                raise ValueError(f"regularity is {self.regularity}; a whole number from 1 to {_MOST_REGULAR} is needed")
            if self.fitter == "lifetimes" and self.regularity > 1:
                raise ValueError("lifetimes cannot fit a regularity over 1; take the own fitter")
            self.regularity_ = self.regularity
            return super()._optimum(counts, first)
        if np.isnan(counts.log_gaps):
            raise InsufficientData(
                f"{self.family}: a column log_gaps is needed to choose the regularity; give it or a number"
            )
        return self._most_likely(counts, first)

    def _most_likely(self, counts: HistoryCounts, first: list[Floats]) -> Optimum:
        """Raise the regularity while that gains; keep 1 unless the gain pays for one more parameter (BIC)."""
        self.regularity_ = 1
        best = plain = super()._optimum(counts, first)
        chosen = 1
        for more in range(2, _MOST_REGULAR + 1):
            self.regularity_ = more
            found = super()._optimum(counts, [])
            if found.value <= best.value:
                break
            best, chosen = found, more
        real = best.value - plain.value > np.log(counts.n_customers) / 2
        self.regularity_ = chosen if real else 1
        return best if real else plain

    def _starts(self, counts: HistoryCounts) -> list[Floats]:
        scale = float(counts.n @ counts.age) / float(counts.n @ counts.x) / self.regularity_
        return [np.log(np.array(start) * [1, scale, 1, 1]) for start in _STARTS]

    def _likelihood(self, counts: HistoryCounts) -> GeoLikelihood:
        return GeoLikelihood(counts, self._shift, self.regularity_)

    @property
    def _recency_matters(self) -> bool:  # type: ignore[override]
        return self.regularity_ > 1

    def log_odds_left(self, x: Floats, t_x: Floats, age: Floats) -> Floats:
        """See `PurchaseModel`."""
        return log_odds_left(self.geo_params, x, t_x, age, self.chances(x), self.regularity_)

    def log_none_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float | Floats) -> Floats:
        """See `PurchaseModel`."""
        if self.regularity_ == 1:
            return log_no_purchase(self.geo_params, x, age, horizon)
        return regularity.log_no_purchase(self.geo_params, x, t_x, age, horizon, self.regularity_)

    def log_silent_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float) -> Floats:
        """See `PurchaseModel`."""
        return self.log_none_if_alive(x, t_x, age, horizon)  # nobody leaves but at a purchase

    def purchases_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float | Floats) -> Floats:
        """See `PurchaseModel`."""
        if self.regularity_ == 1:
            return expected_purchases(self.geo_params, x, age, self.chances(x), horizon)
        return regularity.expected_purchases(self.geo_params, x, t_x, age, self.chances(x), horizon, self.regularity_)

    def discounted_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float, rate: float) -> Floats:
        """See `PurchaseModel`."""
        shortest = float(self.geo_params.alpha)
        lived = np.asarray(shortest + age, dtype=np.float64)

        def expected(time: Floats) -> Floats:
            return self.purchases_if_alive(x, t_x, age, time)

        return discounted(expected, lived, horizon, rate, shortest=shortest)

    def _count_probabilities(self, x: Floats, t_x: Floats, age: Floats, horizon: float, max_count: int) -> Floats:
        """The count is the lesser of the wishes that come true and the purchase after which the customer leaves."""
        params, b_now = self.geo_params, self.geo_params.b + self.chances(x)
        exactly, at_least = regularity.count_probabilities(params, x, t_x, age, horizon, self.regularity_, max_count)
        probability = np.empty((len(x), max_count))
        stays = np.ones(len(x))  # probability of staying after each of the n purchases
        for n in range(1, max_count + 1):
            leaves = stays * params.a / (params.a + b_now + n - 1)
            stays = stays * (b_now + n - 1) / (params.a + b_now + n - 1)
            probability[:, n - 1] = exactly[:, n] * stays + at_least[:, n] * leaves
        return probability

    def _waiting_time(self, x: Floats, t_x: Floats, age: Floats, share: Floats) -> Floats:
        r, alpha, *_ = self.geo_params
        if self.regularity_ == 1:
            return np.asarray((alpha + age) * np.expm1(-np.log1p(-share) / (r + x)))
        return regularity.waiting_time(self.geo_params, x, t_x, age, share, self.regularity_)

    def _mean_wait(self, x: Floats, t_x: Floats, age: Floats) -> Floats:
        return regularity.mean_waiting_time(self.geo_params, x, t_x, age, self.regularity_)

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain JSON values."""
        return {**super().to_json(), "regularity": self.regularity_}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Restore a fitted model; ArtefactError when the state is not that of a fitted model of this family."""
        model = super().from_json(state)
        k = state.get("regularity", 1)
        if not (isinstance(k, int) and 1 <= k <= _MOST_REGULAR):
            raise ArtefactError(
                f"{cls.family}: the stored regularity is {k!r}, not that of a fitted model; train it again"
            )
        model.regularity = model.regularity_ = k
        return model


class BetaGeoModel(GeoModel):
    """BG/NBD (Fader, Hardie & Lee 2005): customers may leave after each repeat purchase."""

    family = "bg_nbd"
    _shift = 0


class ModifiedBetaGeoModel(GeoModel):
    """MBG/NBD (Batislam et al. 2007; Hoppe & Wagner 2007): customers may leave after the first purchase too."""

    family = "mbg_nbd"
    _shift = 1


class ParetoNBDModel(PurchaseModel):
    """Pareto/NBD (Schmittlein, Morrison & Colombo 1987): customers may leave at any time."""

    family = "pareto_nbd"
    parameter_names = ParetoParams._fields

    @property
    def pareto_params(self) -> ParetoParams:
        """The fitted parameters in the kernel's form."""
        return ParetoParams(**self.params_)

    def _starts(self, counts: HistoryCounts) -> list[Floats]:
        scale = float(counts.n @ counts.age) / float(counts.n @ counts.x)
        return [np.log(start._replace(alpha=start.alpha * scale, beta=start.beta * scale)) for start in _PARETO_STARTS]

    def _likelihood(self, counts: HistoryCounts) -> ParetoLikelihood:
        return ParetoLikelihood(counts)

    def log_odds_left(self, x: Floats, t_x: Floats, age: Floats) -> Floats:
        """See `PurchaseModel`."""
        with np.errstate(divide="ignore"):  # bought today: certainly still there
            return pareto_kernel.log_odds_left(self.pareto_params, x, t_x, age)

    def log_none_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float | Floats) -> Floats:
        """See `PurchaseModel`."""
        return pareto_kernel.log_no_purchase(self.pareto_params, x, age, horizon)

    def log_silent_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float) -> Floats:
        """See `PurchaseModel`."""
        return pareto_kernel.log_silent(self.pareto_params, x, age, horizon)

    def purchases_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float) -> Floats:
        """See `PurchaseModel`."""
        return pareto_kernel.expected_purchases(self.pareto_params, x, age, horizon)

    def discounted_if_alive(self, x: Floats, t_x: Floats, age: Floats, horizon: float, rate: float) -> Floats:
        """See `PurchaseModel`."""
        return pareto_kernel.discounted_purchases(self.pareto_params, x, age, horizon, rate)

    def _count_probabilities(self, x: Floats, t_x: Floats, age: Floats, horizon: float, max_count: int) -> Floats:
        if horizon == 0:
            return np.zeros((len(x), max_count))
        counts = range(1, max_count + 1)
        return np.stack(
            [pareto_kernel.count_probability(self.pareto_params, x, age, horizon, n) for n in counts], axis=1
        )

    def _waiting_time(self, x: Floats, t_x: Floats, age: Floats, share: Floats) -> Floats:
        return pareto_kernel.waiting_time(self.pareto_params, x, age, share)

    def _mean_wait(self, x: Floats, t_x: Floats, age: Floats) -> Floats:
        return pareto_kernel.mean_waiting_time(self.pareto_params, x, age)
