"""Which model explains the purchases: BG/NBD, MBG/NBD or Pareto/NBD, by likelihood or as past windows decided."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.matrix import Floats
from models.purchase_model import PurchaseModel, Summary
from models.purchases import BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel
from perennial.errors import ArtefactError, ConvergenceError

_MODELS: dict[str, type[PurchaseModel]] = {
    model.family: model for model in (BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel)
}


@dataclass(frozen=True, slots=True)
class Family:
    """A model of purchases by name, with how many wishes make a purchase (CNBD-k, for regular shoppers)."""

    name: str
    regularity: int = 1

    def fit(self, summary: Summary) -> PurchaseModel:
        """Fit by maximum likelihood."""
        model = _MODELS[self.name]
        return model().fit(summary) if self.regularity == 1 else model(regularity=self.regularity).fit(summary)  # type: ignore[call-arg]

    def __str__(self) -> str:
        return self.name if self.regularity == 1 else f"{self.name}_{self.regularity}"


RANDOM_TIMING = (Family("bg_nbd"), Family("mbg_nbd"), Family("pareto_nbd"))
REGULAR_TIMING = (Family("mbg_nbd", 2), Family("mbg_nbd", 3))
CANDIDATES = RANDOM_TIMING + REGULAR_TIMING


def fit_likeliest(summary: Summary) -> PurchaseModel:
    """Fit whichever of random timing has the highest likelihood: they have as many parameters and the same data."""
    fitted = []
    for family in RANDOM_TIMING:
        try:
            fitted.append(family.fit(summary))
        except ConvergenceError:
            if family is RANDOM_TIMING[-1] and not fitted:
                raise
    return max(fitted, key=lambda model: model.log_likelihood_)


def read_purchases(state: dict[str, Any]) -> PurchaseModel:
    """Restore a fitted model of any family."""
    if state.get("family") not in _MODELS:
        raise ArtefactError(f"purchases: {state.get('family')!r} is no family of models; train the clv model again")
    return _MODELS[state["family"]].from_json(state)


def poisson_deviance(actual: Floats, expected: Floats) -> float:
    """Return the mean Poisson deviance of counts: 0 where all are expected as they come."""
    expected = np.maximum(expected, 1e-9)
    ratio = np.where(actual > 0, actual / expected, 1.0)
    return float(2 * np.mean(actual * np.log(ratio) - actual + expected))
