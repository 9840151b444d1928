"""A horizon longer than any closed window: learned over the windows there are, carried on by today's histories."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from models.churn import ChurnModel
from models.far_horizon import HEADS, LEVEL_FILE
from models.silence import SilenceModel
from tests.models.shop import HORIZON_DAYS, Rows, month, months

FAR_DAYS = 60


class World(NamedTuple):
    training: Rows
    calibration: Rows
    today: pd.DataFrame
    churned: np.ndarray


@pytest.fixture(scope="module")
def world() -> World:
    """Windows of 30 days closed at a cutoff after which 60 days are known."""
    today, next_month = month(2), month(1)
    silent_next = dict(zip(next_month.snapshot["customer_id"], next_month.churned, strict=True))
    churned = today.churned & today.snapshot["customer_id"].map(silent_next).to_numpy(dtype=bool)
    return World(months((6, 5, 4)), month(3), today.snapshot, churned)


def _carried_back(model: ChurnModel, rows: pd.DataFrame) -> np.ndarray:
    return model.silence_.log_odds(rows) - model.silence_.log_odds(rows, FAR_DAYS)


@pytest.fixture(scope="module")
def model(world: World) -> ChurnModel:
    fitted = ChurnModel(FAR_DAYS, window_days=HORIZON_DAYS, num_threads=1)
    later = (world.calibration.snapshot, world.calibration.churned)
    return fitted.fit(world.training.snapshot, world.training.churned, calibration=later, today=world.today)


def test_what_came_over_the_far_horizon_was_foreseen(model: ChurnModel, world: World):
    probability = model.predict_proba(world.today)
    assert abs(probability.mean() - world.churned.mean()) < 0.05
    assert roc_auc_score(world.churned, probability) > 0.88
    near = expit(model.trees_.log_odds_of_heads(world.today)[LEVEL_FILE] + _carried_back(model, world.today))
    assert near.mean() > world.churned.mean() + 0.05  # the window's own silence would say too much


def test_it_extrapolates_from_the_latest_histories(model: ChurnModel, world: World):
    at_today = SilenceModel(HORIZON_DAYS).fit(world.today)
    assert model.silence_.purchases_.params_ == at_today.purchases_.params_
    assert model.calibration_.method == "identity"
    assert model.grade_ >= "C"


def test_the_far_horizon_is_rarer_to_stay_silent_in_for_everyone(model: ChurnModel, world: World):
    nearer = ChurnModel(45, window_days=HORIZON_DAYS, num_threads=1)
    later = (world.calibration.snapshot, world.calibration.churned)
    nearer.fit(world.training.snapshot, world.training.churned, calibration=later, today=world.today)
    assert (model.predict_proba(world.today) < nearer.predict_proba(world.today)).all()


def test_contributions_add_up_and_the_files_keep_them(model: ChurnModel, world: World):
    rows = world.today.head(200)
    shares = model.contributions(rows)
    assert np.allclose(shares.sum(axis=1) + model.base_log_odds_, model.predict_log_odds(rows), atol=1e-9)
    files = model.to_files()
    assert set(HEADS) < set(files)
    again = ChurnModel.from_files(files)
    assert np.array_equal(again.contributions(rows), shares)
    assert again.to_files() == files


def test_few_customers_are_left_to_the_purchases_model(world: World):
    few = {name: rows[:300] for name, rows in zip(("X", "y"), (month(4).snapshot, month(4).churned), strict=True)}
    later = (world.calibration.snapshot[:300], world.calibration.churned[:300])
    fitted = ChurnModel(FAR_DAYS, window_days=HORIZON_DAYS).fit(**few, calibration=later, today=world.today[:300])
    assert fitted.trees_ is None
    alone = fitted.silence_.purchases_.predict_no_purchase(world.today, horizon_days=FAR_DAYS)
    assert np.allclose(fitted.predict_proba(world.today), alone, atol=1 / 300)
