"""The simple rules every model has to beat: what a spreadsheet would do with the same rows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.isotonic import IsotonicRegression

Floats = npt.NDArray[np.float64]

RECENCY_RULE = "the recency rule"
AVERAGE_RULE = "the customer's own average"


@dataclass(frozen=True, slots=True)
class RecencyRule:
    """Who has been silent longer is likelier to be gone; as a probability, the share gone after equal silence."""

    days: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def fit(cls, rows: pd.DataFrame) -> "RecencyRule":
        """Learn the shares from labelled rows (monotone: isotonic regression)."""
        curve = IsotonicRegression(y_min=0.0, y_max=1.0).fit(rows["days_since_last_order"], rows["churned"])
        return cls(tuple(map(float, curve.X_thresholds_)), tuple(map(float, curve.y_thresholds_)))

    def predict_proba(self, rows: pd.DataFrame, windows: float = 1.0) -> Floats:
        """Churn probability (n_rows,) over so many of the windows it learned from, each survived silent alike."""
        return np.asarray(np.interp(recency_score(rows), self.days, self.shares) ** windows)


def recency_score(rows: pd.DataFrame) -> Floats:
    """Return the rule as a score (n_rows,): days since the last order."""
    return rows["days_since_last_order"].to_numpy(dtype=np.float64)


def average_orders(rows: pd.DataFrame, horizon_days: int) -> Floats:
    """Return each customer's own rate of repeat occasions so far, times the horizon (n_rows,)."""
    return rows["frequency"].to_numpy(dtype=np.float64) / _age_days(rows, horizon_days) * horizon_days


def average_spend(rows: pd.DataFrame, horizon_days: int) -> Floats:
    """Return each customer's own net spend per day so far, times the horizon (n_rows,)."""
    return rows["spend_total"].to_numpy(dtype=np.float64) / _age_days(rows, horizon_days) * horizon_days


def _age_days(rows: pd.DataFrame, horizon_days: int) -> Floats:
    """At least the horizon: two purchases in a customer's first two days are no rate of one a day for months."""
    age_days: Floats = np.maximum(rows["T"].to_numpy(dtype=np.float64), horizon_days)
    return age_days
