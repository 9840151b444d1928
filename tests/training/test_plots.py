"""Pictures: valid, the same bytes for the same numbers, and right about ties and extremes."""

import numpy as np
import pytest

from training import plots, value_plots

rng = np.random.default_rng(0)
PROBABILITY = rng.beta(1, 3, 500)
OUTCOME = (rng.random(500) < PROBABILITY).astype(float)
DAYS = np.arange(0, 200, 7.0)

PICTURES = {
    "calibration": lambda: plots.calibration(OUTCOME, PROBABILITY, 28),
    "decile_lift": lambda: plots.decile_lift(OUTCOME, PROBABILITY, rng.integers(0, 3, 500).astype(float), "the rule"),
    "cumulative": lambda: value_plots.cumulative_tracking(DAYS, DAYS * 3, DAYS * 2.9, 150.0),
    "nothing_came": lambda: value_plots.cumulative_tracking(DAYS, DAYS * 0, DAYS * 0, 150.0),
    "frequency": lambda: value_plots.frequency_bins(np.array([5.0, 3, 1]), np.array([4.0, 3, 2]), 28),
    "incremental": lambda: value_plots.incremental_tracking(DAYS, DAYS * 0.9, 20.0),
    "past": lambda: value_plots.past_purchases(["0", "1+"], *np.array([[1.0, 2], [1, 3], [2, 2]]), 28),
    "intervals": lambda: value_plots.interval_calibration({"orders": np.full(20, 0.05), "spend": np.eye(20)[3]}, 28),
    "alive": lambda: value_plots.alive_matrix(DAYS, np.arange(9.0), rng.random((9, len(DAYS))), 200.0),
    "history": lambda: value_plots.customer_history([0, 9, 30], DAYS, np.exp(-DAYS / 90), "customer 7"),
    "value": lambda: value_plots.value_distribution(rng.gamma(0.5, 90, 400), 365, "USD"),
    "no_value": lambda: value_plots.value_distribution(np.zeros(5), 365, "USD"),
    "tiers": lambda: plots.tier_value(["champions", "at_risk"], np.array([90.0, -3]), np.array([10.0, 20]), 28, "USD"),
    "three_customers": lambda: plots.calibration(OUTCOME[:3], PROBABILITY[:3], 28),
    "all_left": lambda: plots.decile_lift(np.ones(50), PROBABILITY[:50], PROBABILITY[:50], "the rule"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_is_a_png_without_a_warning(name):
    assert PICTURES[name]().startswith(b"\x89PNG\r\n")


def test_same_numbers_same_bytes():
    assert PICTURES["calibration"]() == PICTURES["calibration"]()


def test_tied_scores_share_their_rate():
    rates = plots._rate_by_tenth(np.r_[np.ones(50), np.zeros(50)], np.zeros(100))
    assert rates == pytest.approx(np.full(10, 0.5))


def test_intervals_hold_even_where_nobody_left():
    _, observed, low, high = plots._deciles(np.zeros(100), np.linspace(0, 0.5, 100))
    assert (observed == 0).all()
    assert low == pytest.approx(np.zeros(10), abs=1e-12)
    assert high == pytest.approx(np.full(10, 1.96**2 / (10 + 1.96**2)))  # Wilson at 0 of 10
