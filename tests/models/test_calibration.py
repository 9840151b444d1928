"""Probabilities come true as often as they say, on any number of rows."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from models.calibration import CURVE_MIN_ROWS, METHODS, Calibration, fit_calibration, simplest_adequate
from perennial.errors import ArtefactError


def _drawn(n, slope, intercept, seed=3):
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 2, n)
    return score, rng.random(n) < expit(intercept + slope * score)


def test_an_overconfident_score_is_pulled_in():
    score, labels = _drawn(4000, slope=0.5, intercept=-1.0)
    fitted = fit_calibration(score, labels, seed=1)
    fresh, outcome = _drawn(40_000, slope=0.5, intercept=-1.0, seed=4)
    probability = fitted.apply(fresh)
    assert abs(probability.mean() - outcome.mean()) < 0.02
    for low, high in ((0.0, 0.2), (0.2, 0.4), (0.4, 0.7)):
        inside = (probability > low) & (probability < high)
        assert abs(probability[inside].mean() - outcome[inside].mean()) < 0.03
    assert abs(expit(fresh).mean() - outcome.mean()) > 0.1  # the score itself was wrong


def test_a_logistic_truth_keeps_the_simplest_map():
    assert fit_calibration(*_drawn(3000, slope=0.8, intercept=0.3), seed=1).method == "platt"


def test_a_staircase_truth_earns_a_curve_with_rows_enough():
    rng = np.random.default_rng(0)
    score = rng.uniform(-4, 4, CURVE_MIN_ROWS)
    labels = rng.random(len(score)) < np.where(score < 0, 0.02, 0.5)
    assert fit_calibration(score, labels, seed=1).method in ("venn_abers", "isotonic")
    assert fit_calibration(score[1:], labels[1:], seed=1).method == "beta"


@pytest.mark.parametrize(("gain", "chosen"), [(0.002, "simple"), (0.02, "complex")])
def test_a_gain_within_one_standard_error_keeps_the_simple(gain: float, chosen: str):
    noise = np.tile([0.1, -0.1], 200)  # the gain's standard error is 0.005
    assert simplest_adequate({"simple": np.ones(400), "complex": 1.0 - gain + noise}) == chosen


@pytest.mark.parametrize("labels", [np.zeros(500, bool), np.ones(500, bool), np.arange(49) % 2 == 0])
def test_rows_that_cannot_teach_keep_the_score(labels):
    score = np.linspace(-3, 3, len(labels))
    fitted = fit_calibration(score, labels, seed=1)
    assert fitted.method == "identity"
    assert np.allclose(fitted.apply(score), expit(score), atol=1 / (len(labels) + 2))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 1500), st.floats(-3, 3), st.floats(0, 4))
def test_always_strictly_inside_and_never_falling(seed, n, intercept, slope):
    score, labels = _drawn(n, slope, intercept, seed)
    fitted = fit_calibration(score, labels, seed=seed)
    probability = fitted.apply(np.array([-1e6, -50.0, *np.linspace(-8, 8, 200), 50.0, 1e6]))
    assert ((probability > 0) & (probability < 1)).all()
    assert (np.diff(probability) >= 0).all()


def test_separable_classes_stay_finite():
    score = np.linspace(-5, 5, 200)
    fitted = fit_calibration(score, score > 0, seed=1)
    assert np.isfinite(fitted.weights).all()
    assert 0 < fitted.apply(score).min() < fitted.apply(score).max() < 1


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration("identity", 10),
        Calibration("platt", 100, weights=(0.1, 0.9)),
        Calibration("beta", 100, weights=(0.1, 0.9, 1.2)),
        Calibration("venn_abers", 2000, knots=((-1.0, 0.2), (0.5, 0.4), (2.0, 0.8))),
        Calibration("isotonic", 2000, knots=((-1.0, 0.1), (0.5, 0.4), (2.0, 0.8))),
    ],
)
def test_json_keeps_every_digit(calibration):
    again = Calibration.from_json(json.loads(json.dumps(calibration.to_json())))
    score = np.linspace(-4, 4, 99)
    assert np.array_equal(again.apply(score), calibration.apply(score))
    assert calibration.method in METHODS


def test_an_unknown_method_is_refused():
    with pytest.raises(ArtefactError, match="astrology"):
        Calibration.from_json({"method": "astrology", "rows": 1, "weights": [], "knots": []})
