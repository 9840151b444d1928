"""What the families have in common, on published data and on customers whose truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.histories import HistoryCounts, PurchaseHistories
from models.likelihood import LogNormalPrior
from models.purchases import BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel
from perennial.errors import ArtefactError, ConvergenceError, InsufficientData, PerennialError, SourceError

GEO_TRUTH = {"r": 0.8, "alpha": 12.0, "a": 0.7, "b": 2.8}
PARETO_TRUTH = {"r": 0.6, "alpha": 15.0, "s": 0.7, "beta": 60.0}


def known(model, params, **more):
    state = {"family": model.family, "params": params, "covariance_log": (1e-12 * np.eye(4)).tolist()}
    return model.from_json({**state, "log_likelihood": -1.0, "prior_used": False, "n_customers": 100, **more})


ALL = [
    known(BetaGeoModel, GEO_TRUTH),
    known(ModifiedBetaGeoModel, GEO_TRUTH),
    known(ModifiedBetaGeoModel, GEO_TRUTH, regularity=3),
    known(ParetoNBDModel, PARETO_TRUTH),
]
NAMES = ["bg", "mbg", "mbg-3", "pareto"]


def pareto_world(n, horizon, seed):
    """Live customers of known Pareto/NBD parameters: the summary at T and what came after it."""
    rng = np.random.default_rng(seed)
    r, alpha, s, beta = PARETO_TRUTH.values()
    age = np.floor(rng.uniform(10, 400, n))
    rate, life = rng.gamma(r, 1 / alpha, n), rng.exponential(1 / rng.gamma(s, 1 / beta, n))
    before, after = np.minimum(life, age), np.clip(life - age, 0, horizon)
    x, future = rng.poisson(rate * before), rng.poisson(rate * after)
    last = before * rng.beta(np.maximum(x, 1), 1)  # the latest of x uniform times
    return pd.DataFrame(
        {"frequency": x, "recency": np.where(x > 0, last, 0), "T": age, "future": future, "alive": life > age}
    )


def regular_world(n, horizon, k, seed):
    """Live customers of known MBG/CNBD-k parameters."""
    rng = np.random.default_rng(seed)
    r, alpha, a, b = GEO_TRUTH.values()
    age = np.floor(rng.uniform(30, 400, n))
    rate, leave = rng.gamma(r, 1 / alpha, n), rng.beta(a, b, n)
    now, x, recency, future, log_gaps = (np.zeros(n) for _ in range(5))
    alive_at_age = rng.random(n) > leave
    who = np.flatnonzero(alive_at_age)
    while len(who):
        gap = rng.gamma(k, 1, len(who)) / np.maximum(rate[who], 1e-12)
        now[who] += gap
        inside = now[who] <= age[who] + horizon
        who, gap = who[inside], gap[inside]
        past = now[who] <= age[who]
        x[who[past]] += 1
        recency[who[past]] = now[who[past]]
        log_gaps[who[past]] += np.log(gap[past])
        future[who[~past]] += 1
        leaves = rng.random(len(who)) < leave[who]
        alive_at_age[who[leaves & past]] = False
        who = who[~leaves]
    columns = {"frequency": x, "recency": recency, "T": age, "log_gaps": log_gaps}
    return pd.DataFrame({**columns, "future": future, "alive": alive_at_age})


@pytest.fixture(scope="module")
def grocery():
    """A year of a grocery chain's quasi-cohort in weeks, and the purchases of the year after."""
    file = Path(__file__).parents[2] / ".." / "shared" / "data" / "grocery_elog.csv.gz"
    if not file.exists():
        pytest.skip("the grocery log is not on this machine: it is described with the benchmarks")
    log = pd.read_csv(file, parse_dates=["date"]).drop_duplicates().sort_values(["cust", "date"])
    end = pd.Timestamp("2006-12-31")
    past = log[log["date"] <= end]
    gap = past.groupby("cust")["date"].diff().dt.days / 7
    days = past.groupby("cust")["date"].agg(["min", "max", "size"])
    summary = pd.DataFrame(
        {
            "frequency": days["size"] - 1.0,
            "recency": (days["max"] - days["min"]).dt.days / 7,
            "T": (end - days["min"]).dt.days / 7,
            "log_gaps": np.log(gap).groupby(past["cust"]).sum(),
        }
    )
    future = log[log["date"] > end].groupby("cust").size()
    return summary.assign(future=future.reindex(summary.index).fillna(0.0))


def assert_unbiased(expected, actual, groups=8):
    for part in np.array_split(np.argsort(expected, kind="stable"), groups):
        mean = expected[part].mean()
        spread = max(actual[part].var(), mean * (1 - mean))
        assert abs(actual[part].mean() - mean) < 4 * np.sqrt(spread / len(part)) + 1e-9


def test_pareto_nbd_reproduces_the_published_cdnow_fit(cdnow):
    model = ParetoNBDModel().fit(cdnow)
    assert model.log_likelihood_ == pytest.approx(-9594.98, abs=0.01)
    # Fader, Hardie & Lee (2005), table 2
    assert model.params_ == pytest.approx({"r": 0.553, "alpha": 10.578, "s": 0.606, "beta": 11.669}, abs=2e-3)
    assert not model.prior_used_


def test_lifetimes_agrees_on_pareto_nbd(cdnow, oracle):
    columns = (cdnow["frequency"], cdnow["recency"], cdnow["T"])
    theirs = oracle.ParetoNBDFitter()
    params = ParetoNBDModel().fit(cdnow).params_
    theirs.params_ = pd.Series(params)
    ours = known(ParetoNBDModel, params)
    alive = np.asarray(theirs.conditional_probability_alive(*columns))
    np.testing.assert_allclose(ours.predict_alive(cdnow), alive, rtol=1e-8)
    purchases = np.asarray(theirs.conditional_expected_number_of_purchases_up_to_time(39, *columns))
    np.testing.assert_allclose(ours.predict_purchases(cdnow, horizon_days=39), purchases, rtol=1e-8)
    shares = ours.predict_purchase_distribution(cdnow.head(50), horizon_days=39, max_count=3)
    for n in range(4):
        some = (column.head(50) for column in columns)
        same = np.asarray(theirs.conditional_probability_of_n_purchases_up_to_time(n, 39, *some))
        np.testing.assert_allclose(shares[:, n], same, rtol=1e-6)


@pytest.mark.parametrize("model", [BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel])
def test_lifetimes_can_be_the_fitter(cdnow, model):
    theirs, ours = model(fitter="lifetimes").fit(cdnow), model().fit(cdnow)
    assert theirs.params_ == pytest.approx(ours.params_, rel=1e-3)
    assert theirs.standard_errors_ == pytest.approx(ours.standard_errors_, rel=1e-2)
    assert theirs.log_likelihood_ <= ours.log_likelihood_ + 1e-6


def test_pareto_nbd_finds_the_truth_and_its_predictions_come_true():
    world = pareto_world(30_000, 120.0, seed=1)
    fitted = ParetoNBDModel().fit(world)
    for name, true in PARETO_TRUTH.items():
        assert abs(fitted.params_[name] - true) < 3.5 * fitted.standard_errors_[name], name
        assert fitted.standard_errors_[name] < 0.2 * true, name
    truth, future = ALL[3], world["future"].to_numpy(np.float64)
    assert_unbiased(truth.predict_alive(world), world["alive"].to_numpy(np.float64))
    assert_unbiased(truth.predict_purchases(world, horizon_days=120), future)
    assert_unbiased(truth.predict_no_purchase(world, horizon_days=120), (future == 0).astype(np.float64))
    distribution = truth.predict_purchase_distribution(world, horizon_days=120, max_count=4)
    for count in range(1, 5):
        assert_unbiased(distribution[:, count], (future == count).astype(np.float64))


def test_regularity_is_found_and_predictions_of_regular_customers_come_true():
    world = regular_world(20_000, 120.0, 3, seed=2)
    fitted = ModifiedBetaGeoModel(regularity=None).fit(world)
    assert fitted.regularity_ == 3
    for name, true in GEO_TRUTH.items():
        assert abs(fitted.params_[name] - true) < 3.5 * fitted.standard_errors_[name], name
    truth, future = ALL[2], world["future"].to_numpy()
    assert_unbiased(truth.predict_alive(world), world["alive"].to_numpy(np.float64))
    assert_unbiased(truth.predict_purchases(world, horizon_days=120), future)
    assert_unbiased(truth.predict_no_purchase(world, horizon_days=120), (future == 0).astype(np.float64))
    distribution = truth.predict_purchase_distribution(world, horizon_days=120, max_count=3)
    for count in range(1, 4):
        assert_unbiased(distribution[:, count], (future == count).astype(np.float64))


def test_random_timing_is_not_taken_for_regular():
    assert ModifiedBetaGeoModel(regularity=None).fit(regular_world(3000, 1.0, 1, seed=3)).regularity_ == 1


def test_regularity_pays_on_the_grocery_log(grocery):
    future = grocery["future"].to_numpy()
    errors = {}
    for family in (BetaGeoModel, ModifiedBetaGeoModel):
        for regularity in (1, None):
            model = family(regularity=regularity).fit(grocery)
            expected = model.predict_purchases(grocery, horizon_days=52)
            bias = expected.sum() / future.sum() - 1
            errors[family.family, model.regularity_] = bias, np.abs(expected - future).mean(), model.log_likelihood_
    assert errors["bg_nbd", 1][:2] == pytest.approx((0.179, 1.577), abs=1e-3)
    assert set(errors) == {("bg_nbd", 1), ("bg_nbd", 2), ("mbg_nbd", 1), ("mbg_nbd", 2)}
    for family in ("bg_nbd", "mbg_nbd"):
        assert errors[family, 2][2] > errors[family, 1][2] + 700
        assert errors[family, 2][1] < errors[family, 1][1] - 0.1
        assert abs(errors[family, 2][0]) < abs(errors[family, 1][0])


def test_choosing_the_regularity_needs_the_gaps(cdnow):
    with pytest.raises(InsufficientData, match="log_gaps is needed"):
        BetaGeoModel(regularity=None).fit(cdnow)
    with pytest.raises(ValueError, match=r"regularity is 1\.5"):
        BetaGeoModel(regularity=1.5).fit(cdnow)
    with pytest.raises(ValueError, match="lifetimes cannot fit a regularity over 1"):
        BetaGeoModel(regularity=2, fitter="lifetimes").fit(cdnow)
    with pytest.raises(ArtefactError, match="regularity is 0"):
        known(BetaGeoModel, GEO_TRUTH, regularity=0)


@pytest.mark.parametrize("model", ALL, ids=NAMES)
def test_predictions_stay_finite_to_a_million_purchases(model):
    frequency = np.repeat([0.0, 1.0, 1e3, 1e6], 3)
    recency = np.where(frequency == 0, 0.0, np.tile([0.0, 500.0, 1000.0], 4))
    summary = pd.DataFrame({"frequency": frequency, "recency": recency, "T": 1000.0})
    for horizon in (1.0, 365.0):
        for probability in (
            model.predict_alive(summary),
            model.predict_no_purchase(summary, horizon_days=horizon),
            model.predict_purchase_distribution(summary, horizon_days=horizon, max_count=20),
        ):
            assert ((probability >= 0) & (probability <= 1)).all()
        expected = model.predict_purchases(summary, horizon_days=horizon)
        assert np.isfinite(expected).all()
        assert (expected >= 0).all()
        money = model.predict_discounted_purchases(summary, rate_per_day=2.6e-4, horizon_days=horizon)
        assert (money <= expected * (1 + 1e-12)).all()
    if model is not ALL[2]:  # a million times as many wishes to sum as there are purchases
        assert np.isfinite(model.predict_discounted_purchases(summary, rate_per_day=2.6e-4)).all()
    busy = pd.DataFrame({"frequency": [1e6], "recency": [1000.0], "T": [1000.0]})
    assert model.predict_next_purchase(busy)[0] == pytest.approx(np.log(2) / 1000, rel=0.35)
    assert model.predict_mean_wait(busy)[0] == pytest.approx(1 / 1000, rel=0.5)


@given(
    frequency=st.integers(0, 300),
    share=st.floats(0, 1),
    age=st.floats(0.5, 3000),
    horizon=st.floats(0.5, 1000),
    index=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_predictions_agree_with_each_other(frequency, share, age, horizon, index):
    model = ALL[index]
    recency = age * share if frequency else 0.0
    row = pd.DataFrame({"frequency": [frequency], "recency": [recency], "T": [age]}, dtype=np.float64)
    none = model.predict_no_purchase(row, horizon_days=horizon)[0]
    later = model.predict_no_purchase(row, horizon_days=2 * horizon)[0]
    alive = model.predict_alive(row)[0]
    assert 1 - alive - 1e-12 <= later <= none <= 1
    distribution = model.predict_purchase_distribution(row, horizon_days=horizon, max_count=150)[0]
    assert distribution[0] == pytest.approx(none, rel=1e-9)
    expected = model.predict_purchases(row, horizon_days=horizon)[0]
    if distribution.sum() > 1 - 1e-12:
        assert distribution @ np.arange(151) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert model.predict_purchases(row, horizon_days=2 * horizon)[0] >= expected
    value = model.predict_discounted_purchases(row, rate_per_day=1e-3, horizon_days=horizon)[0]
    assert expected * np.exp(-1e-3 * horizon) * (1 - 1e-9) <= value <= expected * (1 + 1e-9)
    median = model.predict_next_purchase(row)[0]
    if np.isfinite(median):
        assert model.predict_no_purchase(row, horizon_days=median)[0] == pytest.approx(0.5, abs=1e-7)


def summary_of(counts):
    return {key: n for *key, n in zip(counts.x, counts.t_x, counts.age, counts.n, strict=True) for key in [tuple(key)]}


def test_counts_kept_up_to_date_are_those_of_the_new_histories(cdnow):
    base = cdnow[["frequency", "recency", "T"]].mul([1, 7, 7]).round()
    counts = HistoryCounts.of(base).aged(7)
    now = base.assign(T=base["T"] + 7)
    buyers = now.sample(100, random_state=1)
    after = buyers.assign(frequency=buyers["frequency"] + 1, recency=buyers["T"] - 2)
    new = pd.DataFrame({"frequency": [0.0, 0.0], "recency": [0.0, 0.0], "T": [3.0, 3.0]})
    counts = counts.updated(buyers, after).updated(None, new)
    whole = pd.concat([now.drop(buyers.index), after, new])
    assert summary_of(counts) == summary_of(HistoryCounts.of(whole))
    warm = BetaGeoModel().fit(base).refit(counts)
    assert warm.params_ == pytest.approx(BetaGeoModel().fit(whole).params_, rel=1e-6)
    with pytest.raises(SourceError, match="no customer is counted with frequency 900"):
        counts.updated(pd.DataFrame({"frequency": [900.0], "recency": [1.0], "T": [2.0]}), new)


@pytest.mark.parametrize("whole", [True, False])
def test_histories_read_once_say_what_the_summary_says(cdnow, whole, monkeypatch):
    summary = cdnow[["frequency", "recency", "T"]].copy()
    if whole:
        summary = summary.mul([1, 7, 7]).round().astype(np.int16)
    model = ModifiedBetaGeoModel().fit(summary)
    asked = [
        lambda what: model.predict_alive(what),
        lambda what: model.predict_purchases(what, horizon_days=39),
        lambda what: model.predict_no_purchase(what, horizon_days=39),
        lambda what: model.predict_next_purchase(what),
    ]
    plain = [ask(summary) for ask in asked]
    # neither a table nor sorting: every row by itself, as in a base too large for either
    monkeypatch.setattr("models.histories._DENSE_CELLS", 0)
    for ask, expected in zip(asked, plain, strict=True):
        np.testing.assert_allclose(ask(PurchaseHistories(summary)), expected, rtol=1e-12)
    assert ModifiedBetaGeoModel().fit(PurchaseHistories(summary)).params_ == pytest.approx(model.params_, rel=1e-9)


def test_the_weak_prior_s_posterior_is_drawn_with_the_worth_asked_for(cdnow):
    model = BetaGeoModel().fit(cdnow)
    posterior = model.sample_posterior(cdnow, effective=1500)
    assert posterior.effective_sample_size >= 1500
    assert posterior.weights.sum() == pytest.approx(1)
    for name, mean in posterior.means.items():
        assert mean == pytest.approx(model.params_[name], abs=1.0 * model.standard_errors_[name])
    low, high = posterior.quantiles(np.array([0.05, 0.95]))["r"]
    assert high - low == pytest.approx(2 * 1.645 * model.standard_errors_["r"], rel=0.15)
    assert posterior.resample(4000, seed=1)[:, 0].mean() == pytest.approx(posterior.means["r"], rel=2e-3)


def test_the_posterior_of_a_small_sample_is_the_one_on_a_grid(cdnow):
    few = cdnow.sample(120, random_state=3)
    model = BetaGeoModel().fit(few)
    counts, centre = HistoryCounts.of(few), np.log(list(model.params_.values()))
    prior = LogNormalPrior(centre, sd=0.8)
    posterior = model.sample_posterior(few, prior=prior, effective=6000)
    axis = np.linspace(-3.2, 3.2, 25)
    grid = np.stack(np.meshgrid(*[axis[::2]] * 4, indexing="ij"), axis=-1).reshape(-1, 4) * 0.8 + centre
    log_density = model._likelihood(counts).values(grid) + prior.log_density(grid)
    weights = np.exp(log_density - log_density.max())
    exact = weights @ np.exp(grid) / weights.sum()
    np.testing.assert_allclose(list(posterior.means.values()), exact, rtol=0.05)


ODD = ["nobody returns in time", "all on one day", "one heavy buyer", "hours", "years", "few", "same age", "alike"]


def odd_sample(kind, rng):
    """Small, odd and degenerate samples of customers who buy at random."""
    n = int(rng.integers(12, 80))
    age = np.ceil(rng.uniform(5, 300, n))
    x = rng.poisson(rng.gamma(0.7, 2, n))
    recency = np.where(x > 0, np.ceil(age * rng.beta(np.maximum(x, 1), 1, n)), 0)
    if kind == "all on one day":
        x, recency = np.full(n, 3), age
    elif kind == "one heavy buyer":
        x[0], recency[0] = 10**6, age[0]
    elif kind == "few":
        n, x, recency, age = 11, x[:11] + 1, age[:11], age[:11]
    elif kind == "same age":
        age = np.full(n, 300.0)
    elif kind == "alike":
        x, recency, age = np.full(n, 2), np.full(n, 10.0), np.full(n, 30.0)
    elif kind == "nobody returns in time":
        recency = np.where(x > 0, np.minimum(1.0, age), 0.0)
    scale = {"hours": 24.0, "years": 1 / 365}.get(kind, 1.0)
    return pd.DataFrame({"frequency": x, "recency": np.minimum(recency, age) * scale, "T": age * scale}, dtype=float)


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("model", [BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel])
def test_odd_samples_fit_or_say_why(kind, model):
    rng = np.random.default_rng(ODD.index(kind))
    for _ in range(3):
        sample = odd_sample(kind, rng)
        try:
            fitted = model().fit(sample)
        except PerennialError as error:
            assert isinstance(error, InsufficientData | ConvergenceError)  # noqa: PT017
            continue
        counts = HistoryCounts.of(sample)
        objective = fitted._likelihood(counts)
        best = np.log(list(fitted.params_.values()))
        assert np.linalg.eigvalsh(fitted.covariance_log_)[0] > 0
        assert all(np.isfinite(value) and value > 0 for value in fitted.params_.values())
        if not fitted.prior_used_:
            value, gradient, hessian = objective(best)
            assert gradient @ np.linalg.solve(-hessian, gradient) < 1e-6
            assert all(objective(start)[0] <= value + 1e-6 for start in fitted._starts(counts))
        predicted = fitted.predict_purchases(sample, horizon_days=30)
        assert np.isfinite(predicted).all()
        assert ((fitted.predict_alive(sample) >= 0) & (fitted.predict_alive(sample) <= 1)).all()
