"""A hand-made scoring run: every code occurs, and the names are as nasty as people can type them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from models.outlook import Common
from models.totals import AMOUNTS
from serving.codes import CODE_LISTS, Code, churn_band
from serving.columns import COLUMN_NAMES, PENDING
from serving.manifest import Manifest
from serving.totals import totals_of

CANARY = "<script>alert('canary')</script>"
FORMULAS = ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "＝1+1", " =1")
ACTIONS = (
    Code("do_nothing", "Do nothing", "不行动", "leave the customer alone", "不打扰"),
    Code("win_back", "Win-back letter", "召回信", "a reason to come back", "给出回来的理由"),
    Code("service_call", "Service call", "服务电话", "a person calls", "专人致电"),
)


@dataclass(frozen=True)
class HandmadeRun:
    """What `write_scores` needs of a scoring run."""

    scores: pd.DataFrame
    manifest: Manifest


def manifest(customers: int, **changes: object) -> Manifest:
    facts: dict[str, object] = {
        "as_of": datetime(2017, 10, 1, tzinfo=ZoneInfo("America/New_York")),
        "timezone": "America/New_York",
        "horizon_days": 28,
        "clv_horizon_days": 365,
        "customers": customers,
        "currency": "USD",
        "clv_basis": "revenue",
        "language": "en",
        "data_grade": "A",
        "model_versions": {"segments": "1", "churn": "3", "clv": "2"},
        "playbook_sha256": "0" * 64,
        "source": "a hand-made company",
        "actions": ACTIONS,
    }
    return Manifest(**{**facts, **changes})  # type: ignore[arg-type]


def scores(customers: int = 40, seed: int = 7, control: float = 0.2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    numbers = np.arange(customers)
    churn = np.round(rng.beta(0.7, 0.9, customers), 6)
    clv = rng.gamma(1.5, 120.0, customers)
    orders = rng.gamma(2.0, 1.0, customers)
    held_out = rng.random(customers) < control
    action = np.where(held_out, "do_nothing", np.array([a.code for a in ACTIONS])[numbers % len(ACTIONS)])
    person = action == "service_call"
    columns: dict[str, object] = {
        "customer_id": [f"{i:06d}" for i in numbers],
        "as_of": pd.Series([pd.Timestamp("2017-10-01T04:00:00Z")] * customers).dt.as_unit("us"),
        "horizon_days": np.full(customers, 28),
        "churn_probability": churn,
        "churn_band": churn_band(churn),
        "money_at_risk": churn * clv * 0.6,
        "p_alive": 1 - churn / 2,
        "expected_orders": orders,
        "expected_orders_low": np.floor(orders / 3),
        "expected_orders_high": np.ceil(orders * 3),
        "expected_order_value": 20 + clv / 20,
        "expected_spend": orders * 20,
        "clv": clv,
        "clv_low": clv / 4,
        "clv_high": clv * 3,
        "clv_basis": ["revenue"] * customers,
        "currency": ["USD"] * customers,
        "next_order_expected_on": [date(2017, 10, 2) + timedelta(days=int(i)) if i % 3 else None for i in numbers],
        **{
            name: _cycle(name, numbers)
            for name in ("value_tier", "lifecycle_stage", "contact_tier", "potential", "segment")
        },
        "need_type": [None] * customers,
        **{
            name: [text] * customers
            for k in (1, 2, 3)
            for name, text in ((f"reason_{k}_code", f"reason_{k}"), (f"reason_{k}", f"No order for {k}0 days"))
        },
        "action_id": action,
        "action_channel": np.where(person, "phone", np.where(action == "do_nothing", None, "email")),
        "action_reason": ["because it pays"] * customers,
        "expected_incremental_value": np.where(action == "do_nothing", 0.0, clv / 50),
        "evidence": np.where(action == "do_nothing", None, "assumed"),
        "human_task": person,
        "due_by": pd.to_datetime(np.where(person, "2017-10-02T04:00:00Z", None), utc=True).as_unit("us"),
        "suppressed_by": np.where(held_out, "control_group", None),
        "control_group": held_out,
        "data_grade": ["A"] * customers,
        "model_versions": ["churn=3;clv=2;segments=1"] * customers,
        "content_kind": np.where(action == "do_nothing", None, "value"),
        "propensity": np.where(held_out, 0.2, 0.8),
        "last_order_on": [date(2017, 9, 30) - timedelta(days=int(i)) for i in numbers],
        "orders_365d": orders.round() + 1,
        "spend_365d": clv * 2,
        "consented_channels": np.where(numbers % 5 == 0, None, "email;sms"),
        "churn_probability_low": churn * 0.8,
        "churn_probability_high": 1 - (1 - churn) * 0.8,
    }
    frame = pd.DataFrame(columns)
    texts = [
        name
        for name in frame
        if frame[name].dtype == object and name not in ("next_order_expected_on", "last_order_on")
    ]
    return frame.astype(dict.fromkeys(texts, "str"))[list(COLUMN_NAMES)]


def run(customers: int = 40, **changes: object) -> HandmadeRun:
    made = scores(customers)
    spread = made.assign(**{f"{amount}_deviation": made[column] for amount, column in AMOUNTS.items()})
    totals = totals_of(spread, dict.fromkeys(AMOUNTS, Common(0.1, 4.0)))
    return HandmadeRun(made, manifest(customers, **{"totals": totals, **changes}))


def with_cells(made: HandmadeRun, cells: Mapping[str, object]) -> HandmadeRun:
    """The same run with one cell of the first rows replaced, e.g. {"customer_id": ["=1", ...]}."""
    frame = made.scores.copy()
    for name, values in cells.items():
        column = frame[name].tolist()
        column[: len(values)] = values  # type: ignore[arg-type]
        frame[name] = pd.Series(column, dtype=frame[name].dtype)
    return HandmadeRun(frame, made.manifest)


def _cycle(name: str, numbers: np.ndarray) -> list[str]:
    codes = [code.code for code in CODE_LISTS[name]]
    step = {"value_tier": 1, "lifecycle_stage": 2, "contact_tier": 1, "potential": 3, "segment": 1}[name]
    return [codes[(int(i) // step) % len(codes)] for i in numbers]


assert set(PENDING) <= set(COLUMN_NAMES)
