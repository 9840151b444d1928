"""Churn as a purchases model sees it: P(no purchase in the horizon) from frequency, recency and age alone.

Never 1 − P(alive): that is another question, and as a churn score it ranks one-time buyers wrongly.
"""

from collections.abc import Mapping
from itertools import product
from math import factorial
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import logit

from models.matrix import Floats, columns_of
from models.purchases import ModifiedBetaGeoModel

SUMMARY = ("frequency", "recency", "T")
DRIVERS = ("frequency", "days_since_last_order", "T")
BTYD_FEATURES = ("btyd_no_purchase", "btyd_expected_purchases", "btyd_alive")

_LEAST = 1e-9  # keeps the log odds of a certain purchase finite


class SilenceModel:
    """MBG/NBD turned towards churn; ``reference_`` is the median customer its contributions compare with."""

    def __init__(self, horizon_days: int) -> None:
        self.horizon_days = horizon_days

    def fit(self, snapshot: pd.DataFrame) -> Self:
        """Fit on the rows of one cutoff."""
        self.purchases_ = ModifiedBetaGeoModel().fit(_summary(snapshot))
        self.reference_ = dict(zip(DRIVERS, np.median(columns_of(snapshot, DRIVERS), axis=0).tolist(), strict=True))
        return self

    def features(self, snapshot: pd.DataFrame) -> Floats:
        """`BTYD_FEATURES` as columns (n, 3)."""
        summary = _summary(snapshot)
        return np.column_stack(
            [
                self.purchases_.predict_no_purchase(summary, horizon_days=self.horizon_days),
                self.purchases_.predict_purchases(summary, horizon_days=self.horizon_days),
                self.purchases_.predict_alive(summary),
            ]
        )

    def log_odds(self, snapshot: pd.DataFrame, horizon_days: float | None = None) -> Floats:
        """Log odds (n,) of no purchase in the model's own horizon, or in another."""
        return self._log_odds(_summary(snapshot), horizon_days)

    def contributions(self, snapshot: pd.DataFrame, horizon_days: float | None = None) -> Floats:
        """Shapley values (n, 3) of the log odds over `DRIVERS`, from all 2³ mixtures with the reference."""
        own = columns_of(snapshot, DRIVERS)
        reference = np.array([self.reference_[name] for name in DRIVERS])
        worth = {
            chosen: self._log_odds(_history(np.where(np.array(chosen), own, reference)), horizon_days)
            for chosen in product((False, True), repeat=len(DRIVERS))
        }
        shares = np.zeros_like(own)
        for driver in range(len(DRIVERS)):
            for without in (chosen for chosen in worth if not chosen[driver]):
                weight = factorial(sum(without)) * factorial(2 - sum(without)) / factorial(3)
                joined = tuple(flag or number == driver for number, flag in enumerate(without))
                shares[:, driver] += weight * (worth[joined] - worth[without])
        return shares

    def to_json(self) -> dict[str, Any]:
        """Plain values for an artefact."""
        return {
            "horizon_days": self.horizon_days,
            "purchases": self.purchases_.to_json(),
            "reference": self.reference_,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        model = cls(values["horizon_days"])
        model.purchases_ = ModifiedBetaGeoModel.from_json(values["purchases"])
        model.reference_ = dict(values["reference"])
        return model

    def _log_odds(self, summary: pd.DataFrame, horizon_days: float | None = None) -> Floats:
        days = self.horizon_days if horizon_days is None else horizon_days
        return self.to_log_odds(self.purchases_.predict_no_purchase(summary, horizon_days=days))

    @staticmethod
    def to_log_odds(no_purchase: Floats) -> Floats:
        """Log odds (n,) of probabilities, a certain purchase or silence kept finite."""
        return np.asarray(logit(np.clip(no_purchase, _LEAST, 1.0 - _LEAST)), dtype=np.float64)


def _summary(snapshot: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(columns_of(snapshot, SUMMARY), columns=list(SUMMARY))


def _history(drivers: Floats) -> pd.DataFrame:
    """Summaries of customers mixed from two: an age never under the silence, no recency without a repeat purchase."""
    frequency, silence, age = np.floor(drivers).T
    age = np.maximum(age, silence)
    return pd.DataFrame({"frequency": frequency, "recency": np.where(frequency > 0, age - silence, 0.0), "T": age})
