"""Reasons speak in the direction of the risk, with the customer's own numbers, once per theme, in both languages."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalogue import FEATURES, MODEL_FEATURES
from models.churn import ChurnModel
from models.reasons import LINES, SPEAKERS, THEMES, UNTOLD_GROUPS, sentence_columns, top_reasons
from models.silence import BTYD_FEATURES
from tests.models.shop import HORIZON_DAYS, month, months

NAMES = (*MODEL_FEATURES, *BTYD_FEATURES)
CODES = ["reason_1_code", "reason_2_code", "reason_3_code"]
TEXTS = ["reason_1", "reason_2", "reason_3"]


def _customer(**values: float) -> pd.DataFrame:
    usual = dict.fromkeys(MODEL_FEATURES, 2.0)
    return pd.DataFrame([{**usual, **values}])


def _shares(**shares: float) -> np.ndarray:
    return np.array([[shares.get(name, 0.0) for name in NAMES]])


def _theme(code: str) -> str:
    return next((theme for theme, names in THEMES.items() if code in names), FEATURES[code].group)


def test_an_overdue_customer_hears_the_own_rhythm():
    customer = _customer(gap_median_days=12, days_since_last_order=41, overdue_ratio=3.4)
    shares = _shares(overdue_ratio=0.9, spend_90d=0.2)
    english = top_reasons(customer, shares, NAMES, "en").iloc[0]
    assert english["reason_1_code"] == "overdue_ratio"
    assert english["reason_1"] == "Usually orders every 12 days, silent for 41"
    chinese = top_reasons(customer, shares, NAMES, "zh").iloc[0]
    assert chinese["reason_1_code"] == "overdue_ratio"
    assert "12" in chinese["reason_1"]
    assert "41" in chinese["reason_1"]
    assert re.search("[一-鿿]", chinese["reason_1"])


def test_the_direction_of_the_risk_decides_which_side_is_told():
    customer = _customer(orders_90d=4, overdue_ratio=1.5, weekend_share=0.5)
    leaving = top_reasons(customer, _shares(overdue_ratio=0.9, orders_90d=-0.8), NAMES, "en").iloc[0]
    assert leaving[CODES].dropna().tolist() == ["overdue_ratio"]
    staying = top_reasons(customer, _shares(overdue_ratio=0.7, orders_90d=-0.8), NAMES, "en").iloc[0]
    assert staying[CODES].dropna().tolist() == ["orders_90d"]
    assert staying["reason_1"] == "Active this quarter: 4 orders in the last 90 days"


def test_who_will_probably_leave_is_never_told_why_they_stay():
    shares = _shares(frequency=-0.5, days_since_last_order=0.1)
    probable = top_reasons(_customer(), shares, NAMES, "en", base_log_odds=1.0).iloc[0]
    assert probable[CODES].dropna().tolist() == ["days_since_last_order"]
    improbable = top_reasons(_customer(), shares, NAMES, "en", base_log_odds=0.3).iloc[0]
    assert improbable[CODES].dropna().tolist() == ["frequency"]


def test_a_theme_speaks_once_and_counts_whole():
    """Silence is told by two features that share the credit; together they outweigh the basket."""
    shares = _shares(days_since_last_order=0.5, overdue_ratio=0.4, basket_lines_mean=0.6)
    reasons = top_reasons(_customer(), shares, NAMES, "en").iloc[0]
    assert reasons[CODES].dropna().tolist() == ["days_since_last_order", "basket_lines_mean"]


def test_the_purchases_model_speaks_through_the_rhythm():
    reasons = top_reasons(_customer(), _shares(btyd_no_purchase=1.0), NAMES, "en").iloc[0]
    assert reasons["reason_1_code"] == "overdue_ratio"
    assert set(SPEAKERS) == set(BTYD_FEATURES)


def test_numbers_speak_before_their_absence_does():
    once = _customer(overdue_ratio=np.nan, gap_median_days=np.nan, days_since_last_order=80)
    told = top_reasons(once, _shares(btyd_no_purchase=1.0, days_since_last_order=0.1), NAMES, "en").iloc[0]
    assert told["reason_1"] == "Silent for 80 days since the latest order"
    alone = top_reasons(once, _shares(btyd_no_purchase=1.0), NAMES, "en").iloc[0]
    assert alone["reason_1"] == FEATURES["overdue_ratio"].absent_en


def test_absence_is_no_ground_for_calm():
    unknown = _customer(satisfaction_last=np.nan)
    assert top_reasons(unknown, _shares(satisfaction_last=-1.0), NAMES, "en").iloc[0].isna().all()


@pytest.mark.parametrize(
    ("value", "share", "told"), [(120.0, 0.5, False), (1.0, 0.5, True), (120.0, -0.5, True), (1.0, -0.5, False)]
)
def test_no_high_value_is_called_low(value: float, share: float, told: bool):
    """A tree may count 120 repeat purchases against a customer; no sentence says that this is few."""
    reasons = top_reasons(
        _customer(frequency=value), _shares(frequency=share), NAMES, "en", typical={"frequency": 10.0}
    )
    assert reasons["reason_1"].notna().item() is told


def test_silence_within_the_own_rhythm_is_no_reason_to_leave():
    shares = _shares(overdue_ratio=0.9, orders_30d=0.1)
    early = top_reasons(_customer(overdue_ratio=0.9), shares, NAMES, "en").iloc[0]
    assert early["reason_1_code"] == "orders_30d"
    late = top_reasons(_customer(overdue_ratio=1.1), shares, NAMES, "en").iloc[0]
    assert late["reason_1_code"] == "overdue_ratio"


def test_hours_and_weekdays_are_not_told():
    reasons = top_reasons(_customer(), _shares(weekend_share=0.9, evening_share=0.5), NAMES, "en").iloc[0]
    assert reasons[CODES].isna().all()


def test_every_told_feature_has_a_sentence_in_both_directions_and_languages():
    for name in MODEL_FEATURES:
        if FEATURES[name].group in UNTOLD_GROUPS:
            continue
        for sign in (1.0, -1.0):
            side = sign if FEATURES[name].direction == "bad" else -sign
            customer = _customer(**({name: LINES[name] + side / 2} if name in LINES else {}))
            texts = {
                top_reasons(customer, _shares(**{name: sign}), NAMES, lang)["reason_1"].item() for lang in ("en", "zh")
            }
            assert len(texts) == 2
            assert not any("{" in text or "nan" in text for text in texts)


def test_themes_name_features_that_exist_once():
    named = [name for names in THEMES.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) <= set(FEATURES)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from(["en", "zh"]))
def test_what_is_told_is_true_of_the_contributions(seed: int, customers: int, language):
    rng = np.random.default_rng(seed)
    snapshot = pd.DataFrame(rng.exponential(5, (customers, len(MODEL_FEATURES))), columns=list(MODEL_FEATURES))
    snapshot = snapshot.mask(rng.random(snapshot.shape) < 0.1)
    referred = sorted(set().union(*(sentence_columns([name]) - {name} for name in MODEL_FEATURES)))
    snapshot[referred] = snapshot[referred].fillna(3.0)  # always there when another feature's sentence names them
    shares = rng.normal(0, 1, (customers, len(NAMES)))
    reasons = top_reasons(snapshot, shares, NAMES, language)
    assert list(reasons.columns) == [name for pair in zip(CODES, TEXTS, strict=True) for name in pair]
    for row in range(customers):
        codes = reasons.iloc[row][CODES].dropna().tolist()
        rising = shares[row].sum() > 0
        for code in codes:
            spoken_for = [name for name in NAMES if SPEAKERS.get(name, name) == code]
            total = sum(shares[row, NAMES.index(name)] for name in spoken_for)
            assert (total > 0) == rising
        assert len({_theme(code) for code in codes}) == len(codes)
        assert reasons.iloc[row][TEXTS].notna().sum() == len(codes)
        assert not reasons.iloc[row][TEXTS].str.contains("nan|inf").any()


def test_a_customer_alone_hears_what_the_batch_said():
    training, later = months((5, 4, 3)), month(2)
    model = ChurnModel(HORIZON_DAYS, num_threads=1)
    model.fit(training.snapshot, training.churned, calibration=(later.snapshot, later.churned))
    snapshot = month(1).snapshot.set_index("customer_id")
    told = top_reasons(snapshot, model.contributions(snapshot), model.feature_names_, "en", typical=model.typical_)
    assert told.index.equals(snapshot.index)
    assert told["reason_1"].notna().mean() > 0.97
    for customer in snapshot.index[::97]:
        one = snapshot.loc[[customer]]
        alone = top_reasons(one, model.contributions(one), model.feature_names_, "en", typical=model.typical_)
        pd.testing.assert_frame_equal(alone, told.loc[[customer]])


@pytest.mark.parametrize("name", [*FEATURES, *BTYD_FEATURES])
def test_sentences_speak_of_no_column_but_those_asked_for(name: str) -> None:
    snapshot = pd.DataFrame({column: [1.0, 2.0] for column in sentence_columns([name])})
    for share in (1.0, -1.0):
        top_reasons(snapshot, np.full((2, 1), share), [name], "en")
