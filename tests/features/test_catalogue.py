"""The catalogue and the snapshot agree, and every sentence can be said in both languages."""

import math
import re
import string

import pytest

from features.catalogue import FEATURES, MODEL_FEATURES
from features.records import AsOf
from features.snapshot import build_snapshot

LANGUAGES = ("en", "zh")
ALWAYS_DEFINED = {name for name, feature in FEATURES.items() if not feature.absent_en}
# a sentence may name columns that are defined whenever its own feature is
IMPLIED = {
    "overdue_ratio": {"gap_median_days"},
    "overdue_p90_ratio": {"gap_p90_days"},
    "overdue_max_ratio": {"gap_max_days"},
    "gap_last_ratio": {"gap_last_days", "gap_median_days"},
    "gap_burstiness": {"gap_median_days", "gap_max_days"},
    "category_breadth_90d": {"category_breadth"},
    "favourite_category_overdue_ratio": {"days_since_favourite_category"},
    "satisfaction_change": {"satisfaction_last"},
    "category_concentration": {"category_breadth"},
}


def templates(feature):
    return [getattr(feature, f"{side}_{language}") for side in ("raises", "lowers") for language in LANGUAGES]


def named_columns(template):
    return {field for _, field, _, _ in string.Formatter().parse(template) if field}


@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES.keys())
def test_sentences_name_only_columns_that_are_defined_with_the_feature(feature):
    for template in templates(feature):
        assert template
        assert named_columns(template)
        assert named_columns(template) <= ALWAYS_DEFINED | IMPLIED.get(feature.name, set()) | {feature.name}
    assert bool(feature.absent_en) == bool(feature.absent_zh)


@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES.keys())
def test_facts_are_complete_and_chinese_is_chinese(feature):
    assert feature.unit in {"count", "days", "money", "share", "mean", "times", "trend", "score", "points", "index"}
    assert feature.direction in {"good", "bad", "neutral"}
    for text in (feature.meaning_zh, feature.raises_zh, feature.lowers_zh, feature.absent_zh or "无"):
        assert re.search("[一-鿿]", text)
        assert not re.search("[,:;?!()]", re.sub(r"\{[^}]*\}", "", text))
    for text in (feature.meaning_en, feature.raises_en, feature.lowers_en, feature.absent_en):
        assert text.isascii()


def test_models_may_use_every_feature_and_no_key():
    assert set(MODEL_FEATURES) == {name for name, feature in FEATURES.items() if feature.model_input}
    assert not {"customer_id", "as_of"} & set(FEATURES)


ROW = dict.fromkeys(FEATURES, 1.0) | {
    "gap_median_days": 12.0,
    "days_since_last_order": 41.0,
    "orders_30d": 0.0,
    "orders_90d": 3.0,
    "spend_30d": 1234.56,
    "spend_7d": 12.5,
    "discount_share": 0.354,
    "basket_lines_mean": 5.25,
    "orders_trend_90d": -0.5,
    "spend_trend_90d": 1.2,
    "overdue_max_ratio": 1.5,
    "gap_max_days": 27.0,
    "satisfaction_last": 3.0,
    "satisfaction_change": -1.25,
}


@pytest.mark.parametrize(
    ("name", "raises", "language", "sentence"),
    [
        ("overdue_ratio", True, "en", "Usually orders every 12 days, silent for 41"),
        ("overdue_ratio", True, "zh", "通常每12天下单，已41天没有动静"),
        ("orders_30d", True, "en", "Low recent activity: no orders in the last 30 days"),
        ("orders_30d", True, "zh", "近期不够活跃：近30天下单0次"),
        ("orders_365d", False, "en", "A regular this year: 1 order in the last 365 days"),
        ("spend_30d", False, "en", "Spent 1,235 in the last 30 days"),
        ("spend_7d", False, "zh", "最近一周有消费：近7天消费12.50"),
        ("overdue_max_ratio", True, "en", "Silent for 41 days; never before paused for more than 27"),
        ("overdue_max_ratio", True, "zh", "已沉默41天，此前停购最长不超过27天"),
        ("satisfaction_change", True, "en", "Satisfaction fell: latest 3 of 5, -1.2 points on before"),
        ("satisfaction_change", True, "zh", "满意度下降：最近3分，较此前-1.2分"),
        ("discount_share", True, "en", "Saved 35% by discounts, as customers who leave do"),
        ("basket_lines_mean", False, "en", "Full baskets: 5.2 items per order"),
        # (new - old) / (new + old) = -1/2 is a fall from 3 to 1
        ("orders_trend_90d", True, "en", "Orders in the last 90 days: 3, down 67% on the 90 days before"),
        ("orders_trend_90d", True, "zh", "近90天下单3次，较此前90天下降67%"),
        (
            "spend_trend_90d",
            False,
            "en",
            "Keeps spending: 1.00 in the last 90 days, up from nothing on the 90 days before",
        ),
    ],
)
def test_reasons_say_the_customers_own_numbers(name, raises, language, sentence):
    assert FEATURES[name].reason(ROW, raises=raises, language=language) == sentence


@pytest.mark.parametrize(
    ("trend", "words"),
    [(-1.0, "down to nothing"), (0.0, "unchanged"), (0.001, "unchanged"), (0.2, "up 50%"), (1.0, "up from nothing")],
)
def test_a_trend_is_said_as_a_change(trend, words):
    row = ROW | {"orders_trend_90d": trend}
    assert words in FEATURES["orders_trend_90d"].reason(row, raises=True, language="en")


def test_every_sentence_of_a_real_row_can_be_said(make_records, at):
    orders = [{"customer_id": "ann", "ordered_at": at(day), "amount": 7.0} for day in (1, 9)]
    snapshot = build_snapshot(make_records(orders=orders), AsOf.parse("2024-02-01", "UTC"))
    assert list(snapshot.columns) == ["customer_id", "as_of", *FEATURES]
    row = snapshot[list(FEATURES)].iloc[0].to_dict()
    for feature in FEATURES.values():
        for raises in (True, False):
            for language in LANGUAGES:
                sentence = feature.reason(row, raises=raises, language=language)
                assert sentence
                assert "nan" not in sentence
    undefined = [name for name, value in row.items() if math.isnan(value)]
    assert "nps_last" in undefined
    assert FEATURES["nps_last"].reason(row, raises=True, language="zh") == "没有推荐意愿评分"
