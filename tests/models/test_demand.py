"""Demand: what past windows teach beyond a history, on a simulated shop where histories alone mislead."""

from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest

from features.catalogue import MODEL_FEATURES
from models.clv import ClvModel
from models.demand import HEADS, Demand, DemandModel, Forecaster
from perennial.errors import ArtefactError, InsufficientData

WINDOW = 60


def cutoff_rows(n: int, seed: int, days: float = WINDOW) -> pd.DataFrame:
    """Return customers half of whom open e-mails and buy twice as much from now on; their histories do not show it."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(1.0, 0.02, n)
    age = rng.uniform(100, 300, n).round()
    frequency = rng.poisson(rate * age).astype(float)
    recency = np.where(frequency > 0, np.ceil(age * rng.beta(frequency + 1, 1)), 0.0)
    opens = rng.integers(0, 2, n).astype(float)
    orders = rng.poisson(rate * days * np.where(opens == 1, 2.0, 0.5)).astype(float)
    value = 20 * rng.gamma(4.0, 0.25, n)
    rows = pd.DataFrame(dict.fromkeys(MODEL_FEATURES, 0.0), index=range(n))
    rows["customer_id"] = [f"c{number}" for number in range(n)]
    rows["as_of"] = pd.Timestamp("2024-06-01", tz="UTC") + pd.Timedelta(days=seed)
    return rows.assign(
        frequency=frequency,
        recency=np.minimum(recency, age),
        T=age,
        monetary_value=np.where(frequency > 0, value, np.nan),
        email_opens_90d=opens,
        actual_orders=orders,
        actual_spend=orders * value - (rng.random(n) < 0.02) * 30,
    )


def told(demand: Demand) -> tuple[np.ndarray, np.ndarray]:
    return demand.orders, demand.spend


@pytest.fixture(scope="module")
def learned() -> pd.DataFrame:
    return pd.concat([cutoff_rows(1500, seed) for seed in (1, 2)], ignore_index=True)


@pytest.fixture(scope="module")
def model(learned) -> DemandModel:
    return DemandModel(WINDOW).fit(learned)


def test_it_learns_what_histories_do_not_show(model):
    today = cutoff_rows(3000, 9)
    forecaster = Forecaster.fit(today)
    orders, spend = told(model.predict(today, forecaster, WINDOW))
    btyd = forecaster.purchases.predict_purchases(today, horizon_days=WINDOW)
    actual = today["actual_orders"].to_numpy()
    assert np.mean((orders - actual) ** 2) < 0.9 * np.mean((btyd - actual) ** 2)
    opens = today["email_opens_90d"] == 1
    assert orders[opens].mean() / orders[~opens].mean() == pytest.approx(4.0, rel=0.25)
    assert orders.mean() == pytest.approx(actual.mean(), rel=0.1)
    assert spend.mean() == pytest.approx(today["actual_spend"].clip(lower=0).mean(), rel=0.15)


def test_another_horizon_is_reached_in_the_proportion_of_the_forecast(model):
    today = cutoff_rows(500, 9)
    forecaster = Forecaster.fit(today)
    near, far = (told(model.predict(today, forecaster, days)) for days in (WINDOW, 3 * WINDOW))
    expected = [forecaster.purchases.predict_purchases(today, horizon_days=days) for days in (WINDOW, 3 * WINDOW)]
    for amount_near, amount_far in zip(near, far, strict=True):
        np.testing.assert_allclose(amount_far / amount_near, expected[1] / expected[0])


def test_an_artefact_gives_the_same_predictions_and_damage_is_refused(model):
    today = cutoff_rows(300, 9)
    forecaster = Forecaster.fit(today)
    files = model.to_files()
    again = DemandModel.from_files(files)
    for ours, theirs in zip(*(astuple(one.predict(today, forecaster, 90)) for one in (again, model)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for head in HEADS:
        with pytest.raises(ArtefactError, match="train it again"):
            DemandModel.from_files({**files, head.file: b"no trees"})


def test_few_buyers_teach_nothing(learned):
    with pytest.raises(InsufficientData, match="customers bought in the windows; 200 are needed"):
        DemandModel(WINDOW).fit(learned[learned["actual_orders"] == 0])


def test_value_follows_demand_and_stays_a_mean_of_its_two_futures(model):
    today = cutoff_rows(400, 9)
    plain, taught = ClvModel().fit(today), ClvModel().fit(today, model)
    churn = np.clip(plain.purchases_.predict_no_purchase(today, horizon_days=WINDOW), 0.02, 0.98)
    found = taught.predict(today, horizon_days=WINDOW, churn_probability=churn)
    orders, spend = told(model.predict(today, Forecaster(taught.purchases_, taught.spend_), WINDOW))
    np.testing.assert_allclose(found["expected_orders"], orders * taught.anchor_[0])
    np.testing.assert_allclose(found["expected_spend"], spend * taught.anchor_[1])
    btyd = taught.purchases_.predict_purchases(today, horizon_days=WINDOW).sum()
    assert found["expected_orders"].sum() == pytest.approx(np.sqrt(btyd * orders.sum()))
    mixed = (1 - churn) * found["clv_if_buys"] + churn * found["clv_if_not"]
    # who is certainly still there buys less surely than the churn probability asks for some customers
    reachable = np.isclose(mixed, found["clv"], rtol=1e-6)
    assert reachable.mean() > 0.9
    restored = ClvModel.from_files(taught.to_files())
    pd.testing.assert_frame_equal(restored.predict(today, horizon_days=WINDOW, churn_probability=churn), found)
    assert "email_opens_90d" in restored.inputs
    ordinary = plain.predict(today, horizon_days=WINDOW, churn_probability=churn)
    opens = (today["email_opens_90d"] == 1).to_numpy()
    lift = (found["clv"] / ordinary["clv"]).to_numpy()
    assert np.median(lift[opens]) > 2 * np.median(lift[~opens])
    higher = found["expected_orders_high"] - ordinary["expected_orders_high"]
    assert higher[opens].mean() > 0 > higher[~opens].mean()
