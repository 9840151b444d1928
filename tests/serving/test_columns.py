import re

import numpy as np
import pytest

from serving.codes import CHURN_BANDS, CODE_LISTS, churn_band
from serving.columns import COLUMN_NAMES, PENDING, SCHEMA, SCORE_COLUMNS

# The order that integrators rely on; more columns may follow.
FIXED = [
    "customer_id",
    "as_of",
    "horizon_days",
    "churn_probability",
    "churn_band",
    "money_at_risk",
    "p_alive",
    "expected_orders",
    "expected_orders_low",
    "expected_orders_high",
    "expected_order_value",
    "expected_spend",
    "clv",
    "clv_low",
    "clv_high",
    "clv_basis",
    "currency",
    "next_order_expected_on",
    "value_tier",
    "lifecycle_stage",
    "contact_tier",
    "potential",
    "need_type",
    "segment",
    "reason_1_code",
    "reason_1",
    "reason_2_code",
    "reason_2",
    "reason_3_code",
    "reason_3",
    "action_id",
    "action_channel",
    "action_reason",
    "expected_incremental_value",
    "evidence",
    "human_task",
    "due_by",
    "suppressed_by",
    "control_group",
    "data_grade",
    "model_versions",
]


def test_fixed_columns_stand_first_in_the_published_order() -> None:
    assert list(COLUMN_NAMES[: len(FIXED)]) == FIXED
    assert len(set(COLUMN_NAMES)) == len(COLUMN_NAMES)


def test_every_column_says_what_it_is_in_both_languages() -> None:
    for column in SCORE_COLUMNS:
        assert column.meaning_en.isascii() or any(sign in column.meaning_en for sign in "×−"), column.name
        assert re.search(r"[\u4e00-\u9fff]", column.meaning_zh), column.name


def test_codes_are_plain_and_described() -> None:
    for name, codes in CODE_LISTS.items():
        assert len({code.code for code in codes}) == len(codes)
        for code in codes:
            assert re.fullmatch(r"[a-z][a-z_]*|[A-D]", code.code), (name, code)
            assert all((code.label_en, code.label_zh, code.meaning_en, code.meaning_zh)), (name, code)
    assert {column.codes for column in SCORE_COLUMNS} - {None} == set(CODE_LISTS)


def test_pending_columns_exist_and_may_be_null() -> None:
    assert all(SCHEMA.field(name).nullable for name in PENDING)


@pytest.mark.parametrize(
    ("probability", "band"),
    [
        (0.0, "low"),
        (0.2499, "low"),
        (0.25, "medium"),
        (0.5, "high"),
        (0.7499, "high"),
        (0.75, "critical"),
        (1.0, "critical"),
    ],
)
def test_bands_include_their_lower_bound(probability: float, band: str) -> None:
    assert churn_band(np.array([probability])).tolist() == [band]
    assert band in CHURN_BANDS
