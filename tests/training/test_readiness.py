"""The grade before training is the grade that training gives, and what is missing is counted exactly."""

from collections.abc import Callable
from datetime import date

import pandas as pd
import pytest

from features.records import Records
from features.snapshot import build_snapshot
from models.churn import ChurnModel
from models.sufficiency import Shortfall, churn_sufficiency, value_sufficiency
from training.dataset import gather
from training.readiness import churn_facts, readiness, repeat_buyers


@pytest.mark.parametrize("horizon_days", [7, 30, 45, 90])
def test_the_grade_is_that_of_the_trained_model(company: Records, horizon_days: int) -> None:
    data = gather(company, company.as_of(), horizon_days, needs_labels=True)
    assert data.plan is not None
    learn, calibrate = data.learned(data.plan.final)
    later = (calibrate, calibrate["churned"].to_numpy())
    model = ChurnModel(horizon_days, window_days=data.plan.final.window_days).fit(
        learn, learn["churned"].to_numpy(), calibration=later
    )
    found = readiness(company, company.as_of(), horizon_days)
    assert found.churn.grade == model.grade_
    for name, value in churn_facts(company, company.as_of(), horizon_days).items():
        assert value == getattr(model.facts_, name), name


def test_repeat_buyers_are_those_the_value_model_learns_from(from_lines: Callable[..., Records]) -> None:
    lines = [("A", 1, 5), ("A", 3, 5), ("B", 1, 5), ("B", 1, 5), ("C", 1, 5), ("C", 2, 0), ("D", 1, 5), ("D", 2, 5)]
    frame = pd.DataFrame(lines, columns=["customer_id", "day", "amount"])
    frame["ordered_at"] = "2024-01-0" + frame["day"].astype("str") + " 12:00"
    frame["order_id"] = "R" + frame.index.astype("str")
    back = pd.DataFrame([{"customer_id": "D", "ordered_at": "2024-01-05 12:00", "amount": -10, "order_id": "X"}])
    records = from_lines(pd.concat([frame.drop(columns="day"), back]))
    snapshot = build_snapshot(records, records.as_of())
    valued = (snapshot["frequency"] > 0) & (snapshot["monetary_value"] > 0)
    assert repeat_buyers(records, records.as_of()) == valued.sum() == 1


def test_too_short_a_log_says_how_long_it_must_be_and_which_horizon_is_possible(company: Records) -> None:
    found = readiness(company, company.as_of(), 90)
    assert found.churn.grade == "C"
    assert Shortfall("history_days", 240, 360) in found.churn.missing
    assert found.reached_on(360) == date(2024, 12, 25)
    far = readiness(company, company.as_of(), 200)
    assert far.churn.grade == "D"
    assert Shortfall("history_days", 240, 400) in far.churn.missing
    assert (far.better_horizon_days, far.better_grade) == (60, "C")


def test_a_grade_names_every_fact_below_the_next() -> None:
    facts = {"customers": 900, "rarer_labels": 100, "history_days": 400, "boosted": True}
    found = churn_sufficiency(facts, 90)
    assert (found.grade, found.next_grade) == ("C", "B")
    assert found.missing == (Shortfall("customers", 900, 1000), Shortfall("rarer_labels", 100, 200))
    assert (
        churn_sufficiency({**facts, "customers": 9_000, "rarer_labels": 2_000, "history_days": 540}, 90).missing == ()
    )
    value = value_sufficiency({"repeat_buyers": 200, "history_days": 181})
    assert (value.grade, value.missing) == ("C", (Shortfall("history_days", 181, 182),))
