"""Early warning, judged: by hand on a few customers, and against the log's own days."""

import numpy as np
import pandas as pd
import pytest

from features.records import AsOf
from models.early_warning import warned_of
from training.labels import label, return_days
from training.warning import lead_times, overdue_in_days

DAY = pd.Timestamp("2024-05-01", tz="UTC")


def test_overdue_is_the_first_day_after_the_longest_usual_gap():
    days = overdue_in_days(np.array([10.0, 10.4, 10.0, 10.0]), np.array([3.0, 3.0, 10.0, 11.0]))
    assert days.tolist() == [8, 8, 1, 0]


def test_who_is_overdue_or_hardly_leaves_is_not_warned_of():
    stages = ["stable", "acquaintance", "at_risk", "churned", "stable"]
    assert warned_of(np.array([0.25, 0.9, 0.9, 0.9, 0.24]), stages).tolist() == [True, True, False, False, False]


def world(return_days, overdue_in_days, churned):
    """Return ten customers at one origin, all with a probability of a half but the last, who stays."""
    ids = [f"c{number}" for number in range(10)]
    ours = pd.DataFrame(
        {"origin": DAY, "customer_id": ids, "churn_probability": [0.5] * 9 + [0.01], "churned": churned}
    )
    standing = pd.DataFrame({"origin": DAY, "customer_id": ids, "lifecycle_stage": "stable"}).assign(
        staying_value=np.arange(10.0, 0.0, -1.0), overdue_in_days=overdue_in_days, return_days=return_days
    )
    return ours, standing


def test_precision_and_lead_are_counted_on_the_list():
    left = [True, False, False, True] + [False] * 6
    came = [np.nan, 3.0, 12.0, np.nan] + [1.0] * 6
    by_money, *_ = (found for found in lead_times(*world(came, [5.0] * 10, left), 28, seed=1) if found.capacity == 0.10)
    assert (by_money.ordered_by, by_money.customers) == ("money_at_risk", 1)
    assert by_money.left.value == by_money.overdue.value == 1.0
    assert by_money.caught == 0.5
    assert by_money.overdue_anyway == 0.3  # the third came too late
    assert by_money.left_anyway == 0.2
    assert by_money.lead_days == (5.0, 5.0, 5.0)


def test_nobody_to_warn_of_is_no_error():
    ours, standing = world([1.0] * 10, [5.0] * 10, [False] * 10)
    for found in lead_times(ours.assign(churn_probability=0.1), standing, 28, seed=1):
        assert found.customers == 0
        assert np.isnan(found.left.value)


def test_who_came_back_and_when_agrees_with_the_labels(company):
    cutoff = AsOf.parse("2024-06-01", "UTC")
    came, labels = return_days(company, cutoff, 28), label(company, cutoff, 28)
    both = labels.merge(came, on="customer_id", how="left")
    assert (both["return_days"].isna() == both["churned"]).all()
    assert both["return_days"].dropna().between(0, 27).all()
    later = return_days(company, cutoff, 14).merge(came, on="customer_id", suffixes=("", "_whole"))
    assert (later["return_days"] == later["return_days_whole"]).all()
    assert len(later) == (came["return_days"] < 14).sum()


def test_a_window_that_is_not_closed_has_no_return(company):
    with pytest.raises(Exception, match="choose a cutoff"):
        return_days(company, company.as_of().earlier(5, "UTC"), 28)
