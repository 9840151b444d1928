import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from models.spend import GammaGammaModel
from models.spend_kernel import GammaGammaLikelihood
from perennial.errors import ArtefactError, ConvergenceError, InsufficientData

TRUTH = {"p": 4.0, "q": 5.0, "v": 40.0}


def spenders(n, seed, q=TRUTH["q"]):
    """Customers of known parameters: the mean of their past purchases and what the next one costs."""
    rng = np.random.default_rng(seed)
    x = rng.geometric(0.3, n).astype(np.float64)
    rate = rng.gamma(q, 1 / TRUTH["v"], n)
    mean = rng.gamma(TRUTH["p"] * x) / rate / x
    return pd.DataFrame({"frequency": x, "monetary_value": mean, "next": rng.gamma(TRUTH["p"], 1 / rate)})


def test_the_published_cdnow_fit_is_reproduced(cdnow):
    model = GammaGammaModel().fit(cdnow)
    assert model.n_customers_ == 946
    assert model.log_likelihood_ == pytest.approx(-4055.92, abs=0.01)
    # Fader & Hardie (2013), section 5
    assert model.params_ == pytest.approx({"p": 6.25, "q": 3.74, "v": 15.44}, abs=1e-2)


def test_lifetimes_agrees(cdnow, oracle):
    buyers = cdnow[cdnow["frequency"] > 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = oracle.GammaGammaFitter().fit(buyers["frequency"], buyers["monetary_value"])
        spend = theirs.conditional_expected_average_profit(cdnow["frequency"], cdnow["monetary_value"])
    ours = GammaGammaModel().fit(cdnow)
    assert ours.params_ == pytest.approx(dict(theirs.params_), rel=1e-3)
    np.testing.assert_allclose(ours.predict_spend(cdnow), spend, rtol=1e-4)


def test_derivatives_are_those_of_the_likelihood(cdnow):
    buyers = cdnow[cdnow["frequency"] > 0]
    objective = GammaGammaLikelihood(buyers["frequency"].to_numpy(np.float64), buyers["monetary_value"].to_numpy())
    theta = np.log([5.0, 3.0, 12.0])
    _, gradient, hessian = objective(theta)
    steps = 1e-5 * np.eye(3)
    slopes = [(objective(theta + step)[0] - objective(theta - step)[0]) / 2e-5 for step in steps]
    bends = [(objective(theta + step)[1] - objective(theta - step)[1]) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6)
    np.testing.assert_allclose(hessian, bends, rtol=1e-6)


def test_likelihood_is_the_integral_it_stands_for():
    p, q, v = TRUTH.values()
    x, mean = 3.0, 12.0

    def joint(rate):
        return stats.gamma.pdf(mean, p * x, scale=1 / (rate * x)) * stats.gamma.pdf(rate, q, scale=1 / v)

    density = integrate.quad(joint, 0, 5, epsabs=1e-14)[0]
    value, _, _ = GammaGammaLikelihood(np.array([x]), np.array([mean]))(np.log([p, q, v]))
    assert value == pytest.approx(np.log(density), rel=1e-8)


def test_known_parameters_are_found_and_the_next_purchase_is_unbiased():
    summary = spenders(30_000, seed=3)
    model = GammaGammaModel().fit(summary)
    for name, true in TRUTH.items():
        assert abs(model.params_[name] - true) < 3.5 * model.standard_errors_[name], name
    expected, actual = model.predict_spend(summary), summary["next"].to_numpy()
    for part in np.array_split(np.argsort(expected), 6):
        error = actual[part].std() / np.sqrt(len(part))
        assert abs(actual[part].mean() - expected[part].mean()) < 4 * error


def test_the_currency_changes_v_alone(cdnow):
    dollars = GammaGammaModel().fit(cdnow)
    cents = GammaGammaModel().fit(cdnow.assign(monetary_value=cdnow["monetary_value"] * 100))
    assert cents.params_["v"] == pytest.approx(100 * dollars.params_["v"], rel=1e-6)
    assert cents.params_["p"] == pytest.approx(dollars.params_["p"], rel=1e-6)
    assert cents.log_likelihood_ == pytest.approx(dollars.log_likelihood_ - 946 * np.log(100))


def test_customers_without_known_spend_get_the_population_mean(cdnow):
    model = GammaGammaModel().fit(cdnow)
    p, q, v = model.params_.values()
    unknown = pd.DataFrame({"frequency": [0.0, 0.0, 3.0, 3.0], "monetary_value": [np.nan, 20.0, np.nan, 0.0]})
    assert model.predict_spend(unknown) == pytest.approx(p * v / (q - 1))


def test_more_purchases_pull_the_prediction_to_the_customer_s_own_mean(cdnow):
    model = GammaGammaModel().fit(cdnow)
    frequency = np.array([1.0, 2.0, 10.0, 1e6])
    spend = model.predict_spend(pd.DataFrame({"frequency": frequency, "monetary_value": 100.0}))
    assert (np.diff(spend) > 0).all()
    assert spend[-1] == pytest.approx(100, rel=1e-4)


def test_spend_without_a_finite_mean_is_refused_with_the_reason():
    with pytest.raises(ConvergenceError, match=r"q = 0\.\d+, and at q of 1 or less the mean spend has no finite value"):
        GammaGammaModel().fit(spenders(5000, seed=4, q=0.6))


def test_one_price_for_all_is_refused_with_the_reason():
    summary = pd.DataFrame({"frequency": np.arange(1.0, 101.0), "monetary_value": 9.99})
    with pytest.raises(InsufficientData, match=r"every customer spends about 9\.99 a purchase"):
        GammaGammaModel().fit(summary)


def test_nearly_one_price_for_all_is_fitted_or_refused():
    rng = np.random.default_rng(5)
    summary = pd.DataFrame({"frequency": np.arange(1.0, 101.0), "monetary_value": rng.normal(9.99, 0.05, 100)})
    model = GammaGammaModel().fit(summary)
    assert model.predict_spend(summary) == pytest.approx(9.99, rel=0.02)


def test_too_few_spenders_are_insufficient_data():
    summary = pd.DataFrame({"frequency": [1.0] * 9 + [0.0] * 91, "monetary_value": [20.0] * 9 + [np.nan] * 91})
    with pytest.raises(InsufficientData, match="9 of 100 customers"):
        GammaGammaModel().fit(summary)


def test_files_restore_the_model(cdnow):
    model = GammaGammaModel().fit(cdnow)
    restored = GammaGammaModel.from_files(model.to_files())
    np.testing.assert_array_equal(restored.predict_spend(cdnow), model.predict_spend(cdnow))
    with pytest.raises(ArtefactError, match=r"lacks a readable gamma_gamma\.json"):
        GammaGammaModel.from_files({"gamma_gamma.json": b"{"})


def dependent_spenders(n, elasticity, seed):
    """Customers whose spend a purchase changes with their purchase rate to the power of ``elasticity``."""
    rng = np.random.default_rng(seed)
    speed = rng.gamma(1.0, 2.0, n)
    x = rng.poisson(3 * speed).astype(np.float64)
    rate = rng.gamma(TRUTH["q"], 1 / TRUTH["v"], n) * speed**-elasticity
    mean = rng.gamma(np.maximum(TRUTH["p"] * x, 1e-9)) / rate / np.maximum(x, 1)
    value = np.where(x > 0, mean, np.nan)
    return pd.DataFrame({"frequency": x, "monetary_value": value, "next": TRUTH["p"] / rate})


@pytest.mark.parametrize("elasticity", [0.3, -0.3])
def test_spend_that_depends_on_frequency_is_found_and_modelled(elasticity):
    summary = dependent_spenders(10_000, elasticity, seed=6)
    plain = GammaGammaModel().fit(summary)
    given = GammaGammaModel(given_frequency=None).fit(summary)
    assert plain.frequency_slope_ == 0
    assert given.frequency_slope_ == pytest.approx(elasticity, rel=0.3)
    assert plain.frequency_correlation_ == given.frequency_correlation_
    low, high = given.frequency_correlation_[1:]
    assert 0 < np.sign(elasticity) * low < 1
    assert high - low < 0.1
    once = (summary["frequency"] == 0).to_numpy()
    actual = summary["next"][once].mean()
    errors = [abs(model.predict_spend(summary)[once].mean() - actual) for model in (plain, given)]
    assert errors[1] < errors[0] / 2
    assert given.log_likelihood_ > plain.log_likelihood_ + 100
    restored = GammaGammaModel.from_files(given.to_files())
    np.testing.assert_array_equal(restored.predict_spend(summary), given.predict_spend(summary))
    assert restored.to_files() == given.to_files()


def test_independent_spend_is_left_independent(cdnow):
    summary = dependent_spenders(10_000, 0.0, seed=7)
    model = GammaGammaModel(given_frequency=None).fit(summary)
    assert model.frequency_slope_ == 0
    assert abs(model.frequency_correlation_.value) < 0.05
    # CDNOW's frequent customers spend a little more, as published; too little to change who is worth what
    model = GammaGammaModel(given_frequency=None).fit(cdnow)
    assert 0 < model.frequency_correlation_.low < 0.11 < model.frequency_correlation_.high
    assert model.frequency_slope_ == 0


def test_far_out_spends_count_as_if_at_the_bound_and_are_predicted_by_themselves(cdnow):
    buyers = cdnow[cdnow["frequency"] > 0].copy()
    buyers.loc[buyers.index[:3], "monetary_value"] = 1e6
    clean = GammaGammaModel(winsorise_at=4.0).fit(cdnow)
    assert clean.n_winsorised_ == 0
    assert clean.params_ == pytest.approx(GammaGammaModel().fit(cdnow).params_)
    wild, tamed = GammaGammaModel().fit(buyers), GammaGammaModel(winsorise_at=4.0).fit(buyers)
    assert tamed.n_winsorised_ == 3
    mean = clean.params_["p"] * clean.params_["v"] / (clean.params_["q"] - 1)
    p, q, v = tamed.params_.values()
    assert p * v / (q - 1) == pytest.approx(mean, rel=0.05)
    p, q, v = wild.params_.values()
    assert p * v / (q - 1) > 1.1 * mean
    assert tamed.predict_spend(buyers)[0] > 1e5


def test_the_posterior_of_spend_surrounds_the_fit(cdnow):
    model = GammaGammaModel().fit(cdnow)
    posterior = model.sample_posterior(cdnow)
    assert posterior.effective_sample_size >= 1000
    for name, mean in posterior.means.items():
        assert mean == pytest.approx(model.params_[name], abs=model.standard_errors_[name])


def test_a_large_base_is_fitted_from_a_sample_to_the_same_peak():
    summary = spenders(150_000, seed=8)
    model = GammaGammaModel().fit(summary)
    scale = float(summary["monetary_value"].mean())
    objective = GammaGammaLikelihood(summary["frequency"].to_numpy(), summary["monetary_value"].to_numpy() / scale)
    theta = np.log([model.params_["p"], model.params_["q"], model.params_["v"] / scale])
    _, gradient, hessian = objective(theta)
    assert gradient @ np.linalg.solve(-hessian, gradient) < 1e-6
