"""Scores kept to be judged later: found again, verified, and of large bases the same customers each time."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from models.kept_scores import COLUMNS, MOST_FEATURE_ROWS, Scored, keep_scores, kept_scores
from perennial.errors import StoreError

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def scored(as_of=NOON, records="shop", version="1"):
    return Scored(records, as_of, 28, 3_000, {"churn": version})


def frames(customers=3_000):
    ids = [f"c{number:05d}" for number in range(customers)]
    scores = pd.DataFrame({name: [0.5] * customers for name in COLUMNS}).assign(customer_id=ids, value_tier="loyal")
    return scores, pd.DataFrame({"customer_id": ids, "as_of": NOON, "frequency": range(customers)})


def test_the_latest_comes_first_and_other_records_not_at_all(tmp_path):
    for day in (0, 2, 1):
        keep_scores(tmp_path, scored(NOON + timedelta(days=day)), *frames(10))
    keep_scores(tmp_path, scored(records="other"), *frames(10))
    found = list(kept_scores(tmp_path, "shop", NOON + timedelta(days=1)))
    assert [kept.facts.as_of for kept in found] == [NOON + timedelta(days=1), NOON]
    assert found[0].facts == scored(NOON + timedelta(days=1))
    pd.testing.assert_frame_equal(found[0].scores, frames(10)[0])


def test_the_same_models_again_take_the_place_and_others_stand_beside(tmp_path):
    first = keep_scores(tmp_path, scored(), *frames(10))
    assert keep_scores(tmp_path, scored(), *frames(20)) == first
    keep_scores(tmp_path, scored(version="2"), *frames(10))
    assert sorted(len(kept.scores) for kept in kept_scores(tmp_path, "shop", NOON)) == [10, 20]


def test_the_sample_of_features_is_the_same_customers_each_time(tmp_path):
    scores, snapshot = frames()
    for day, rows in ((0, snapshot), (1, snapshot.sample(frac=1, random_state=1))):
        keep_scores(tmp_path, scored(NOON + timedelta(days=day)), scores, rows)
    first, second = (set(kept.features["customer_id"]) for kept in kept_scores(tmp_path, "shop", NOON + timedelta(9)))
    assert first == second
    assert len(first) == MOST_FEATURE_ROWS


@pytest.mark.parametrize("name", ["scores.parquet", "manifest.json"])
def test_a_damaged_set_is_refused_and_named(tmp_path, name):
    place = keep_scores(tmp_path, scored(), *frames(10))
    (place / name).write_bytes(b"PAR1 not any more")
    with pytest.raises(StoreError, match=str(place)):
        next(kept_scores(tmp_path, "shop", NOON)).scores  # noqa: B018 (reading is the point)
