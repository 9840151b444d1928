import numpy as np
import pandas as pd
import pytest

from models.artefact import read_artefact, write_artefact
from models.clv import ClvModel
from models.families import RANDOM_TIMING, Family
from models.outlook import Spread
from models.purchases import BetaGeoModel, ModifiedBetaGeoModel
from perennial.errors import ArtefactError, InsufficientData, SourceError

TRUTH = {"r": 0.9, "alpha": 25.0, "a": 0.6, "b": 3.0}
SPEND = {"p": 4.0, "q": 5.0, "v": 120.0}


def known(model, params, covariance=1e-14):
    spread = covariance * np.eye(len(params))
    state = {"family": model.family, "params": params, "covariance_log": spread.tolist()}
    independent = {"frequency_slope": 0.0, "centre": 0.0, "frequency_correlation": [0, 0, 0], "n_winsorised": 0}
    facts = {"log_likelihood": -1.0, "prior_used": False, "n_customers": 100}
    return model.from_json({**state, **facts, **independent})


@pytest.fixture(scope="module")
def snapshot(cdnow):
    """CDNOW in days, one-time buyers without a mean of repeat purchases, as snapshots have it."""
    value = cdnow["monetary_value"].where(cdnow["frequency"] > 0)
    days = {"recency": cdnow["recency"] * 7, "T": cdnow["T"] * 7, "monetary_value": value}
    return cdnow.assign(**days).set_index("ID")


@pytest.fixture(scope="module")
def model(snapshot):
    return ClvModel().fit(snapshot)


@pytest.fixture(scope="module")
def prediction(model, snapshot):
    return model.predict(snapshot, horizon_days=90)


def with_spend(world, seed):
    """Give simulated customers past and future money of known parameters."""
    rng = np.random.default_rng(seed)
    x, future = world["frequency"].to_numpy(), world["future"].to_numpy()
    rate = rng.gamma(SPEND["q"], 1 / SPEND["v"], len(world))
    past = rng.gamma(np.maximum(SPEND["p"] * x, 1e-9)) / rate / np.maximum(x, 1)
    later = np.where(future > 0, rng.gamma(np.maximum(SPEND["p"] * future, 1e-9)) / rate, 0.0)
    return world.assign(monetary_value=np.where(x > 0, past, np.nan), future_spend=later)


def test_the_family_is_the_likeliest_and_alive_is_always_mbg(model, snapshot, prediction):
    likelihoods = {family.name: family.fit(snapshot).log_likelihood_ for family in RANDOM_TIMING}
    assert model.purchases_.family == max(likelihoods, key=likelihoods.get)
    assert len(set(likelihoods.values())) == 3
    modified = ModifiedBetaGeoModel().fit(snapshot)
    np.testing.assert_array_equal(prediction["p_alive"], modified.predict_alive(snapshot))
    assert (prediction.loc[snapshot["frequency"] == 0, "p_alive"] < 1).all()


def test_bg_nbd_is_chosen_where_nobody_leaves_after_the_first_purchase(simulated):
    world = simulated({**TRUTH, "a": 1.5, "b": 1.5}, chance_at_birth=False, n=4000, horizon=0.0, seed=11)
    model = ClvModel().fit(with_spend(world, seed=12))
    assert isinstance(model.purchases_, BetaGeoModel)
    assert (model.predict(with_spend(world, seed=12))["p_alive"] < 1).all()


def test_columns_fit_together(model, snapshot, prediction):
    assert prediction.index.equals(snapshot.index)
    orders = model.purchases_.predict_purchases(snapshot, horizon_days=90)
    np.testing.assert_allclose(prediction["expected_orders"], orders)
    np.testing.assert_allclose(prediction["expected_spend"], orders * prediction["expected_order_value"])
    for low, high in (("expected_orders_low", "expected_orders_high"), ("clv_low", "clv_high")):
        assert (prediction[low] <= prediction[high]).all()
        assert (prediction[low] >= 0).all()
    numbers = prediction.drop(columns="next_order_days")
    assert np.isfinite(numbers).all(axis=None)
    unlikely = model.purchases_.predict_alive(snapshot) <= 0.5
    assert prediction.loc[unlikely, "next_order_days"].isna().all()
    assert prediction.loc[~unlikely, "next_order_days"].notna().all()


@pytest.mark.parametrize("horizon", [1.0, 90.0, 365.0])
def test_value_is_the_mix_of_buying_and_not_buying(model, snapshot, horizon):
    prediction = model.predict(snapshot, horizon_days=horizon)
    none = model.purchases_.predict_no_purchase(snapshot, horizon_days=horizon)
    mixed = none * prediction["clv_if_not"] + (1 - none) * prediction["clv_if_buys"]
    np.testing.assert_allclose(mixed, prediction["clv"], rtol=1e-9, atol=1e-11)
    assert (prediction["clv_if_buys"] > prediction["clv_if_not"]).all()


def test_the_models_own_churn_probability_changes_nothing(model, snapshot, prediction):
    own = model.purchases_.predict_no_purchase(snapshot, horizon_days=90)
    told = model.predict(snapshot, horizon_days=90, churn_probability=own)
    other = ("_low", "_high", "p_alive", "from_population")
    expectations = [name for name in prediction if not name.endswith(other)]
    np.testing.assert_allclose(told[expectations], prediction[expectations], rtol=1e-6, atol=1e-9)


def test_a_churn_probability_from_elsewhere_decides_who_buys(model, snapshot):
    alive = model.purchases_.predict_alive(snapshot)
    most = (1 - model.purchases_.predict_no_purchase(snapshot, horizon_days=90)) / alive
    churn = np.linspace(0.3, 0.9, len(snapshot))
    told = model.predict(snapshot, horizon_days=90, churn_probability=churn)
    reachable = 1 - churn < most
    assert reachable.any()
    mixed = churn * told["clv_if_not"] + (1 - churn) * told["clv_if_buys"]
    np.testing.assert_allclose(mixed[reachable], told["clv"][reachable], rtol=1e-9)
    assert (told["p_alive"] >= 1 - churn).all()
    assert (told["p_alive"] >= model.alive_.predict_alive(snapshot)).all()
    gone = model.predict(snapshot, horizon_days=90, churn_probability=np.full(len(snapshot), 0.999))
    assert (gone["expected_orders_high"] == 0).all()
    assert (gone["clv_high"] == 0).mean() > 0.9


def test_not_buying_leaves_the_value_of_the_state_it_leads_to(model, snapshot):
    waited = ClvModel(horizon_days=365 - 90)
    waited._learn(model.purchases_, model.alive_, model.spend_)
    aged = snapshot.assign(T=snapshot["T"] + 90)
    expected = waited.predict(aged)["clv"] * 1.1 ** (-90 / 365)
    np.testing.assert_allclose(model.predict(snapshot, horizon_days=90)["clv_if_not"], expected, rtol=1e-9)


def test_without_discount_value_is_expected_spend(model, snapshot):
    plain = ClvModel(discount_rate_per_year=0.0)
    plain._learn(model.purchases_, model.alive_, model.spend_)
    prediction = plain.predict(snapshot, horizon_days=365)
    np.testing.assert_allclose(prediction["clv"], prediction["expected_spend"])
    ratio = model.predict(snapshot)["clv"] / prediction["clv"]
    assert ratio.between(1 / 1.1, 1).all()


def test_margin_scales_value_alone(model, snapshot, prediction):
    margins = np.linspace(0, 1, len(snapshot))
    scaled = model.predict(snapshot, margin_rate=margins, horizon_days=90)
    for column in prediction:
        factor = margins if column.startswith("clv") else 1.0
        np.testing.assert_allclose(scaled[column], prediction[column] * factor)
    with pytest.raises(SourceError, match=r"margin_rate is 1\.2"):
        model.predict(snapshot, margin_rate=1.2)
    with pytest.raises(SourceError, match="margin_rate is nan"):
        model.predict(snapshot.head(2), margin_rate=[0.2, np.nan])


def test_a_customer_s_interval_is_the_same_alone_in_a_batch_and_in_any_order(model, snapshot, prediction):
    shuffled = model.predict(snapshot.sample(frac=1, random_state=3), horizon_days=90).loc[snapshot.index]
    pd.testing.assert_frame_equal(shuffled, prediction, rtol=1e-12)
    for customer in snapshot.index[[0, 5, 40, 1000]]:
        alone = model.predict(snapshot.loc[[customer]], horizon_days=90)
        pd.testing.assert_frame_equal(alone, prediction.loc[[customer]], rtol=1e-12)


@pytest.mark.parametrize("family", [Family("bg_nbd"), Family("mbg_nbd"), Family("pareto_nbd"), Family("mbg_nbd", 2)])
def test_orders_are_distributed_around_what_is_expected(snapshot, family):
    model = ClvModel(family=family).fit(snapshot)
    rows = snapshot.sort_values("frequency").iloc[[0, 1500, -300, -40, -1]]
    outlook = model.outlook(rows, horizon_days=90)
    reached = np.array([Spread().order_probability(outlook, np.full(5, float(n))) for n in range(300)])
    assert (np.diff(reached, axis=0) >= 0).all()
    expected = model.predict(rows, horizon_days=90)["expected_orders"]
    np.testing.assert_allclose((1 - reached).sum(axis=0), expected, rtol=2e-3)
    shares = model.purchases_.predict_purchase_distribution(rows, horizon_days=90, max_count=3).cumsum(axis=1)
    np.testing.assert_allclose(reached[:4].T, shares, atol=0.06)


def test_intervals_cover_what_really_happens(simulated):
    busy = {"r": 3.0, "alpha": 30.0, "a": 0.5, "b": 8.0}
    world = with_spend(simulated(busy, chance_at_birth=True, n=6000, horizon=180.0, seed=5), seed=6)
    model = ClvModel(horizon_days=180, discount_rate_per_year=0.0).fit(world)
    prediction = model.predict(world, horizon_days=180)
    # where a purchase is likely the value is nearly continuous: then the interval must hold 90 %, neither more nor less
    likely = model.purchases_.predict_no_purchase(world, horizon_days=180) < 0.04
    assert likely.sum() > 1000
    spend, orders = world["future_spend"], world["future"]
    missed = (spend > prediction["clv_high"] * (1 + 1e-6)) | (spend < prediction["clv_low"] * (1 - 1e-6))
    assert missed[likely].mean() == pytest.approx(0.10, abs=0.03)
    assert missed.mean() < 0.12
    missed = (orders > prediction["expected_orders_high"]) | (orders < prediction["expected_orders_low"])
    assert missed.mean() < 0.11


def test_everybody_is_expected_at_the_level_at_which_closed_windows_came(model, snapshot, prediction):
    spread = Spread(order_errors=(-0.25,) * 8, value_errors=(-0.5,) * 8)
    found = ClvModel(family=Family(model.purchases_.family)).fit(snapshot, spread=spread).predict(snapshot)
    some = prediction["expected_orders"] > 0
    for name, logs in {"expected_orders": -0.2, "expected_spend": -0.4, "clv": -0.4}.items():
        np.testing.assert_allclose(found[name][some] / prediction[name][some], np.exp(logs), rtol=1e-9)


def test_totals_are_the_sums_by_group_whatever_is_computed_at_once(model, snapshot, prediction, monkeypatch):
    groups = np.where(snapshot["frequency"] > 0, "again", "once")
    totals = model.predict_totals(snapshot, groups, horizon_days=90)
    sums = prediction.groupby(groups)[["expected_orders", "expected_spend", "clv"]].sum()
    np.testing.assert_allclose(totals[["orders", "spend", "clv"]], sums, rtol=1e-9)
    assert totals["customers"].tolist() == [(groups == "again").sum(), (groups == "once").sum()]
    for amount in ("orders", "spend", "clv"):
        assert (totals[f"{amount}_low"] < totals[amount]).all()
        assert (totals[amount] < totals[f"{amount}_high"]).all()
    monkeypatch.setattr("models.clv._CHUNK", 100)
    pd.testing.assert_frame_equal(model.predict_totals(snapshot, groups, horizon_days=90), totals, rtol=1e-12)


def test_a_total_is_surer_than_its_customers_and_less_sure_than_if_they_were_alone(model, snapshot, prediction):
    everyone = model.predict_totals(snapshot, horizon_days=90).loc["all"]
    width = everyone["orders_high"] - everyone["orders_low"]
    spread = (prediction["expected_orders_high"] - prediction["expected_orders_low"]).sum()
    assert 2 * 1.64 * 0.05 * everyone["orders"] < width < spread  # what all have in common does not cancel out


def test_a_customer_with_a_hundred_thousand_orders_has_a_finite_interval(model):
    busy = pd.DataFrame({"frequency": [1e5], "recency": [1000.0], "T": [1000.0], "monetary_value": [30.0]})
    row = model.predict(busy, horizon_days=90).iloc[0]
    assert row["expected_orders_low"] <= row["expected_orders"] <= row["expected_orders_high"]
    assert row["expected_orders_low"] < row["expected_orders_high"] < 2e4
    assert np.isfinite(row.astype(float)).all()


def test_a_customer_without_history_gets_the_population(model):
    new = pd.DataFrame({"frequency": [0.0], "recency": [0.0], "T": [0.0], "monetary_value": [np.nan]})
    row = model.predict(new).iloc[0]
    p, q, v = model.spend_.params_.values()
    assert row["expected_order_value"] == pytest.approx(p * v / (q - 1))
    assert 0 < row["clv"] < row["clv_high"]
    assert row["from_population"]


def test_a_customer_never_seen_gets_the_population_and_one_with_history_does_not(model, snapshot):
    unseen = pd.DataFrame(np.nan, index=["?"], columns=["frequency", "recency", "T", "monetary_value"])
    new = pd.DataFrame({"frequency": [0.0], "recency": [0.0], "T": [0.0], "monetary_value": [np.nan]}, index=["?"])
    pd.testing.assert_frame_equal(model.predict(unseen), model.predict(new))
    assert model.predict(unseen)["from_population"].all()
    assert not model.predict(snapshot.head(50))["from_population"].any()
    half = new.assign(recency=np.nan)
    with pytest.raises(SourceError, match="recency must be finite"):
        model.predict(half)


def test_too_little_to_learn_from_is_said(snapshot):
    with pytest.raises(InsufficientData, match="no purchase has a value"):
        ClvModel().fit(snapshot.assign(monetary_value=np.nan))
    once = snapshot[snapshot["frequency"] == 0]
    few = pd.concat([snapshot[snapshot["frequency"] > 0].head(49), once])
    with pytest.raises(InsufficientData, match="49 of 1460 customers have repeat purchases of value; 50 are needed"):
        ClvModel().fit(few)
    with pytest.raises(InsufficientData, match="0 of 1411"):
        ClvModel().fit(once)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"horizon_days": 0}, "horizon_days"),
        ({"discount_rate_per_year": -0.1}, "discount_rate"),
    ],
)
def test_impossible_parameters_are_refused(snapshot, parameters, name):
    with pytest.raises(ValueError, match=name):
        ClvModel(**parameters).fit(snapshot)


def test_an_artefact_gives_the_same_predictions_to_the_bit(model, snapshot, prediction, tmp_path):
    directory = write_artefact(tmp_path / "clv", "clv", model.to_files(), {})
    restored = ClvModel.from_files(read_artefact(directory, "clv").files)
    pd.testing.assert_frame_equal(restored.predict(snapshot, horizon_days=90), prediction, check_exact=True)
    assert restored.to_files() == model.to_files()


@pytest.mark.parametrize("spoil", [b"{}", b"[]", b"", b'{"horizon_days": 365}'])
def test_a_spoiled_artefact_is_refused(spoil):
    with pytest.raises(ArtefactError, match=r"clv\.json"):
        ClvModel.from_files({"clv.json": spoil})
