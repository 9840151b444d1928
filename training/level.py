"""Is a probability right on average? What was predicted of a part of the customers, what came, what chance allows."""

from dataclasses import asdict, dataclass
from typing import Any

from scipy.stats import binom

LEAST_CUSTOMERS = 100  # fewer are not judged alone
CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Customers of whom ``predicted`` were expected to leave on average, and ``observed`` did, both in 0 to 1.

    ``low`` and ``high`` bound the share that leaves with 99 % probability if ``predicted`` is right (binomial).
    """

    customers: int
    predicted: float
    observed: float

    @property
    def low(self) -> float:
        """The least share that chance allows."""
        return float(self._bounds[0]) / self.customers

    @property
    def high(self) -> float:
        """The greatest share that chance allows."""
        return float(self._bounds[1]) / self.customers

    @property
    def _bounds(self) -> tuple[float, float]:
        low, high = binom.interval(CONFIDENCE, self.customers, self.predicted)
        return float(low), float(high)

    @property
    def holds(self) -> bool:
        """Whether what came can be chance alone."""
        return self.low <= self.observed <= self.high

    def to_json(self) -> dict[str, Any]:
        """Return every figure, and what follows from them."""
        return asdict(self) | {"low": self.low, "high": self.high, "holds": self.holds}
