"""Scores are the customer's own: the same from Spark's workers, in any parts, as from one machine at once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.trained import company, put_on_shelf, today
from features.records import Records
from features.spark import on_spark
from perennial.settings import Settings
from serving.batch import read_scores, score_to
from serving.columns import COLUMN_NAMES
from serving.customers import customers_at
from serving.decisions.playbook import load_playbook
from serving.rows import Terms, features_read, score_rows
from serving.scoring import load_champions
from serving.store import Store


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    put_on_shelf(home / "models", company())
    return home


@pytest.mark.parametrize("pieces", [3, 40])
def test_who_else_is_scored_changes_nothing(home: Path, pieces: int) -> None:
    records, models, book = company(), load_champions(home / "models"), load_playbook(None)
    terms = Terms(today(records), models.churn.horizon_days, "margin", "EUR", "en", book, None)
    with customers_at(records, today(records), features_read(models, book)) as customers:
        whole, snapshot, context = customers.scored(models, terms), customers.snapshot, customers.context
    part = np.random.default_rng(pieces).integers(pieces, size=len(snapshot))
    scored = [
        score_rows(
            models,
            terms,
            snapshot[part == number].reset_index(drop=True),
            context[part == number].reset_index(drop=True),
        )
        for number in range(pieces)
        if (part == number).any()
    ]
    again = pd.concat(scored).sort_values("customer_id", ignore_index=True)
    pd.testing.assert_frame_equal(again, whole, check_exact=True)


def profiles(store: Store, records: Records) -> list[object]:
    return [store.profile(f"C{number:07}") for number in range(0, 1200, 50)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*(infer_string|copy keyword|drops timezone information)")
def test_score_files_from_spark_are_the_same_bytes(home: Path, spark_home: Path, tmp_path: Path) -> None:
    records = company()
    here = Settings(home=home, database_url=f"sqlite:///{tmp_path / 'here.db'}")
    there = Settings(home=home, database_url=f"sqlite:///{tmp_path / 'there.db'}")
    expected = score_to(tmp_path / "here", records, today(records), "zh", here)
    with on_spark(records, spark_home) as moved:
        manifest = score_to(tmp_path / "there", moved, today(records), "zh", there)
    assert manifest == expected  # which holds the sha256 of every file
    assert read_scores(tmp_path / "there").scores.shape == (manifest.customers, len(COLUMN_NAMES))
    stores = Store(here.store_url), Store(there.store_url)
    assert profiles(stores[0], records) == profiles(stores[1], records)
    for store in stores:
        store.close()
