"""What the generated company is made of: its knobs, and tables of facts. Every number is a choice, not an estimate."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Effects = Mapping[str, Mapping[str, float]]

FIRST_DAY = pd.Timestamp("2024-01-01")


@dataclass(frozen=True, slots=True)
class CompanySettings:
    """Knobs of the company beside its size, length and seed; shares and probabilities lie in 0 to 1.

    ``rate_shape, rate_days, dropout_a, dropout_b`` are BG/NBD's r, alpha (days), a, b; ``value_p, value_q, value_v``
    Gamma-Gamma's p, q, v. Customers arrive evenly over the first ``arrival_share`` of the log. ``season`` scales the
    yearly, weekly, Christmas and hourly curves (0: none, 1: as drawn). ``complaint_dropout`` is the probability of
    leaving when a complaint waits longer than a day. ``policy`` says how offers are drawn. The last three shares add
    columns or tables that are otherwise absent.
    """

    rate_shape: float = 2.0
    rate_days: float = 60.0
    dropout_a: float = 1.0
    dropout_b: float = 9.0
    value_p: float = 6.0
    value_q: float = 4.0
    value_v: float = 15.0
    arrival_share: float = 1.0
    covariates: bool = True
    season: float = 1.0
    trend_per_year: float = 0.05
    regular_share: float = 0.1
    complaint_dropout: float = 0.4
    return_share: float = 0.03
    policy: Literal["uniform", "targeted", "none"] = "uniform"
    control_share: float = 0.1
    late_share: float = 0.0
    second_id_share: float = 0.0
    foreign_share: float = 0.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if name.endswith(("_share", "_dropout")) and not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)!r} must lie in 0 to 1")
        if not 0 <= self.season <= 1:
            raise ValueError(f"season = {self.season!r} must lie in 0 to 1")
        if self.policy not in ("uniform", "targeted", "none"):
            raise ValueError(f"policy = {self.policy!r} must be 'uniform', 'targeted' or 'none'")


# Nothing but BG/NBD and Gamma-Gamma: the parameters can be recovered from the orders.
PURE = CompanySettings(
    arrival_share=2 / 3,
    covariates=False,
    season=0.0,
    trend_per_year=0.0,
    regular_share=0.0,
    complaint_dropout=0.0,
    policy="none",
)


def _frozen(table: dict[str, dict[str, float]]) -> Effects:
    return MappingProxyType({name: MappingProxyType(row) for name, row in table.items()})


# How often each value occurs.
SHARES = _frozen(
    {
        "acquisition_channel": {"search": 0.40, "shop": 0.25, "social": 0.20, "friend": 0.15},
        "region": {"north": 0.5, "south": 0.3, "east": 0.2},
        "first_category": {"coffee": 0.35, "tea": 0.25, "filters": 0.10, "mugs": 0.15, "machines": 0.15},
        "need_type": {"rational": 0.45, "emotional": 0.35, "social": 0.20},
    }
)
CATEGORIES = tuple(SHARES["first_category"])
NEED_TYPES = tuple(SHARES["need_type"])

# Covariates as Fader & Hardie 2007 put them into BG/NBD ("Incorporating time-invariant covariates into the Pareto/NBD
# and BG/NBD models"): alpha_i = alpha * exp(-sum of RATE_EFFECTS), a_i = a * exp(sum of DROPOUT_EFFECTS), b_i = b.
RATE_EFFECTS = _frozen(
    {
        "acquisition_channel": {"search": 0.0, "shop": 0.1, "social": -0.3, "friend": 0.3},
        "region": {"north": 0.0, "south": -0.2, "east": 0.2},
        "first_category": {"coffee": 0.0, "tea": -0.1, "filters": 0.1, "mugs": -0.3, "machines": -0.4},
    }
)
DROPOUT_EFFECTS = _frozen(
    {
        "acquisition_channel": {"search": 0.0, "shop": -0.2, "social": 0.5, "friend": -0.6},
        "region": {"north": 0.0, "south": 0.2, "east": 0.0},
        "first_category": {"coffee": 0.0, "tea": 0.0, "filters": 0.1, "mugs": 0.5, "machines": 0.3},
    }
)

OFFER_WAVE_DAYS = 56  # between two offers to one customer
OFFER_GROUPS = 4  # of customers, each with waves of its own, two weeks after the group before
OFFER_EFFECT_DAYS = 28
# Relative effect of an offer on the orders of the 28 days after it, by need type.
OFFER_EFFECTS = _frozen(
    {
        "newsletter": {"rational": 0.0, "emotional": 0.0, "social": 0.0},
        "coupon": {"rational": 1.0, "emotional": 0.1, "social": 0.4},
        "care_message": {"rational": 0.0, "emotional": 0.8, "social": 0.2},
        "referral_invitation": {"rational": -0.1, "emotional": 0.0, "social": 0.3},
        "daily_reminder": {"rational": -0.3, "emotional": -0.5, "social": -0.3},
        "win_back_coupon": {"rational": 0.0, "emotional": -0.1, "social": 0.0},
    }
)
ACTIONS = tuple(OFFER_EFFECTS)
# Probability that an offer makes its receiver leave for good, at once.
DRIVES_AWAY = _frozen({"daily_reminder": {"rational": 0.04, "emotional": 0.10, "social": 0.04}})
# Probability of one extra order in those 28 days from who has been silent for more than AT_RISK_GAPS own mean gaps
# (and AT_RISK_DAYS), gone for good or not; nothing for the others.
WINS_BACK = _frozen({"win_back_coupon": {"rational": 0.25, "emotional": 0.15, "social": 0.15}})
AT_RISK_GAPS, AT_RISK_DAYS = 2.0, 30.0
# Probability that an invitation is followed by a recommendation.
RECOMMENDS = _frozen({"referral_invitation": {"rational": 0.02, "emotional": 0.05, "social": 0.30}})
