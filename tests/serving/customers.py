"""Customers as scoring hands them to a policy: every column that decisions may look at."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd

from features.contract import CONTACT_CHANNELS
from features.records import AsOf

AS_OF = AsOf(datetime(2024, 6, 1, 4, tzinfo=UTC), date(2024, 6, 1))

# A settled customer, active, with consent, whom nobody contacted lately and nothing is wrong with.
SETTLED: dict[str, object] = {
    "churn_probability": 0.2,
    "money_at_risk": 40.0,
    "expected_spend": 120.0,
    "expected_order_value": 30.0,
    "clv": 200.0,
    "clv_basis": "margin",
    "currency": "GBP",
    "value_tier": "loyal",
    "lifecycle_stage": "stable",
    "contact_tier": "ordinary",
    "potential": "mid",
    "frequency": 8.0,
    "tenure_days": 300.0,
    "days_since_last_order": 20.0,
    "days_since_last_interaction": 20.0,
    "days_since_last_offer": np.nan,
    "gap_median_days": 30.0,
    "gap_cv": 0.5,
    "overdue_ratio": 0.7,
    "orders_90d": 3.0,
    "spend_365d": 270.0,
    "order_value_last": 30.0,
    "order_value_last_ratio": 1.0,
    "category_breadth": 2.0,
    "complaints_open": 0.0,
    "satisfaction_last": 3.0,
    "nps_last": np.nan,
    "referrals_total": 0.0,
    "days_since_last_referral": np.nan,
    "offers_received_30d": 0.0,
    "offers_received_90d": 0.0,
    "birthday": pd.NaT,
    "timezone": "Europe/London",
    "favourite_category": "tea",
    "favourite_channel": "web",
    "margin_rate": 0.4,
    "last_offer_at": pd.NaT,
    "last_action_id": None,
}


def customers(*changes: dict[str, object], consented: list[str] | None = None) -> pd.DataFrame:
    """One settled customer for each dict of changes, by customer_id C0, C1, …"""
    channels = list(CONTACT_CHANNELS) if consented is None else consented
    rows = [{**SETTLED, "consented_channels": channels, **change} for change in changes]
    frame = pd.DataFrame(rows, index=pd.Index([f"C{i}" for i in range(len(rows))], name="customer_id"))
    for column in ("birthday", "last_offer_at"):
        frame[column] = pd.to_datetime(frame[column], utc=column == "last_offer_at")
    return frame


def crowd(count: int, seed: int = 7) -> pd.DataFrame:
    """Customers of every kind, drawn at random."""
    rng = np.random.default_rng(seed)

    def pick(*values: object) -> np.ndarray:
        return np.array(values, dtype=object)[rng.integers(len(values), size=count)]

    frame = pd.DataFrame(
        {name: np.full(count, value) for name, value in SETTLED.items()},
        index=pd.Index([f"C{i:06d}" for i in range(count)], name="customer_id"),
    )
    contacted = rng.uniform(size=count) < 0.6
    ago = pd.to_timedelta(rng.uniform(0, 200, size=count), unit="D")
    last = pd.Series(pd.Timestamp(AS_OF.instant) - ago, index=frame.index).where(contacted)
    return frame.assign(
        churn_probability=rng.uniform(size=count),
        money_at_risk=rng.gamma(1.0, 40.0, size=count),
        expected_spend=rng.gamma(1.0, 100.0, size=count),
        value_tier=pick(
            "champions", "loyal", "promising", "new", "dormant_high_value", "at_risk", "hibernating", "lost"
        ),
        lifecycle_stage=pick("acquaintance", "stable", "advocacy", "at_risk", "churned"),
        contact_tier=pick("high_value", "potential", "ordinary"),
        frequency=rng.integers(0, 20, size=count).astype(float),
        days_since_last_order=rng.integers(0, 200, size=count).astype(float),
        tenure_days=rng.integers(0, 20, size=count).astype(float),
        overdue_ratio=rng.gamma(1.0, 1.0, size=count),
        complaints_open=(rng.uniform(size=count) < 0.05).astype(float),
        order_value_last_ratio=rng.gamma(1.0, 1.0, size=count),
        satisfaction_last=pick(np.nan, 2.0, 5.0).astype(float),
        referrals_total=pick(0.0, 1.0).astype(float),
        days_since_last_offer=np.floor((pd.Timestamp(AS_OF.instant) - last) / pd.Timedelta(days=1)),
        last_offer_at=last,
        last_action_id=np.where(contacted, pick("cross_sell", "early_access", "campaign_13"), None),
        offers_received_30d=np.where(contacted, rng.integers(0, 6, size=count), 0).astype(float),
        offers_received_90d=np.where(contacted, rng.integers(5, 15, size=count), 0).astype(float),
        margin_rate=pick(0.4, np.nan).astype(float),
        birthday=pd.to_datetime("1970-01-01") + pd.to_timedelta(rng.integers(0, 15_000, size=count), unit="D"),
        timezone=pick("Europe/London", "Asia/Shanghai", None),
        favourite_channel=pick("web", "email", "phone", None),
        consented_channels=[
            [c for c, agreed in zip(CONTACT_CHANNELS, row, strict=True) if agreed]
            for row in rng.uniform(size=(count, len(CONTACT_CHANNELS))) < 0.5
        ],
    )
