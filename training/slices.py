"""Does the probability hold for every kind of customer? Predicted against what came, within what chance allows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from training.level import LEAST_CUSTOMERS, Level

SLICES = ("value_tier", "lifecycle_stage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Level):
    """Customers of one value tier and lifecycle stage."""

    value_tier: str
    lifecycle_stage: str


def slices_of(rows: pd.DataFrame) -> tuple[Slice, ...]:
    """Compare ``churn_probability`` with ``churned`` in every kind of at least `LEAST_CUSTOMERS` customers.

    ``rows`` has one row per customer, with the columns `SLICES`.
    """
    groups = rows.groupby(list(SLICES)).agg(
        customers=("churned", "size"), predicted=("churn_probability", "mean"), observed=("churned", "mean")
    )
    large = groups[groups["customers"] >= LEAST_CUSTOMERS].reset_index()
    return tuple(Slice(**{str(name): value for name, value in row.items()}) for row in large.to_dict("records"))


def slices_to_json(slices: Sequence[Slice]) -> bytes:
    """Return every figure as a readable file."""
    body = [found.to_json() for found in slices]
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
