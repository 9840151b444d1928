import numpy as np
import pytest
from scipy import special

from models.btyd_kernel import GeoLikelihood, GeoParams, discounted, expected_purchases
from models.histories import HistoryCounts, collapse

SHIFTS = (0, 1)  # BG/NBD, MBG/NBD: chances to leave before the first repeat purchase
PARAMS = GeoParams(r=0.6, alpha=20.0, a=0.8, b=2.5)


@pytest.mark.parametrize(("distinct", "width"), [(5, 3), (4000, 3), (100_000, 5)])
def test_collapsed_rows_are_the_distinct_ones_however_many(distinct, width):
    rng = np.random.default_rng(1)
    rows = rng.integers(0, distinct, (20_000, width)).astype(np.float64)
    rows = np.concatenate([rows, rows[::3]])
    collapsed = collapse(list(rows.T))
    expected, counts = np.unique(rows, axis=0, return_counts=True)
    np.testing.assert_array_equal(np.stack(collapsed.columns, axis=1), expected)
    np.testing.assert_array_equal(collapsed.counts, counts)
    np.testing.assert_array_equal(np.stack(collapsed.columns, axis=1)[collapsed.inverse], rows)


@pytest.mark.parametrize("shift", SHIFTS)
def test_derivatives_are_those_of_the_likelihood(cdnow, shift):
    rows = collapse([cdnow[name].to_numpy(np.float64) for name in ("frequency", "recency", "T")])
    objective, theta = GeoLikelihood(HistoryCounts(*rows.columns, rows.counts), shift), np.log([0.4, 3.0, 0.6, 2.0])
    _, gradient, hessian = objective(theta)
    steps = 1e-5 * np.eye(4)
    slopes = [(objective(theta + step)[0] - objective(theta - step)[0]) / 2e-5 for step in steps]
    bends = [(objective(theta + step)[1] - objective(theta - step)[1]) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6)
    np.testing.assert_allclose(hessian, bends, rtol=1e-6)


@pytest.mark.parametrize("shift", SHIFTS)
def test_likelihood_is_the_integral_it_stands_for(shift):
    params, x, t_x, age = GeoParams(0.7, 15.0, 1.3, 2.2), 3, 12.0, 20.0
    speed, speed_weight = special.roots_genlaguerre(120, params.r - 1)
    node, leave_weight = special.roots_jacobi(60, params.b - 1, params.a - 1)
    speed, leave, k = speed[:, None] / params.alpha, (node + 1) / 2, x + shift
    stays = (1 - leave) ** k * np.exp(-speed * age)
    left = leave * (1 - leave) ** (k - 1) * np.exp(-speed * t_x)
    mean = speed_weight @ (speed**x * (stays + left)) @ leave_weight / speed_weight.sum() / leave_weight.sum()
    rows = collapse([np.array([float(value)]) for value in (x, t_x, age)])
    value, _, _ = GeoLikelihood(HistoryCounts(*rows.columns, rows.counts), shift)(np.log(params))
    assert value == pytest.approx(np.log(mean), rel=1e-9)


def test_expected_purchases_exist_where_a_is_1():
    arrays = [np.array([3.0]), np.array([50.0]), np.array([4.0])]
    at, near = (expected_purchases(GeoParams(0.5, 9.0, a, 2.0), *arrays, 90.0)[0] for a in (1.0, 1 + 1e-9))
    assert at == pytest.approx(near, rel=1e-8)


def test_discounting_adds_up_the_increments():
    params, arrays = PARAMS, [np.array([4.0]), np.array([100.0]), np.array([5.0])]
    rate, edges = np.log(1.1) / 365, np.linspace(0, 365, 3651)
    counts = np.array([expected_purchases(params, *arrays, float(edge))[0] for edge in edges])
    expected = np.diff(counts) @ np.exp(-rate * (edges[1:] + edges[:-1]) / 2)
    x, age, k = arrays
    value = discounted(
        lambda time: expected_purchases(params, x, age, k, time), params.alpha + age, 365.0, rate, shortest=params.alpha
    )
    assert value[0] == pytest.approx(expected, rel=1e-7)
