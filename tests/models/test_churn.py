"""Churn: honest probabilities, exact shares, columns by name, an identical round trip, plain words when it fails."""

import dataclasses
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from models.churn import FILE, ChurnModel
from models.near_horizon import TREES_FILE
from models.shares import FEW_ROWS, TreeShares
from models.silence import DRIVERS
from models.sufficiency import Facts, grade
from perennial.errors import ArtefactError, InsufficientData, SourceError
from tests.models.shop import CUSTOMERS, HORIZON_DAYS, Rows, month, months


class World(NamedTuple):
    training: Rows
    calibration: Rows
    heldout: Rows


def _world(customers: int) -> World:
    return World(months((6, 5, 4, 3), customers), month(2, customers), month(1, customers))


def _fit(world: World) -> ChurnModel:
    model = ChurnModel(HORIZON_DAYS, num_threads=1)
    calibration = (world.calibration.snapshot, world.calibration.churned)
    return model.fit(world.training.snapshot, world.training.churned, calibration=calibration)


@pytest.fixture(scope="module")
def world() -> World:
    return _world(CUSTOMERS)


@pytest.fixture(scope="module")
def model(world: World) -> ChurnModel:
    return _fit(world)


@pytest.fixture(scope="module")
def small_world() -> World:
    return _world(300)


@pytest.fixture(scope="module")
def small(small_world: World) -> ChurnModel:
    return _fit(small_world)


@pytest.fixture(params=["trees", "blend", "alone"])
def any_model(request: pytest.FixtureRequest, model: ChurnModel, small: ChurnModel) -> Iterator[ChurnModel]:
    if request.param == "alone":
        yield small
        return
    blend = model.trees_.blend_
    model.trees_.blend_ = 0.0 if request.param == "trees" else 0.5
    yield model
    model.trees_.blend_ = blend


def test_a_later_month_comes_true(model: ChurnModel, world: World):
    later = world.heldout
    probability = model.predict_proba(later.snapshot)
    assert roc_auc_score(later.churned, probability) > 0.8
    assert abs(probability.mean() - later.churned.mean()) < 0.04
    assert (later.churned[probability > 0.7]).mean() > 0.6
    assert (later.churned[probability < 0.2]).mean() < 0.25


def test_the_calibration_window_sets_the_level(small: ChurnModel, small_world: World):
    """Where the later window saw twice the leavers, so do the predictions."""
    later = small_world.calibration
    worse = later.churned | (np.arange(len(later.churned)) % 3 == 0)
    refitted = _fit(small_world._replace(calibration=Rows(later.snapshot, worse)))
    for fitted, seen in ((small, later.churned), (refitted, worse)):
        assert abs(fitted.predict_proba(later.snapshot).mean() - seen.mean()) < 0.02


def test_no_resampling_keeps_the_base_rate_before_calibration(model: ChurnModel, world: World):
    raw = 1 / (1 + np.exp(-model.predict_log_odds(world.training.snapshot)))
    assert abs(raw.mean() - world.training.churned.mean()) < 0.02


def test_probabilities_are_never_certain(any_model: ChurnModel, world: World):
    extreme = world.heldout.snapshot.head(3).assign(
        frequency=[0.0, 900.0, 900.0], recency=[0.0, 900.0, 1.0], T=[900.0, 900.0, 900.0],
        days_since_last_order=[900.0, 0.0, 899.0],
    )  # fmt: skip
    probability = any_model.predict_proba(extreme)
    assert ((probability > 0) & (probability < 1)).all()


def test_contributions_add_up_to_the_log_odds(any_model: ChurnModel, world: World):
    snapshot = world.heldout.snapshot.head(300)
    shares = any_model.contributions(snapshot)
    assert shares.shape == (300, len(any_model.feature_names_))
    base = (any_model.predict_log_odds(snapshot) - shares.sum(axis=1))[0]
    assert np.allclose(shares.sum(axis=1) + base, any_model.predict_log_odds(snapshot), atol=1e-9)


def test_many_rows_get_the_shares_lightgbm_gives(model: ChurnModel, world: World):
    matrix = model.trees_.matrix(world.training.snapshot)
    assert len(matrix) > FEW_ROWS
    assert np.isnan(matrix).any()
    theirs = model.trees_.booster.predict(matrix, pred_contrib=True)[:, :-1]
    assert np.allclose(TreeShares(model.trees_.booster, 1)(matrix), theirs, rtol=0, atol=1e-12)


def test_the_stored_base_is_that_of_the_contributions(model: ChurnModel, small: ChurnModel, world: World):
    snapshot = world.heldout.snapshot.head(50)
    for fitted in (model, small):
        total = fitted.contributions(snapshot).sum(axis=1) + fitted.base_log_odds_
        assert np.allclose(total, fitted.predict_log_odds(snapshot), atol=1e-9)


def test_silence_raises_risk_where_the_purchases_model_stands_alone(small: ChurnModel, world: World):
    snapshot = world.heldout.snapshot
    shares = small.contributions(snapshot)[:, DRIVERS.index("days_since_last_order")]
    silent = snapshot["days_since_last_order"] > 60
    assert (shares[silent & (snapshot["frequency"] > 3)] > 0).all()


def test_a_round_trip_predicts_identically(any_model: ChurnModel, world: World):
    again = ChurnModel.from_files(any_model.to_files())
    snapshot = world.heldout.snapshot
    assert np.array_equal(again.predict_proba(snapshot), any_model.predict_proba(snapshot))
    assert np.array_equal(again.contributions(snapshot), any_model.contributions(snapshot))
    assert (again.grade_, again.facts_, again.feature_names_) == (
        any_model.grade_,
        any_model.facts_,
        any_model.feature_names_,
    )
    assert again.to_files() == any_model.to_files()


def test_the_same_rows_give_the_same_bytes_on_any_number_of_threads(model: ChurnModel, world: World):
    calibration = (world.calibration.snapshot, world.calibration.churned)
    again = ChurnModel(HORIZON_DAYS, num_threads=2)
    again.fit(world.training.snapshot, world.training.churned, calibration=calibration)
    theirs, ours = again.to_files(), model.to_files()
    assert theirs[FILE] == ours[FILE]
    assert theirs[TREES_FILE].replace(b"[num_threads: 2]", b"[num_threads: 1]") == ours[TREES_FILE]


def test_columns_are_found_by_name(any_model: ChurnModel, world: World):
    snapshot = world.heldout.snapshot
    shuffled = snapshot[snapshot.columns[::-1]].assign(unheard_of=1.0)
    assert np.array_equal(any_model.predict_proba(shuffled), any_model.predict_proba(snapshot))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns=["spend_90d", "gap_cv"]), "lacks the columns spend_90d, gap_cv"),
        (lambda rows: rows.rename(columns={"overdue_ratio": "overdue"}), "lacks the columns overdue_ratio"),
        (lambda rows: rows.drop(columns="recency"), "lacks the columns recency"),
        (lambda rows: rows.assign(spend_90d="much"), "spend_90d must hold numbers"),
        (lambda rows: rows.assign(spend_90d=np.inf), "spend_90d hold infinite values"),
    ],
)
def test_a_snapshot_it_cannot_read_is_refused_by_column(model: ChurnModel, world: World, change, message: str):
    with pytest.raises(SourceError, match=message):
        model.predict_proba(change(world.heldout.snapshot))


def test_unknown_values_are_scored(model: ChurnModel, world: World):
    unknown = world.heldout.snapshot.assign(spend_90d=np.nan, category_breadth=np.nan)
    assert np.isfinite(model.predict_proba(unknown)).all()


def test_a_column_that_never_varied_is_not_asked_for(model: ChurnModel, world: World):
    assert (world.training.snapshot["complaints_open"] == 0).all()
    assert "complaints_open" not in model.feature_names_
    model.predict_proba(world.heldout.snapshot.drop(columns="complaints_open"))


def test_few_customers_get_the_purchases_model_and_a_low_grade(small: ChurnModel, small_world: World):
    assert not small.facts_.boosted
    assert TREES_FILE not in small.to_files()
    assert small.grade_ in "CD"
    later = small_world.heldout
    assert roc_auc_score(later.churned, small.predict_proba(later.snapshot)) > 0.75


def test_one_outcome_in_training_falls_back(world: World):
    nobody_left = world._replace(training=Rows(world.training.snapshot, np.zeros(len(world.training.churned), bool)))
    fitted = _fit(nobody_left)
    assert not fitted.facts_.boosted
    assert fitted.grade_ == "D"


def _only(rows: Rows, mask: pd.Series) -> Rows:
    return Rows(rows.snapshot[mask].reset_index(drop=True), rows.churned[mask])


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (
            lambda rows: rows.snapshot["customer_id"] == rows.snapshot["customer_id"].iloc[0],
            "1 customers to learn from",
        ),
        (lambda rows: rows.snapshot["frequency"] == 0, "one day only"),
        (lambda rows: rows.churned, "nobody bought"),
        (lambda rows: ~rows.churned, "everybody bought"),
    ],
)
def test_nothing_to_tell_apart_is_said_plainly(world: World, choose, message: str):
    poor = World(*(_only(rows, choose(rows)) for rows in world))
    with pytest.raises(InsufficientData, match=message):
        _fit(poor)


def test_calibrating_on_an_earlier_snapshot_is_refused(world: World):
    with pytest.raises(ValueError, match="calibrate on a later snapshot"):
        _fit(world._replace(calibration=Rows(*(part[:500] for part in dataclasses.astuple(world.training)))))


@pytest.mark.parametrize("labels", [[0, 1], [0.5] * 10])
def test_labels_that_are_none_are_refused(world: World, labels):
    snapshot = world.calibration.snapshot.head(10)
    with pytest.raises(ValueError, match="10 values of 0 or 1"):
        ChurnModel(30).fit(snapshot, labels, calibration=(snapshot, labels))


@pytest.mark.parametrize(
    "damage",
    [
        lambda files: {FILE: files[FILE]},
        lambda files: {**files, FILE: b"{}"},
        lambda files: {**files, FILE: files[FILE][:-9]},
        lambda files: {**files, TREES_FILE: b"no trees here"},
        lambda files: {**files, FILE: json.dumps({**json.loads(files[FILE]), "boosting": {"forest": 1}}).encode()},
    ],
)
def test_a_damaged_artefact_is_refused(model: ChurnModel, damage):
    with pytest.raises(ArtefactError, match=r"train (it|or pull the model) again"):
        ChurnModel.from_files(damage(model.to_files()))


AMPLE = Facts(customers=5_000, rows=20_000, rarer_labels=1_000, calibration_rows=5_000, history_days=540, boosted=True)


@pytest.mark.parametrize(
    ("change", "letter"),
    [
        ({}, "A"),
        ({"customers": 4_999}, "B"),
        ({"rarer_labels": 199}, "C"),
        ({"history_days": 539}, "B"),
        ({"history_days": 359}, "C"),
        ({"boosted": False}, "C"),
        ({"history_days": 179}, "D"),
        ({"customers": 199}, "D"),
    ],
)
def test_the_grade_follows_its_table(change, letter: str):
    assert grade(dataclasses.replace(AMPLE, **change), horizon_days=90) == letter


def test_a_year_of_history_is_asked_of_the_best_grade_at_short_horizons():
    assert grade(dataclasses.replace(AMPLE, history_days=364), horizon_days=28) == "B"
