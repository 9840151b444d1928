"""What an offer to stay earns: the costs of making it, who is worth contacting, and from which churn probability."""

from dataclasses import dataclass

import numpy as np

from models.matrix import Floats
from perennial.errors import PerennialError


@dataclass(frozen=True, slots=True)
class RetentionOffer:
    """Costs of a retention offer and how readily churners accept it.

    Defaults are those of Verbraken et al. (2013); amounts are in the currency of the CLV. ``acceptance`` holds the
    parameters of the Beta distribution, so that 30 % accept on average.
    """

    contact_cost: float = 1.0
    incentive_cost: float = 10.0
    acceptance: tuple[float, float] = (6.0, 14.0)

    def __post_init__(self) -> None:
        for name in ("contact_cost", "incentive_cost"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise PerennialError(f"the {name.replace('_', ' ')} is {value}; it must be an amount of at least 0")

    @property
    def accepted_share(self) -> float:
        """Mean of the acceptance."""
        alpha, beta = self.acceptance
        return alpha / (alpha + beta)

    def expected_profit(self, churn_probability: Floats, clv: Floats | float) -> Floats:
        """Return what contacting each customer earns on average (n,), in the currency of the CLV."""
        kept = churn_probability * self.accepted_share * (clv - self.incentive_cost)
        return np.asarray(kept - (1 - churn_probability) * self.incentive_cost - self.contact_cost)

    def threshold(self, clv: Floats | float) -> Floats:
        """Return the churn probability from which contacting pays, infinite where it never does."""
        gain = self.accepted_share * (clv - self.incentive_cost) + self.incentive_cost
        with np.errstate(divide="ignore"):
            least = (self.contact_cost + self.incentive_cost) / np.maximum(gain, 0.0)
        return np.asarray(np.where(least <= 1, least, np.inf))
