"""Predictions against 25-digit integrals over the latent rates, to a million purchases."""

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from models import pareto_kernel, regularity
from models.btyd_kernel import GeoParams, discounted, expected_purchases, log_odds_left
from models.pareto_kernel import ParetoParams

CLOSE = 1e-10
HISTORIES = [(0, 0.0, 0.0), (0, 0.0, 1000.0), (1, 20.0, 25.0), (30, 290.0, 300.0), (1_000_000, 999.5, 1000.0)]
HORIZONS = (1.0, 365.0)
GEO = [
    (0.243, 30.9, 0.793, 2.426),
    (0.5, 10.0, 0.05, 0.3),  # a + b < 1: the published formula has a pole nearby
    (2.0, 5.0, 0.999999, 1.5),  # a next to 1, where it is 0/0
    (0.3, 4.0, 1.0005, 0.2),
    (1.5, 50.0, 3.0, 10.0),
    (0.3, 4.0, 0.01, 300.0),
]
PARETO = [
    (0.553, 74.0, 0.606, 81.7),
    (1.5, 10.0, 1.0, 300.0),  # s = 1, where the published formula is 0/0
    (0.3, 500.0, 2.5, 3.0),
    (0.05, 4.0, 0.05, 400.0),
]


def arrays(*values):
    return [np.array([float(value)]) for value in values]


def over_chances(function, a, stay):
    """E[function(p)] for p ~ Beta(a, stay), integrated over p^a, in panels between powers of ten of p."""
    a, stay = mpf(a), mpf(stay)
    places = [mpf(10) ** -n for n in range(12, 0, -1)] + [mpf("0.5")]
    edges = [mpf(0), *(place**a for place in places), mpf(1)]

    def integrand(w):
        p = w ** (1 / a)
        return function(p) * mpmath.exp((stay - 1) * mpmath.log1p(-p)) if 0 < p < 1 else mpf(0)

    return mpmath.quad(integrand, edges) / a / mpmath.beta(a, stay)


def exact_purchases(params, x, age, k, horizon):
    """A living customer who leaves with chance p after every purchase makes E[(1 - exp(-lambda p h))/p] of them."""
    r, alpha, a, b = map(mpf, params)
    lived = alpha + age
    return over_chances(lambda p: -mpmath.expm1(-(r + x) * mpmath.log1p(p * horizon / lived)) / p, a, b + k)


@pytest.mark.parametrize("params", GEO)
def test_expected_purchases_of_the_geometric_models(params):
    with mpmath.workdps(25):
        for x, _, age in HISTORIES:
            for horizon in HORIZONS:
                k = x + 1
                got = expected_purchases(GeoParams(*params), *arrays(x, age, k), horizon)[0]
                assert got == pytest.approx(float(exact_purchases(params, x, age, k, horizon)), rel=CLOSE)


@pytest.mark.parametrize("x", [0, 3, 200])
@pytest.mark.parametrize("params", [(0.2, 3.36, 436.0, 3367.0), (3.0, 3.36, 900.0, 20.0)])
def test_expected_purchases_where_everybody_leaves_with_nearly_the_same_chance(params, x):
    """So large an a and b take the hypergeometric function beyond every float; its terms are all positive."""
    r, alpha, a, b = map(mpf, params)
    age, horizon, k = 6, 90, x
    with mpmath.workdps(25):
        z, c = horizon / (alpha + age + horizon), a + b + k - 1
        term, total, n = mpf(1), mpf(1), 0
        while n < 2 * c or term > total * mpf(10) ** -20:
            term *= (c - r - x + n) * (a - 1 + n) / ((c + n) * (n + 1)) * z
            total, n = total + term, n + 1
        exact = c / (a - 1) * (1 - (1 - z) ** (a - 1) * total)
    got = expected_purchases(GeoParams(*params), *arrays(x, age, k), horizon)[0]
    assert got == pytest.approx(float(exact), rel=CLOSE)


@pytest.mark.parametrize("params", [GEO[0], GEO[4]])
def test_discounted_purchases_of_the_geometric_models(params):
    """Over all time E[lambda/(rate + lambda p)] = E[(1 - E[1/(1 + lambda p/rate)])/p], the inner z e^z E_shape(z)."""
    r, alpha, a, b = params
    rate = np.log(1.1) / 365
    for x, age in ((0, 0.0), (2, 100.0)):
        lived, shape, (xs, ages) = alpha + age, r + x, arrays(x, age)

        def per_chance(p, lived=lived, shape=shape):
            z = rate * lived / p
            return (1 - z * mpmath.exp(z) * mpmath.expint(shape, z)) / p if z < 1e6 else shape / (rate * lived)

        with mpmath.workdps(25):
            want = float(over_chances(per_chance, a, b + x + 1))

        def count(time, xs=xs, ages=ages):
            return expected_purchases(GeoParams(*params), xs, ages, xs + 1, time)

        assert discounted(count, alpha + ages, np.inf, rate, shortest=alpha)[0] == pytest.approx(want, rel=CLOSE)


def wishes_to_come(params, x, t_x, age, horizon, k_erlang, upto):
    """Probabilities of 0 … upto - 1 wishes since the last purchase, given fewer than k_erlang of them before today."""
    r, alpha, *_ = map(mpf, params)
    shape, lived = r + k_erlang * x, alpha + age
    u, z = (age - t_x) / lived, horizon / (lived + horizon)
    weights = [mpmath.rf(shape, j) / mpmath.factorial(j) * u**j for j in range(k_erlang)]
    total = [mpf(0)] * upto
    for j, weight in enumerate(weights):
        probability = (1 - z) ** (shape + j) * weight / sum(weights)
        for m in range(j, upto):
            total[m] += probability
            probability *= (shape + m) / (m - j + 1) * z
    return total


@pytest.mark.parametrize("k_erlang", [2, 3])
@pytest.mark.parametrize("params", [GEO[0], GEO[1], GEO[4]])
def test_predictions_of_regular_customers(params, k_erlang):
    geo = GeoParams(*params)
    for x, t_x, age in ((0, 0.0, 10.0), (3, 40.0, 90.0), (40, 290.0, 300.0)):
        horizon, history = 60.0, arrays(x, t_x, age)
        with mpmath.workdps(25):
            wishes = wishes_to_come(params, x, t_x, age, horizon, k_erlang, 1500)
            a, stay, purchases, survives, mean = mpf(params[2]), mpf(params[3]) + x + 1, mpf(0), mpf(1), mpf(0)
            for m, probability in enumerate(wishes):
                if m and m % k_erlang == 0:
                    purchases, n = purchases + survives, m // k_erlang - 1
                    survives *= (stay + n) / (a + stay + n)
                mean += probability * purchases
            none = sum(wishes[:k_erlang])
        got = regularity.expected_purchases(geo, *history, history[0] + 1, horizon, k_erlang)[0]
        assert got == pytest.approx(float(mean), rel=CLOSE)
        silent = regularity.log_no_purchase(geo, *history, horizon, k_erlang)[0]
        assert silent == pytest.approx(float(mpmath.log(none)), rel=CLOSE)


@pytest.mark.parametrize("params", GEO)
def test_both_ways_to_expected_purchases_agree_however_many(params):
    for x in (0, 30, 5000, 1_000_000):
        history = arrays(x, min(x, 990.0), 1000.0)
        one = regularity.expected_purchases(GeoParams(*params), *history, history[0] + 1, 365.0, 1)
        other = expected_purchases(GeoParams(*params), history[0], history[2], history[0] + 1, 365.0)
        np.testing.assert_allclose(one, other, rtol=CLOSE)


def exact_integral(p, a, q, b, length, also=lambda y: 1):
    """The integral of (1+y/a)^-p (1+y/b)^-q also(y), in panels as narrow as the integrand near 0."""
    p, a, q, b, length = map(mpf, (p, a, q, b, length))
    width = min(a, b, a / p)
    edges = [mpf(0)]
    step = width
    while edges[-1] + step < length and len(edges) < 60:
        edges.append(edges[-1] + step)
        step *= 2
    return mpmath.quad(lambda y: (1 + y / a) ** -p * (1 + y / b) ** -q * also(y), [*edges, length])


@pytest.mark.parametrize("params", PARETO)
def test_predictions_of_pareto_nbd(params):
    model, (r, alpha, s, beta) = ParetoParams(*params), params
    for x, t_x, age in HISTORIES:
        xs, ts, ages = arrays(x, t_x, age)
        with mpmath.workdps(25):
            p, a, b = mpf(r) + x, mpf(alpha) + age, mpf(beta) + age
            if age > t_x:
                left = s / (mpf(beta) + t_x) * exact_integral(p, alpha + t_x, s + 1, beta + t_x, age - t_x)
                silence = mpf(age) - t_x
                odds = mpmath.log(left) + p * mpmath.log1p(silence / (alpha + t_x))
                odds += s * mpmath.log1p(silence / (beta + t_x))
                assert pareto_kernel.log_odds_left(model, xs, ts, ages)[0] == pytest.approx(float(odds), rel=CLOSE)
            for horizon in HORIZONS:
                some = p / a * exact_integral(p + 1, a, s, b, horizon)
                none = (1 + horizon / a) ** -p * (1 + horizon / b) ** -mpf(s)
                none += s / b * exact_integral(p, a, s + 1, b, horizon)
                assert float(some + none) == pytest.approx(1, rel=1e-15)
                got = pareto_kernel.log_no_purchase(model, xs, ages, horizon)[0]
                assert got == pytest.approx(float(mpmath.log(none)), rel=CLOSE)
                mean = p / a * mpmath.quad(lambda y, b=b: (1 + y / b) ** -mpf(s), [0, horizon / 10, horizon])
                got = pareto_kernel.expected_purchases(model, xs, ages, horizon)[0]
                assert got == pytest.approx(float(mean), rel=CLOSE)


@pytest.mark.parametrize("params", PARETO)
def test_discounted_transactions_of_pareto_nbd_are_the_published_formula(params):
    """Fader, Hardie & Lee (2005), equation 2: with the confluent hypergeometric function of the second kind."""
    r, alpha, s, beta = params
    rate = np.log(1.1) / 365
    for x, _, age in HISTORIES:
        with mpmath.workdps(25):
            z = rate * (mpf(beta) + age)
            dert = (mpf(r) + x) / (mpf(alpha) + age) * z ** mpf(s) / rate * mpmath.hyperu(s, s, z)
        got = pareto_kernel.discounted_purchases(ParetoParams(*params), *arrays(x, age), np.inf, rate)[0]
        assert got == pytest.approx(float(dert), rel=CLOSE)


@pytest.mark.parametrize("params", PARETO[:3])
def test_counts_of_pareto_nbd(params):
    r, alpha, s, beta = params
    for x, age in ((0, 0.0), (2, 100.0), (400, 300.0)):
        for n in (1, 4, 60):
            with mpmath.workdps(25):
                p, a, b, h = mpf(r) + x, mpf(alpha) + age, mpf(beta) + age, mpf(90)
                ways = mpmath.rf(p, n) / mpmath.factorial(n)
                peak = min(a * n / p, h)
                edges = sorted({mpf(0), *(peak * step / 8 for step in range(1, 24) if peak * step / 8 < h), h})
                leaves = mpmath.quad(
                    lambda t, p=p, a=a, b=b, n=n: (t / (a + t)) ** n * (1 + t / a) ** -p * (1 + t / b) ** -(mpf(s) + 1),
                    edges,
                )
                stays = (h / (a + h)) ** n * (1 + h / a) ** -p * (1 + h / b) ** -mpf(s)
                want = ways * (stays + s / b * leaves)
            got = pareto_kernel.count_probability(ParetoParams(*params), *arrays(x, age), 90.0, n)[0]
            assert got == pytest.approx(float(want), rel=CLOSE)


def test_waiting_times_bring_the_purchase_with_the_probability_asked_for():
    model, x, age = ParetoParams(*PARETO[0]), np.array([0.0, 2, 50, 1e6]), np.array([5.0, 80, 300, 1000])
    ever = pareto_kernel.purchase_probability(model, x, age, 1e300)
    time = pareto_kernel.waiting_time(model, x, age, 0.9 * ever)
    np.testing.assert_allclose(pareto_kernel.purchase_probability(model, x, age, time), 0.9 * ever, rtol=1e-10)
    assert np.isnan(pareto_kernel.waiting_time(model, x[:1], age[:1], ever[:1] * 1.01)).all()
    geo = GeoParams(*GEO[0])
    share = np.array([0.3, 0.5, 0.9, 0.5])
    time = regularity.waiting_time(geo, x, age * 0.8 * (x > 0), age, share, 3)
    none = np.exp(regularity.log_no_purchase(geo, x, age * 0.8 * (x > 0), age, time, 3))
    np.testing.assert_allclose(1 - none, share, rtol=1e-9)


def test_log_odds_of_regular_customers_compare_the_two_ways_to_be_silent():
    geo, (x, t_x, age) = GeoParams(*GEO[0]), arrays(3, 40.0, 90.0)
    shape, lived = geo.r + 2 * 3, geo.alpha + 90.0
    waiting = 1 + shape * 50.0 / lived
    odds = geo.a / (geo.b + 3) * (lived / (geo.alpha + 40.0)) ** shape / waiting
    assert np.exp(log_odds_left(geo, x, t_x, age, x + 1, 2))[0] == pytest.approx(odds, rel=1e-12)
