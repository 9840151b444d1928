"""The search goes forward in time, repeats itself, stays within its bounds and must win on a later window."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from features.catalogue import MODEL_FEATURES
from models.churn import SHAPE
from tests.models.shop import HORIZON_DAYS, Rows, month, months
from training.search import MOST_LEAVES, Search, search

CHEAP = MODEL_FEATURES[:12]


def _labelled(rows: Rows) -> pd.DataFrame:
    return rows.snapshot.assign(churned=rows.churned)


def _search(learn: pd.DataFrame, calibrate: pd.DataFrame, trials: int = 4) -> Search:
    return search(learn, calibrate, CHEAP, HORIZON_DAYS, trials=trials, seed=7, num_threads=1)


@pytest.fixture(scope="module")
def learn() -> pd.DataFrame:
    return _labelled(months((5, 4, 3)))


@pytest.fixture(scope="module")
def calibrate() -> pd.DataFrame:
    return _labelled(month(2))


@pytest.fixture(scope="module")
def found(learn: pd.DataFrame, calibrate: pd.DataFrame) -> Search:
    return _search(learn, calibrate)


def test_the_same_rows_and_seed_give_the_same_trials(found: Search, learn: pd.DataFrame, calibrate: pd.DataFrame):
    assert _search(learn, calibrate) == found
    assert len(found.trials) == 4
    assert json.loads(found.to_files()["search.json"])["trials"] == [dict(trial) for trial in found.trials]


def test_the_shipped_shape_is_tried_first_and_none_is_dearer(found: Search):
    first = {name: found.trials[0][name] for name in dataclasses.asdict(SHAPE)}
    assert first == dataclasses.asdict(SHAPE)
    assert all(trial["trees"] * trial["leaves"] <= MOST_LEAVES for trial in found.trials)


def test_trials_know_nothing_of_the_calibration_window(found: Search, learn: pd.DataFrame, calibrate: pd.DataFrame):
    upside_down = calibrate.assign(churned=~calibrate["churned"])
    assert _search(learn, upside_down).trials == found.trials


def test_trials_are_judged_on_the_newest_training_cutoff(found: Search, learn: pd.DataFrame, calibrate: pd.DataFrame):
    newest = learn["as_of"] == learn["as_of"].max()
    upside_down = learn.assign(churned=np.where(newest, ~learn["churned"], learn["churned"]))
    losses = [[trial["log_loss"] for trial in search.trials] for search in (found, _search(upside_down, calibrate))]
    assert min(losses[1]) > max(losses[0]) + 0.1


def test_without_a_second_closed_window_there_is_no_search(learn: pd.DataFrame, calibrate: pd.DataFrame):
    alone = learn[learn["as_of"] == learn["as_of"].max()]
    assert _search(alone, calibrate) == Search(SHAPE, _search(alone, calibrate).reason)
    assert "second training cutoff" in _search(alone, calibrate).reason
