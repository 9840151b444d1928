import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.purchases import BetaGeoModel, ModifiedBetaGeoModel
from perennial.errors import ArtefactError, InsufficientData, SourceError

MODELS = (BetaGeoModel, ModifiedBetaGeoModel)
TRUTH = {"r": 0.6, "alpha": 20.0, "a": 0.8, "b": 2.5}


def known(model, params, covariance=1e-12):
    state = {
        "family": model.family,
        "params": params,
        "covariance_log": (covariance * np.eye(4)).tolist(),
        "log_likelihood": -1.0,
        "prior_used": False,
        "n_customers": 100,
    }
    return model.from_json(state)


def one(frequency, recency, age):
    return pd.DataFrame({"frequency": [frequency], "recency": [recency], "T": [age]}, dtype=np.float64)


def test_bg_nbd_reproduces_the_published_cdnow_fit(cdnow):
    model = BetaGeoModel().fit(cdnow)
    assert model.log_likelihood_ == pytest.approx(-9582.43, abs=0.01)
    # Fader, Hardie & Lee (2005), table 2
    assert model.params_ == pytest.approx({"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}, abs=6e-4)
    assert not model.prior_used_


def test_mbg_nbd_reproduces_the_known_cdnow_fit(cdnow):
    model = ModifiedBetaGeoModel().fit(cdnow)
    assert model.log_likelihood_ == pytest.approx(-9582.14, abs=0.01)
    assert model.params_ == pytest.approx({"r": 0.525, "alpha": 6.183, "a": 0.891, "b": 1.614}, abs=1e-3)


def test_holdout_correlation_on_cdnow_is_the_published_one(cdnow_purchases):
    past = cdnow_purchases[cdnow_purchases["day"] < "1997-10-01"]
    future = cdnow_purchases[cdnow_purchases["day"] >= "1997-10-01"].groupby("customer_id").size()
    days = past.groupby("customer_id")["day"].agg(["min", "max", "size"])
    summary = pd.DataFrame(
        {
            "frequency": days["size"] - 1,
            "recency": (days["max"] - days["min"]).dt.days / 7,
            "T": (pd.Timestamp("1997-09-30") - days["min"]).dt.days / 7,
        }
    )
    model = BetaGeoModel().fit(summary)
    assert model.log_likelihood_ == pytest.approx(-9582.43, abs=0.01)
    expected = model.predict_purchases(summary, horizon_days=39)
    actual = future.reindex(summary.index).fillna(0)
    assert np.corrcoef(expected, actual)[0, 1] == pytest.approx(0.626, abs=5e-4)


@pytest.mark.parametrize(
    ("model", "fitter"), [(BetaGeoModel, "BetaGeoFitter"), (ModifiedBetaGeoModel, "ModifiedBetaGeoFitter")]
)
def test_lifetimes_agrees(cdnow, oracle, model, fitter):
    columns = (cdnow["frequency"], cdnow["recency"], cdnow["T"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(oracle, fitter)().fit(*columns)
        alive = np.asarray(theirs.conditional_probability_alive(*columns))
        purchases = np.asarray(theirs.conditional_expected_number_of_purchases_up_to_time(39, *columns))
    ours = model().fit(cdnow)
    assert ours.params_ == pytest.approx(dict(theirs.params_), rel=1e-3)
    same = known(model, {name: float(theirs.params_[name]) for name in ours.params_})
    np.testing.assert_allclose(same.predict_alive(cdnow), alive, rtol=1e-9)
    np.testing.assert_allclose(same.predict_purchases(cdnow, horizon_days=39), purchases, rtol=1e-7)


@pytest.mark.parametrize("model", MODELS)
def test_known_parameters_are_found_within_their_standard_errors(simulated, model):
    summary = simulated(TRUTH, chance_at_birth=model is ModifiedBetaGeoModel, n=20_000, horizon=0.0, seed=1)
    fitted = model().fit(summary)
    for name, true in TRUTH.items():
        assert abs(fitted.params_[name] - true) < 3.5 * fitted.standard_errors_[name], name
        assert fitted.standard_errors_[name] < 0.3 * true, name


@pytest.mark.parametrize("model", MODELS)
def test_the_time_unit_changes_alpha_alone(cdnow, model):
    weeks = model().fit(cdnow)
    days = model().fit(cdnow.assign(recency=cdnow["recency"] * 7, T=cdnow["T"] * 7))
    assert days.params_["alpha"] == pytest.approx(7 * weeks.params_["alpha"], rel=1e-6)
    for name in ("r", "a", "b"):
        assert days.params_[name] == pytest.approx(weeks.params_[name], rel=1e-6)


def test_the_order_of_rows_changes_no_bit(cdnow):
    shuffled = cdnow.sample(frac=1, random_state=1)
    assert BetaGeoModel().fit(shuffled).to_files() == BetaGeoModel().fit(cdnow).to_files()


def assert_unbiased(expected, actual, groups=8, tolerance=4.0):
    """Within every group of like predictions the actual mean lies within so many standard errors."""
    order = np.argsort(expected, kind="stable")
    for part in np.array_split(order, groups):
        mean = expected[part].mean()
        spread = max(actual[part].var(), mean * (1 - mean))
        assert abs(actual[part].mean() - mean) < tolerance * np.sqrt(spread / len(part)) + 1e-9


@pytest.mark.parametrize("model", MODELS)
def test_predictions_come_true_where_the_truth_is_known(simulated, model):
    horizon = 120.0
    world = simulated(TRUTH, chance_at_birth=model is ModifiedBetaGeoModel, n=60_000, horizon=horizon, seed=2)
    truth = known(model, TRUTH)
    future = world["future"].to_numpy()
    assert_unbiased(truth.predict_alive(world), world["alive"].to_numpy(np.float64))
    assert_unbiased(truth.predict_purchases(world, horizon_days=horizon), future)
    assert_unbiased(truth.predict_no_purchase(world, horizon_days=horizon), (future == 0).astype(np.float64))
    distribution = truth.predict_purchase_distribution(world, horizon_days=horizon, max_count=6)
    for count in range(7):
        assert_unbiased(distribution[:, count], (future == count).astype(np.float64))
    soon = truth.predict_next_purchase(world, quantile=0.3)
    within = soon <= horizon
    assert within.sum() > 5000
    bought = (world["wait"].to_numpy() <= soon)[within]
    assert bought.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / within.sum()))


@pytest.mark.parametrize("model", MODELS)
def test_predictions_stay_finite_to_a_million_purchases(model):
    frequency = np.repeat([0.0, 1.0, 1e3, 1e6], 3)
    recency = np.where(frequency == 0, 0.0, np.tile([0.0, 500.0, 1000.0], 4))
    summary = pd.DataFrame({"frequency": frequency, "recency": recency, "T": 1000.0})
    fitted = known(model, TRUTH)
    distribution = fitted.predict_purchase_distribution(summary, horizon_days=90, max_count=50)
    for probability in (
        fitted.predict_alive(summary),
        fitted.predict_no_purchase(summary, horizon_days=90),
        distribution,
    ):
        assert np.isfinite(probability).all()
        assert ((probability >= 0) & (probability <= 1)).all()
    assert (fitted.predict_purchases(summary, horizon_days=90) >= 0).all()
    busy = one(1e6, 1000.0, 1000.0)
    assert fitted.predict_next_purchase(busy)[0] == pytest.approx(np.log(2) / 1000, rel=0.1)


@given(
    frequency=st.integers(0, 500),
    share=st.floats(0, 1),
    age=st.floats(0.5, 3000),
    horizon=st.floats(0.1, 1000),
    index=st.integers(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_predictions_agree_with_each_other(frequency, share, age, horizon, index):
    model = known(MODELS[index], TRUTH)
    row = one(frequency, age * share if frequency else 0.0, age)
    none = model.predict_no_purchase(row, horizon_days=horizon)[0]
    later = model.predict_no_purchase(row, horizon_days=2 * horizon)[0]
    alive = model.predict_alive(row)[0]
    distribution = model.predict_purchase_distribution(row, horizon_days=horizon, max_count=600)[0]
    assert 1 - alive - 1e-12 <= later <= none <= 1
    assert distribution[0] == pytest.approx(none, abs=1e-12)
    if distribution.sum() > 1 - 1e-12:  # what lies beyond the last count weighs hundreds of times its probability
        mean = distribution @ np.arange(len(distribution))
        assert mean == pytest.approx(model.predict_purchases(row, horizon_days=horizon)[0], rel=1e-5, abs=1e-9)
    median = model.predict_next_purchase(row)[0]
    if np.isfinite(median):
        assert model.predict_no_purchase(row, horizon_days=median)[0] == pytest.approx(0.5, abs=1e-9)
    else:
        assert alive <= 0.5 + 1e-12 or median == np.inf


def test_a_one_time_buyer_is_not_certainly_alive(cdnow):
    once = one(0, 0, 38.86)
    assert BetaGeoModel().fit(cdnow).predict_alive(once)[0] == 1
    assert ModifiedBetaGeoModel().fit(cdnow).predict_alive(once)[0] == pytest.approx(0.39, abs=0.05)


@pytest.mark.parametrize("model", MODELS)
def test_a_customer_without_history_gets_the_population(cdnow, model):
    fitted = model().fit(cdnow)
    new = one(0, 0, 0)
    assert 0 < fitted.predict_purchases(new, horizon_days=39)[0] < 5
    assert fitted.predict_alive(new)[0] == pytest.approx(
        1 if model is BetaGeoModel else fitted.params_["b"] / (fitted.params_["a"] + fitted.params_["b"])
    )


def test_a_flat_ridge_is_met_with_the_prior_and_said():
    # nobody ever leaves and everybody buys every ten days: a has no lower end, r and alpha no upper
    age = np.arange(100.0, 400.0)
    summary = pd.DataFrame({"frequency": age // 10, "recency": age // 10 * 10, "T": age})
    model = BetaGeoModel().fit(summary)
    assert model.prior_used_
    assert all(np.isfinite(value) and value > 0 for value in model.params_.values())
    assert model.predict_purchases(summary, horizon_days=100) == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("model", MODELS)
def test_small_samples_fit_or_say_why(simulated, model, seed):
    rng = np.random.default_rng(seed)
    params = dict(zip(TRUTH, np.exp(rng.normal(np.log(list(TRUTH.values())), 1)), strict=True))
    summary = simulated(params, chance_at_birth=model is ModifiedBetaGeoModel, n=60, horizon=0.0, seed=seed)
    if (summary["frequency"] > 0).sum() < 10:
        with pytest.raises(InsufficientData, match="bought again"):
            model().fit(summary)
        return
    fitted = model().fit(summary)
    assert np.linalg.eigvalsh(fitted.covariance_log_)[0] > 0
    assert np.isfinite(fitted.predict_purchases(summary, horizon_days=365)).all()


def test_only_one_time_buyers_is_insufficient_data():
    summary = pd.DataFrame({"frequency": [0.0] * 50, "recency": [0.0] * 50, "T": [30.0] * 50})
    with pytest.raises(InsufficientData, match="0 of 50 customers bought again"):
        BetaGeoModel().fit(summary)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recency": 50.0}, "recency must be at most T: row 3 has 50"),
        ({"frequency": -1.0}, "frequency must be finite and at least 0: row 3 has -1"),
        ({"frequency": np.nan}, "frequency must be finite and at least 0: row 3 has nan"),
        ({"frequency": 1.5}, "frequency must be a whole number"),
        ({"T": np.inf}, "T must be finite and at least 0: row 3 has inf"),
        ({"frequency": 0.0}, "recency must be 0 where frequency is 0"),
    ],
)
def test_impossible_histories_are_refused_by_row(change, message):
    summary = pd.DataFrame({"frequency": [2.0] * 20, "recency": [10.0] * 20, "T": [40.0] * 20})
    summary.loc[3, list(change)] = list(change.values())
    with pytest.raises(SourceError, match=message):
        BetaGeoModel().fit(summary)


def test_missing_and_textual_columns_are_named():
    with pytest.raises(SourceError, match="lacks the columns T"):
        BetaGeoModel().fit(pd.DataFrame({"frequency": [1.0], "recency": [1.0]}))
    with pytest.raises(SourceError, match="recency must hold numbers"):
        BetaGeoModel().fit(pd.DataFrame({"frequency": [1.0], "recency": ["soon"], "T": [2.0]}))


@pytest.mark.parametrize("horizon", [-1.0, np.nan, np.inf])
def test_horizons_must_be_possible(cdnow, horizon):
    with pytest.raises(ValueError, match="horizon_days"):
        known(BetaGeoModel, TRUTH).predict_purchases(cdnow, horizon_days=horizon)


@pytest.mark.parametrize("model", MODELS)
def test_files_restore_the_model_and_refuse_another(cdnow, model):
    fitted = model().fit(cdnow)
    files = fitted.to_files()
    restored = model.from_files(files)
    assert restored.to_files() == files
    assert restored.standard_errors_ == pytest.approx(fitted.standard_errors_, rel=1e-12)
    other = MODELS[1 - MODELS.index(model)]
    with pytest.raises(ArtefactError, match="lacks a readable"):
        other.from_files(files)
    with pytest.raises(ArtefactError, match="not that of a fitted model"):
        other.from_json(fitted.to_json())


@pytest.mark.parametrize(
    "change",
    [{"params": {"r": 1.0}}, {"params": {**TRUTH, "a": -1.0}}, {"covariance_log": [[1.0]]}, {"n_customers": None}],
)
def test_a_spoiled_state_is_refused(cdnow, change):
    state = {**known(BetaGeoModel, TRUTH).to_json(), **change}
    with pytest.raises(ArtefactError, match="not that of a fitted model"):
        BetaGeoModel.from_json(state)


def test_sampled_parameters_have_the_fit_s_uncertainty(cdnow):
    model = BetaGeoModel().fit(cdnow)
    draws = np.log(model.parameters_at(np.random.default_rng(0).standard_normal((20_000, len(model.params_)))))
    np.testing.assert_allclose(np.cov(draws.T), model.covariance_log_, rtol=0.05, atol=1e-3)
    np.testing.assert_allclose(draws.mean(axis=0), np.log(list(model.params_.values())), atol=0.02)
