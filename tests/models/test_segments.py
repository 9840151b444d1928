"""Segments: learned fifths, rules as tables, every customer on exactly one list."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.segment_rules import RULES
from models.segments import (
    FILE,
    MIN_CUSTOMERS,
    ContactTier,
    LifecycleStage,
    Potential,
    Segment,
    SegmentModel,
    ValueTier,
)
from perennial.errors import ArtefactError, InsufficientData, SourceError
from tests.models.shop import month

CODES = {
    "value_tier": ValueTier,
    "lifecycle_stage": LifecycleStage,
    "contact_tier": ContactTier,
    "potential": Potential,
    "segment": Segment,
}


@pytest.fixture(scope="module")
def snapshot() -> pd.DataFrame:
    return month(1).snapshot


@pytest.fixture(scope="module")
def model(snapshot: pd.DataFrame) -> SegmentModel:
    return SegmentModel().fit(snapshot)


# Somebody in the middle of everything: monthly orders, the latest ten days ago.
MIDDLING = {
    "frequency": 6.0, "recency": 170.0, "T": 180.0, "days_since_last_order": 10.0, "gap_median_days": 28.0,
    "gap_p90_days": 40.0, "spend_total": 150.0, "spend_365d": 150.0, "order_value_mean": 20.0,
    "category_breadth": 3.0, "orders_90d": 3.0, "interactions_90d": 0.0, "referrals_total": 0.0, "nps_last": np.nan,
}  # fmt: skip


@pytest.fixture(scope="module")
def made() -> SegmentModel:
    """Learned from customers spread evenly around the middling one."""
    spread = np.linspace(0.1, 2.0, 100)
    base = pd.DataFrame([{**MIDDLING, "nps_last": np.nan}] * 100)
    for name in ("days_since_last_order", "spend_total", "spend_365d", "order_value_mean", "category_breadth"):
        base[name] = MIDDLING[name] * spread
    return SegmentModel().fit(base.assign(frequency=np.round(6 * spread)))


def _one(made: SegmentModel, **values: float) -> pd.Series:
    return made.predict(pd.DataFrame([{**MIDDLING, **values}])).iloc[0]


BEST = {"frequency": 12.0, "spend_total": 300.0, "spend_365d": 300.0}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"frequency": 0, "gap_p90_days": np.nan, "gap_median_days": np.nan}, "new"),
        (BEST, "champions"),
        ({}, "loyal"),
        ({"frequency": 1, "spend_total": 20}, "promising"),
        ({**BEST, "days_since_last_order": 81}, "dormant_high_value"),
        ({**BEST, "days_since_last_order": 79}, "at_risk"),
        ({"days_since_last_order": 41}, "at_risk"),
        ({"days_since_last_order": 121}, "hibernating"),
        ({"frequency": 1, "spend_total": 20, "days_since_last_order": 41}, "hibernating"),
        ({"frequency": 1, "spend_total": 20, "days_since_last_order": 400}, "lost"),
    ],
)
def test_value_tiers(made: SegmentModel, values, expected: str):
    assert _one(made, **values)["value_tier"] == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"frequency": 1}, "acquaintance"),
        ({"T": 83}, "acquaintance"),
        ({"T": 84}, "stable"),
        ({"days_since_last_order": 40}, "stable"),
        ({"days_since_last_order": 41}, "at_risk"),
        ({"days_since_last_order": 120}, "at_risk"),
        ({"days_since_last_order": 121}, "churned"),
        ({"referrals_total": 1}, "advocacy"),
        ({"nps_last": 9}, "advocacy"),
        ({"nps_last": 8}, "stable"),
        ({"frequency": 12, "category_breadth": 6}, "advocacy"),
        ({"frequency": 12, "category_breadth": 1}, "stable"),
        ({"frequency": 9, "interactions_90d": 13}, "advocacy"),
        ({"referrals_total": 1, "days_since_last_order": 121}, "churned"),
    ],
)
def test_lifecycle_stages(made: SegmentModel, values, expected: str):
    assert _one(made, **values)["lifecycle_stage"] == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (BEST, "high_value"),
        ({**BEST, "frequency": 2, "category_breadth": 6}, "high_value"),
        ({**BEST, "frequency": 2, "category_breadth": 1}, "ordinary"),
        ({**BEST, "spend_365d": 100}, "ordinary"),
        ({"frequency": 2, "order_value_mean": 30}, "potential"),
        ({"frequency": 9, "order_value_mean": 30}, "ordinary"),
        ({"frequency": 2, "order_value_mean": 10}, "ordinary"),
    ],
)
def test_contact_tiers(made: SegmentModel, values, expected: str):
    assert _one(made, **values)["contact_tier"] == expected


@pytest.mark.parametrize(
    ("orders", "interactions", "expected"),
    [(13, 0, "high"), (6, 7, "high"), (12, 0, "mid"), (3, 0, "mid"), (0, 3, "mid"), (2, 0, "low"), (2, np.nan, "low")],
)
def test_potential_counts_every_kind_of_touch(made: SegmentModel, orders, interactions, expected: str):
    assert _one(made, orders_90d=orders, interactions_90d=interactions)["potential"] == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (BEST, "champions"),
        ({**BEST, "days_since_last_order": 200}, "dormant_high_value"),
        ({"frequency": 9, "spend_total": 100, "days_since_last_order": 200}, "win_back"),
        ({"frequency": 1, "spend_total": 20, "days_since_last_order": 200}, "lost"),
        ({"days_since_last_order": 50}, "at_risk"),
        ({"frequency": 0, "gap_p90_days": np.nan}, "new"),
        ({"frequency": 2, "order_value_mean": 30}, "potential"),
        ({}, "loyal"),
        ({"frequency": 2, "spend_total": 20, "order_value_mean": 10}, "occasional"),
    ],
)
def test_segments(made: SegmentModel, values, expected: str):
    assert _one(made, **values)["segment"] == expected


def test_a_weekly_shopper_is_not_gone_after_a_fortnight(made: SegmentModel):
    """The own p90 gap of two days times three is a week; the business's quickest quarter of rhythms holds it back."""
    daily = {"gap_median_days": 1.0, "gap_p90_days": 2.0, "days_since_last_order": 14.0}
    assert _one(made, **daily)["lifecycle_stage"] == "stable"


def test_real_snapshots_land_on_known_codes_only(model: SegmentModel, snapshot: pd.DataFrame):
    told = model.predict(snapshot)
    assert list(told.columns) == list(CODES)
    assert told.index.equals(snapshot.index)
    for column, codes in CODES.items():
        assert set(told[column]) <= {code.value for code in codes}
    assert told["segment"].nunique() >= 6


def test_silent_customers_are_the_ones_who_do_not_return():
    rows = month(1)
    stage = SegmentModel().fit(rows.snapshot).predict(rows.snapshot)["lifecycle_stage"]
    left = pd.Series(rows.churned).groupby(stage).mean()
    assert left["churned"] > left["at_risk"] > left["stable"]


def test_equal_customers_get_equal_scores_whatever_the_ties(made: SegmentModel):
    crowd = pd.DataFrame([MIDDLING] * 80 + [{**MIDDLING, "frequency": 7.0}] * 20)
    scores = SegmentModel().fit(crowd).facts(crowd)["frequency_score"]
    assert scores.tolist() == [1.0] * 80 + [5.0] * 20


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_nobody_is_left_without_a_code(made: SegmentModel, data: st.DataObject):
    values = {name: data.draw(st.floats(0, 1e6)) for name in MIDDLING}
    values["frequency"] = float(round(values["frequency"]))
    unknown = data.draw(st.sets(st.sampled_from(["category_breadth", "nps_last", "order_value_mean"])))
    row = _one(made, **{**values, **dict.fromkeys(unknown, np.nan)})
    assert row.notna().all()


def test_more_spend_never_lowers_the_score(made: SegmentModel):
    crowd = pd.DataFrame([{**MIDDLING, "spend_total": float(spend)} for spend in range(0, 400, 5)])
    assert (np.diff(made.facts(crowd)["monetary_score"]) >= 0).all()


def test_a_longer_silence_never_raises_the_score(made: SegmentModel):
    crowd = pd.DataFrame([{**MIDDLING, "days_since_last_order": float(days)} for days in range(60)])
    assert (np.diff(made.facts(crowd)["recency_score"]) <= 0).all()


def test_a_round_trip_says_the_same(model: SegmentModel, snapshot: pd.DataFrame):
    again = SegmentModel.from_files(model.to_files())
    assert again.thresholds_ == model.thresholds_
    pd.testing.assert_frame_equal(again.predict(snapshot), model.predict(snapshot))


@pytest.mark.parametrize("text", [b"{}", b"[]", b"not json", b'{"few_repeats": "x"}'])
def test_a_damaged_artefact_is_refused(text: bytes):
    with pytest.raises(ArtefactError, match=r"train (it|or pull the model) again"):
        SegmentModel.from_files({FILE: text})


def test_too_few_customers_are_said_plainly(snapshot: pd.DataFrame):
    with pytest.raises(InsufficientData, match=f"at least {MIN_CUSTOMERS}"):
        SegmentModel().fit(snapshot.head(MIN_CUSTOMERS - 1))


def test_one_time_buyers_alone_teach_no_rhythm(snapshot: pd.DataFrame):
    with pytest.raises(InsufficientData, match="nobody has bought twice"):
        SegmentModel().fit(snapshot.assign(frequency=0.0))


def test_a_missing_column_is_named(model: SegmentModel, snapshot: pd.DataFrame):
    with pytest.raises(SourceError, match="spend_365d"):
        model.predict(snapshot.drop(columns="spend_365d"))


def test_every_code_has_a_rule_with_a_meaning_in_both_languages():
    for column, rules in RULES.items():
        assert {rule.code for rule in rules} == set(CODES[column])
        assert not rules[-1].within
        assert all(rule.meaning_en and rule.meaning_zh for rule in rules)


def test_rules_speak_of_facts_the_model_computes(made: SegmentModel):
    known = set(made.facts(pd.DataFrame([MIDDLING])))
    assert {name for rules in RULES.values() for rule in rules for name in rule.within} <= known
