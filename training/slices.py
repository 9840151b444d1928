"""Does the probability hold for every kind of customer? Predicted against what came, within what chance allows."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd
from scipy.stats import binom

SLICES = ("value_tier", "lifecycle_stage")
SLICE_LEAST_CUSTOMERS = 100
SLICE_CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True)
class Slice:
    """Customers of one value tier and lifecycle stage.

    ``low`` and ``high`` bound the share that leaves with 99 % probability if ``predicted`` is right (binomial).
    """

    value_tier: str
    lifecycle_stage: str
    customers: int
    predicted: float
    observed: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether what came can be chance alone."""
        return self.low <= self.observed <= self.high


def slices_of(rows: pd.DataFrame) -> tuple[Slice, ...]:
    """Compare ``churn_probability`` with ``churned`` in every kind of at least `SLICE_LEAST_CUSTOMERS` customers.

    ``rows`` has one row per customer, with the columns `SLICES`.
    """
    groups = rows.groupby(list(SLICES)).agg(
        customers=("churned", "size"), predicted=("churn_probability", "mean"), observed=("churned", "mean")
    )
    large = groups[groups["customers"] >= SLICE_LEAST_CUSTOMERS].reset_index()
    low, high = binom.interval(SLICE_CONFIDENCE, large["customers"], large["predicted"])
    bounds = large.assign(low=low / large["customers"], high=high / large["customers"])
    return tuple(Slice(**{str(name): value for name, value in row.items()}) for row in bounds.to_dict("records"))


def slices_to_json(slices: Sequence[Slice]) -> bytes:
    """Return every figure as a readable file."""
    body = [asdict(found) | {"holds": found.holds} for found in slices]
    return json.dumps(body, indent=2, allow_nan=False).encode() + b"\n"


def spoken_slices(slices: Sequence[Slice]) -> tuple[str, ...]:
    """Say of how many kinds of customers the probability holds, and of which it does not; nothing where none is."""
    if not slices:
        return ()
    off = [
        f"{found.value_tier.replace('_', ' ')}, {found.lifecycle_stage.replace('_', ' ')} (predicted "
        f"{found.predicted:.1%}, left {found.observed:.1%}, chance allows {found.low:.1%} to {found.high:.1%})"
        for found in slices
        if not found.holds
    ]
    held = f"the probability holds in {len(slices) - len(off)} of {len(slices)} kinds of customers by value and stage"
    return (f"{held}, not in {'; '.join(off)}" if off else held,)
