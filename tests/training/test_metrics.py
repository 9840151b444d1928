"""Measures against hand sums, scikit-learn and their own definitions; intervals against known truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from perennial.errors import InsufficientData
from training import metrics
from training.metrics import CHURN_MEASURES, Verdict, compare, corrected, evaluate


@pytest.fixture(scope="module")
def drawn():
    """1,200 outcomes, their true probabilities rounded so that there are ties, and integer weights."""
    rng = np.random.default_rng(3)
    log_odds = rng.normal(-0.5, 1.4, 1200)
    probability = np.round(1 / (1 + np.exp(-log_odds)), 2).clip(0.01, 0.99)
    outcome = (rng.random(1200) < probability).astype(float)
    return outcome, probability, rng.integers(0, 4, 1200).astype(float)


@pytest.mark.parametrize(
    ("name", "oracle"), [("auc", roc_auc_score), ("log_loss", log_loss), ("brier", brier_score_loss)]
)
def test_weighted_measures_equal_scikit_learn(drawn, name, oracle):
    outcome, probability, weight = drawn
    assert CHURN_MEASURES[name](outcome, probability, weight) == pytest.approx(
        oracle(outcome, probability, sample_weight=weight), abs=1e-12
    )


def test_rank_correlation_equals_scipy_ties_included(drawn):
    outcome, probability, _ = drawn
    for came in (outcome, np.round(probability * 5 + outcome)):
        expected = stats.spearmanr(came, probability).statistic
        assert metrics.spearman(came, probability, np.ones(len(came))) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(metrics.spearman(outcome, np.ones(len(outcome)), np.ones(len(outcome))))


def test_a_weight_is_a_repeated_row(drawn):
    outcome, probability, weight = drawn
    again = weight.astype(int)
    for name, measure in metrics.COMPARED_MEASURES.items():
        repeated = measure(np.repeat(outcome, again), np.repeat(probability, again), np.ones(again.sum()))
        assert measure(outcome, probability, weight) == pytest.approx(repeated, abs=1e-9), name


def test_calibration_slope_is_the_logistic_regression_on_the_log_odds(drawn):
    outcome, probability, weight = drawn
    overconfident = 1 / (1 + ((1 - probability) / probability) ** 2)  # log-odds doubled
    design = np.log(probability / (1 - probability))[:, None] * 2
    oracle = LogisticRegression(C=np.inf, tol=1e-10).fit(design, outcome, weight).coef_[0, 0]
    assert metrics.calibration_slope(outcome, overconfident, weight) == pytest.approx(oracle, abs=1e-5)
    assert oracle < 0.65


def test_lift_gini_and_gap_by_hand():
    even = np.ones(20)
    outcome = np.r_[np.ones(5), np.zeros(15)]
    assert metrics.top_decile_lift(outcome, -np.arange(20.0), even) == pytest.approx(4.0)
    assert metrics.top_decile_lift(outcome, even, even) == pytest.approx(1.0)  # all tied: no lift, whatever the order
    assert metrics.calibration_gap(outcome, np.full(20, 0.3), even) == pytest.approx(0.05)
    spend = np.array([8.0, 4.0, 2.0, 0.0, -3.0])
    assert metrics.normalised_gini(spend, spend, np.ones(5)) == pytest.approx(1.0)
    assert metrics.normalised_gini(spend, -spend, np.ones(5)) < -0.9
    assert metrics.normalised_gini(spend, np.ones(5), np.ones(5)) == pytest.approx(0.0)
    # Captured shares 4/14, 12/14, 14/14 … in the order 4, 8, 2: area by trapezoids over the same for 8, 4, 2.
    swapped = (2 * (4 + 12 + 14 + 14) / 14 + 1) / 5 - 1
    perfect = (2 * (8 + 12 + 14 + 14) / 14 + 1) / 5 - 1
    assert metrics.normalised_gini(spend, np.array([4.0, 8, 2, 0, -3]), np.ones(5)) == pytest.approx(swapped / perfect)
    assert metrics.rmse(spend, spend + 2, np.ones(5)) == pytest.approx(2.0)
    assert metrics.bias(spend, spend * 1.1, np.ones(5)) == pytest.approx(0.1)


def test_intervals_cover_the_truth_and_are_repeatable():
    """The gap's bootstrap standard error equals the textbook one; the same seed gives the same interval."""
    rng = np.random.default_rng(0)
    outcome = (rng.random(2000) < 0.3).astype(float)
    found = evaluate(CHURN_MEASURES, outcome, np.full(2000, 0.3), seed=5)
    assert found == evaluate(CHURN_MEASURES, outcome, np.full(2000, 0.3), seed=5) or np.isnan(
        found["calibration_slope"].value
    )
    gap = found["calibration_gap"]
    assert (gap.high - gap.low) / (2 * 1.96) == pytest.approx(outcome.std() / np.sqrt(2000), rel=0.15)
    assert gap.low < gap.value < gap.high


def test_rows_of_one_customer_stay_together():
    """Twenty copies of a row teach nothing new: the interval is that of the customers, not of the rows."""
    rng = np.random.default_rng(0)
    outcome = np.repeat((rng.random(100) < 0.4).astype(float), 20)
    even = np.full(2000, 0.4)
    measure = {"brier": metrics.brier, "calibration_gap": metrics.calibration_gap}
    together = evaluate(measure, outcome, even, customer=np.repeat(np.arange(100), 20).tolist())["calibration_gap"]
    apart = evaluate(measure, outcome, even)["calibration_gap"]
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(np.sqrt(20), rel=0.25)


def test_a_p_value_is_that_of_a_paired_z_test_of_a_mean(drawn):
    outcome, probability, _ = drawn
    other = np.clip(probability + np.random.default_rng(5).normal(0, 0.12, len(outcome)), 0, 1)
    each = (probability - outcome) ** 2 - (other - outcome) ** 2
    tail = 2 * stats.norm.sf(abs(each.mean()) / (each.std(ddof=1) / np.sqrt(len(each))))
    assert 1e-6 < tail < 0.05
    found = compare("brier", outcome, probability, other, "another")
    assert np.log10(found.p_value) == pytest.approx(np.log10(tail), abs=0.4)  # a few hundred draws
    assert compare("brier", outcome, probability, probability, "itself").p_value == 1


def test_a_family_is_corrected_by_holm(drawn):
    outcome, probability, _ = drawn
    one = compare("log_loss", outcome, probability, np.full(len(outcome), 0.5), "a coin", of="churn")
    family = [replace(one, p_value=p) for p in (0.01, 0.04, 0.03, 0.005)]
    family.append(replace(one, p_value=0.001, difference=metrics.Interval(0.2, 0.1, 0.3)))
    judged = corrected(family)
    assert [found.p_value for found in judged] == pytest.approx([0.03, 0.06, 0.06, 0.02, 0.005])
    better, unclear = Verdict.BETTER, Verdict.NOT_DISTINGUISHABLE
    assert [found.verdict for found in judged] == [better, unclear, unclear, better, Verdict.WORSE]


def test_chance_alone_rarely_looks_like_a_difference_anywhere_in_a_family():
    rng, alarms = np.random.default_rng(11), 0
    for seed in range(60):
        outcome = (rng.random(300) < 0.4).astype(float)
        two = [np.clip(0.4 + rng.normal(0, 0.1, 300), 0.01, 0.99) for _ in range(2)]
        family = [compare(name, outcome, *two, "its equal", seed=seed) for name in ("auc", "log_loss", "brier")]
        alarms += any(found.verdict is not Verdict.NOT_DISTINGUISHABLE for found in corrected(family))
    assert alarms <= 7  # 3 expected, more than 7 once in fifty


def test_verdicts_say_what_the_interval_allows(drawn):
    outcome, probability, _ = drawn
    noise = np.random.default_rng(1).random(len(outcome))
    assert compare("auc", outcome, probability, noise, "a coin").verdict is Verdict.BETTER
    assert compare("auc", outcome, noise, probability, "the truth").verdict is Verdict.WORSE
    assert compare("log_loss", outcome, probability, noise.clip(0.01), "a coin").verdict is Verdict.BETTER
    close = compare("auc", outcome, probability, probability + noise * 1e-3, "nearly itself")
    assert close.verdict is Verdict.NOT_DISTINGUISHABLE
    assert str(close).startswith("not distinguishable from nearly itself: AUC 0.")


@pytest.mark.parametrize(
    ("outcome", "prediction"), [([], []), ([1.0, 0.0], [0.5]), ([1.0, 0.0], [0.5, np.nan]), ([np.inf, 0.0], [0.5, 0.5])]
)
def test_what_cannot_be_measured_is_refused(outcome, prediction):
    with pytest.raises(InsufficientData):
        evaluate(CHURN_MEASURES, outcome, prediction)


def test_an_interval_holds_its_value_even_where_calibration_is_exact(drawn):
    outcome, probability, _ = drawn
    exact = probability + outcome.mean() - probability.mean()
    for name, interval in evaluate(CHURN_MEASURES, outcome, exact.clip(0, 1)).items():
        assert interval.low <= interval.value <= interval.high, name
