"""Groups of customers leave in shares that lie inside the intervals around their probabilities."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import Calibration
from models.leave_interval import COVERAGE, GROUP, LeaveInterval, fit_interval, log_pace, pace_steps

FLAT = Calibration("identity", 1_000_000)


def _interval(steps: list[float], history_days: float = 500.0, windows: float = 1.0, rows: int = 20_000):
    rng = np.random.default_rng(1)
    log_odds = rng.normal(size=rows)
    labels = rng.random(rows) < FLAT.apply(log_odds)
    return fit_interval(FLAT, log_odds, labels, steps, windows=windows, history_days=history_days, seed=7)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 1.0), st.floats(0.0, 3.0), st.booleans())
def test_ends_lie_around_the_probability_and_never_outside_what_can_be(spread: float, windows: float, seen: bool):
    probability = np.linspace(1e-9, 1 - 1e-9, 201)
    around = LeaveInterval(windows, seen, ((0.0, spread),))
    low, high = around.around(probability, np.zeros(len(probability)))
    assert ((low >= 0) & (low <= probability) & (probability <= high) & (high <= 1)).all()


@pytest.mark.parametrize("probability", [0.005, 0.05, 0.3, 0.7, 0.97])
def test_of_a_hundred_customers_so_many_leave_in_nine_cases_of_ten(probability: float):
    """Where the pace of all customers moves as far as measured, groups of a hundred stay inside."""
    rng = np.random.default_rng(3)
    moved = 0.2
    pace = np.exp(rng.normal(0.0, moved, 4_000))
    left = rng.binomial(GROUP, probability**pace) / GROUP
    low, high = LeaveInterval(moved, True, ((0.0, 0.0),)).around(np.array([probability]), np.zeros(1))
    inside = ((left >= low) & (left <= high)).mean()
    assert inside > COVERAGE - 0.03
    assert high - low < 4 * np.hypot(np.std(probability**pace), 0.05)


def test_a_restless_past_and_a_far_horizon_widen_it():
    calm, restless = _interval([0.02, -0.02, 0.01]), _interval([0.4, -0.5, 0.3])
    assert restless.windows > 2 * calm.windows
    assert _interval([0.1], windows=3.0).windows == pytest.approx(_interval([0.1]).windows * np.sqrt(3))


def test_a_season_never_seen_widens_it():
    seen, unseen = _interval([0.1], history_days=365.0), _interval([0.1], history_days=364.0)
    assert (seen.season_seen, unseen.season_seen) == (True, False)
    assert unseen.windows > seen.windows


def test_fewer_rows_to_calibrate_on_widen_it():
    spreads = [np.mean([spread for _, spread in _interval([0.1], rows=rows).knots]) for rows in (200, 20_000)]
    assert spreads[0] > 5 * spreads[1]


def test_the_pace_is_found_again():
    probability = np.random.default_rng(0).uniform(0.05, 0.95, 200_000)
    left = np.random.default_rng(1).random(len(probability)) < probability**1.3
    assert log_pace(probability, left) == pytest.approx(np.log(1.3), abs=0.02)
    assert np.isfinite(log_pace(probability[:50], np.zeros(50, dtype=bool)))


def test_steps_are_taken_between_windows_that_do_not_overlap():
    rng = np.random.default_rng(2)
    moments = pd.date_range("2024-01-01", periods=5, freq="15D", tz="UTC")
    parts = []
    for number, moment in enumerate(moments):
        frequency = rng.poisson(3, 800).astype(float)
        age = rng.uniform(100, 300, 800)
        recency = np.where(frequency > 0, rng.uniform(0, age), 0.0)
        parts.append(
            pd.DataFrame(
                {
                    "as_of": moment,
                    "frequency": frequency,
                    "recency": recency,
                    "T": age,
                    "days_since_last_order": age - recency,
                    "churned": rng.random(800) < (0.8 if number == 4 else 0.5),
                }
            )
        )
    rows = pd.concat(parts, ignore_index=True)
    steps = pace_steps(rows, rows["churned"].to_numpy(), window_days=30)
    assert len(steps) == 3
    assert steps[2] < -0.8 < max(steps[:2]) < 0.3


def test_json_keeps_every_digit():
    interval = _interval([0.1])
    assert LeaveInterval.from_json(interval.to_json()) == interval
