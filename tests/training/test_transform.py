"""Ranks of outcomes: even where distributions hold, skewed where they do not, in part where a step crosses an edge."""

import numpy as np
import pytest
from scipy import stats

from models.clv import ClvModel
from tests.models.test_demand import WINDOW, cutoff_rows
from training.transform import BINS, shares, transform


def test_ranks_of_the_true_distribution_are_even_also_for_counts():
    rng = np.random.default_rng(5)
    mean = rng.gamma(0.8, 2.0, 60_000)
    counts, true = rng.poisson(mean), stats.poisson(mean)
    ranks = shares(true.cdf(counts - 1), true.cdf(counts))
    assert ranks == pytest.approx(np.full(BINS, 1 / BINS), abs=0.004)
    assert ranks[1:-1].sum() == pytest.approx(0.9, abs=0.005)
    narrow = shares(*(stats.poisson(1.5 * mean).cdf(counts - back) for back in (1, 0)))
    assert narrow[1:-1].sum() < 0.88
    assert narrow[0] > 0.07  # too much was foretold, so what came ranks low


def test_a_step_counts_in_every_twentieth_that_it_crosses_and_a_point_in_one():
    assert shares(np.array([0.0]), np.array([0.2])) == pytest.approx(np.r_[np.full(4, 0.25), np.zeros(16)])
    point = shares(np.array([0.42]), np.array([0.42]))
    assert point[8] == 1
    assert point.sum() == 1


def test_what_came_above_the_served_percentile_ranks_above_it():
    rows = cutoff_rows(900, 50)
    model = ClvModel().fit(rows)
    days = WINDOW * 4  # long enough for nearly everybody to be expected to buy
    rows = rows.assign(actual_spend=rows["actual_spend"].where(rows["actual_spend"] > 0, 0.01) * 4)
    ranks = transform(model, rows, days)
    spread, outlook = model.spread_.over(days), model.outlook(rows, horizon_days=days)
    _, high = spread.value_range(outlook)
    spend = rows["actual_spend"].to_numpy()
    assert ranks["spend"][-1] == pytest.approx((spend > high).mean(), abs=1e-9)
    assert ranks["orders"].sum() == pytest.approx(1)
    _, most = spread.order_range(outlook)
    beyond = (rows["actual_orders"] > most).mean(), (rows["actual_orders"] >= most).mean()
    assert beyond[0] <= ranks["orders"][-1] <= beyond[1]
