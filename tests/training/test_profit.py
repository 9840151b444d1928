"""What a ranking earns: by hand, against empulse, by brute force where customers differ in worth."""

import numpy as np
import pytest
from empulse.metrics import empc_score
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from models.retention_offer import RetentionOffer
from perennial.errors import PerennialError
from training.metrics import Verdict, compare, evaluate
from training.profit import empc, expected_maximum_profit

rng = np.random.default_rng(3)
TRUTH = rng.beta(1, 3, 4000).round(3)  # rounded: equal scores are contacted together
OUTCOME = (rng.random(4000) < TRUTH).astype(float)
CLV = rng.gamma(1.0, 200.0, 4000)
ONCE = np.ones(4000)


def brute_force(outcome, score, clv, offer, steps=20_000):
    order = np.argsort(-score, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(score[order]) < 0), len(score) - 1]
    gain = np.r_[0, np.cumsum((outcome * (clv - offer.incentive_cost))[order])[ends]]
    cost = np.r_[0, np.cumsum((offer.contact_cost + (1 - outcome) * offer.incentive_cost)[order])[ends]]
    accepts = beta.ppf((np.arange(steps) + 0.5) / steps, *offer.acceptance)
    return np.mean([(accept * gain - cost).max() for accept in accepts]) / len(outcome)


def test_by_hand():
    """Two customers, churner first: contact only that one, and only if γ · 190 > 1; the mean of γ is 0.3."""
    pair, offer = np.array([1.0, 0.0]), RetentionOffer()
    found = expected_maximum_profit(pair, np.array([0.9, 0.1]), np.ones(2), 200.0, offer)
    assert found == pytest.approx((0.3 * 190 - 1) / 2, abs=1e-9)
    # the wrong way round both must be contacted: (γ · 190 − 1 − 11) / 2, when γ > 12 / 190
    wrong = expected_maximum_profit(pair, np.array([0.1, 0.9]), np.ones(2), 200.0, offer)
    assert wrong == pytest.approx((0.3 * 190 - 12) / 2, abs=1e-3)
    assert expected_maximum_profit(np.zeros(2), pair, np.ones(2), 200.0, offer) == 0.0


@pytest.mark.parametrize("costs", [{}, {"incentive_cost": 60.0, "contact_cost": 5.0}])
def test_equals_empulse_where_everyone_is_worth_the_same(costs):
    ours = expected_maximum_profit(OUTCOME, TRUTH, ONCE, 200.0, RetentionOffer(**costs))
    assert ours == pytest.approx(empc_score(OUTCOME, TRUTH, clv=200.0, **costs), rel=1e-9)


@pytest.mark.parametrize("offer", [RetentionOffer(), RetentionOffer(0.0, 40.0), RetentionOffer(3.0, 0.0, (2.0, 5.0))])
def test_equals_brute_force_where_customers_differ(offer):
    assert expected_maximum_profit(OUTCOME, TRUTH, ONCE, CLV, offer) == pytest.approx(
        brute_force(OUTCOME, TRUTH, CLV, offer), rel=1e-5
    )


def test_a_weight_counts_a_row_as_often():
    weight = rng.integers(0, 4, 4000)
    rows = np.repeat(np.arange(4000), weight)
    offer = RetentionOffer()
    assert expected_maximum_profit(OUTCOME, TRUTH, weight.astype(float), CLV, offer) == pytest.approx(
        expected_maximum_profit(OUTCOME[rows], TRUTH[rows], np.ones(len(rows)), CLV[rows], offer), rel=1e-12
    )


def test_money_says_what_cannot_be_told_apart():
    measures = {"empc": empc(CLV, RetentionOffer())}
    noise, nearly = rng.random(4000), TRUTH + rng.normal(0, 0.002, 4000)
    assert evaluate(measures, OUTCOME, TRUTH)["empc"].low > 0
    better = compare("empc", OUTCOME, TRUTH, noise, "noise", measures=measures)
    assert better.verdict is Verdict.BETTER
    assert "EMPC" in str(better)
    assert compare("empc", OUTCOME, TRUTH, nearly, "nearly", measures=measures).verdict is Verdict.NOT_DISTINGUISHABLE


@given(clv=st.floats(0, 1e6), probability=st.floats(0, 1), contact=st.floats(0, 100), incentive=st.floats(0.01, 1e3))
def test_contacting_pays_from_the_threshold_on(clv, probability, contact, incentive):
    offer = RetentionOffer(contact, incentive)
    profit, threshold = offer.expected_profit(np.array([probability]), clv)[0], offer.threshold(clv)
    if abs(profit) > 1e-6 * (clv + contact + incentive):
        assert (profit > 0) == (probability > threshold)


def test_costs_are_amounts():
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(PerennialError, match="contact cost is"):
            RetentionOffer(contact_cost=wrong)
