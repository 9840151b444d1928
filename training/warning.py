"""How early the warning comes and how often it is right, at what a staff can call.

A customer is overdue once silent for longer than the own longest usual gap (90 % of the own gaps are no longer). The
warning is given before that. It was right about overdue when that day came, within the horizon, without an order; and
about leaving when no order came in the whole horizon.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.early_warning import warned_of
from training.metrics import Floats, Interval, evaluate

CAPACITIES = (0.01, 0.05, 0.10)  # of all customers
ORDERS = ("money_at_risk", "churn_probability")
LEAD_QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Warned:
    """A list of customers at every origin, ``ordered_by`` and cut at ``capacity`` (share of all customers).

    ``overdue`` and ``left`` are the shares of the list of which the warning came true, ``overdue_anyway`` and
    ``left_anyway`` those of all customers who keep their rhythm; ``lead_days`` how many days before the day they
    became overdue (10 %, median, 90 %), ``caught`` the share of all who left from within their rhythm.
    """

    ordered_by: str
    capacity: float
    customers: int
    overdue: Interval
    left: Interval
    overdue_anyway: float
    left_anyway: float
    caught: float
    lead_days: tuple[float, float, float]


def lead_times(ours: pd.DataFrame, standing: pd.DataFrame, horizon_days: int, seed: int) -> tuple[Warned, ...]:
    """Judge the warnings given at every origin; ``standing`` says how customers stood there and when they returned."""
    rows = ours.merge(standing, on=["origin", "customer_id"])
    rows["money_at_risk"] = rows["churn_probability"] * rows["staying_value"]
    rows["warned"] = warned_of(rows["churn_probability"].to_numpy(), rows["lifecycle_stage"])
    returned = rows["return_days"].fillna(np.inf)
    rows["overdue"] = (rows["overdue_in_days"] <= horizon_days) & (returned >= rows["overdue_in_days"])
    in_rhythm = rows[rows["overdue_in_days"] > 0]
    return tuple(_judged(rows, in_rhythm, order, capacity, seed) for order in ORDERS for capacity in CAPACITIES)


def overdue_in_days(long_gap_days: Floats, days_since_last_order: Floats) -> Floats:
    """Return on how many days from now each customer (n,) is overdue unless an order comes; 0 who is already."""
    return np.asarray(np.maximum(np.floor(long_gap_days - days_since_last_order) + 1, 0.0))


def _judged(rows: pd.DataFrame, in_rhythm: pd.DataFrame, order: str, capacity: float, seed: int) -> Warned:
    rank = rows[rows["warned"]].groupby("origin")[order].rank(ascending=False, method="first")
    room = np.ceil(capacity * rows.groupby("origin")["customer_id"].transform("size"))
    listed = rows.loc[rank.index[rank <= room.loc[rank.index]]]
    lead = listed.loc[listed["overdue"], "overdue_in_days"]
    return Warned(
        ordered_by=order,
        capacity=capacity,
        customers=len(listed),
        overdue=_share(listed, "overdue", seed),
        left=_share(listed, "churned", seed),
        overdue_anyway=float(in_rhythm["overdue"].mean()),
        left_anyway=float(in_rhythm["churned"].mean()),
        caught=float(listed["churned"].sum() / max(in_rhythm["churned"].sum(), 1)),
        lead_days=tuple(lead.quantile(LEAD_QUANTILES).tolist()),
    )


def _share(rows: pd.DataFrame, name: str, seed: int) -> Interval:
    if rows.empty:
        return Interval(float("nan"), float("nan"), float("nan"))
    came = rows[name].to_numpy(dtype=np.float64)
    return evaluate({"share": _mean}, came, came, rows["customer_id"].tolist(), seed)["share"]


def _mean(came: Floats, _: Floats, weight: Floats) -> float:
    return float((came * weight).sum() / weight.sum())
