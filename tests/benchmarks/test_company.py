"""The generated company keeps its promises: the contract's columns, its own truth, the same rows for the same seed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.company import (
    DROPOUT_EFFECTS,
    OFFER_EFFECT_DAYS,
    PURE,
    RATE_EFFECTS,
    Company,
    generate,
)
from features.contract import INTERACTION_KINDS, TABLES
from features.sources import records_from_frames
from models.purchases import BetaGeoModel
from models.spend import GammaGammaModel


@pytest.fixture(scope="module")
def company() -> Company:
    return generate(customers=20_000, days=540, seed=1)


@pytest.fixture(scope="module")
def pure() -> Company:
    return generate(customers=20_000, days=540, seed=1, settings=PURE)


def purchases_of(company: Company) -> pd.DataFrame:
    """One row per order: customer_id, ordered_at, value."""
    bought = company.tables["orders"].query("amount > 0")
    return bought.groupby(["customer_id", "order_id"], as_index=False).agg(
        ordered_at=("ordered_at", "min"), value=("amount", "sum")
    )


def summary_of(company: Company) -> pd.DataFrame:
    """Frequency, recency and T in days, to the second."""
    orders = purchases_of(company).sort_values("ordered_at")
    grouped = orders.groupby("customer_id")
    first, last = grouped["ordered_at"].min(), grouped["ordered_at"].max()
    repeats = orders[orders.duplicated("customer_id")].groupby("customer_id")["value"].mean()
    day = pd.Timedelta(days=1)
    return pd.DataFrame(
        {
            "frequency": grouped.size() - 1,
            "recency": (last - first) / day,
            "T": (company.last_day - first) / day,
            "monetary_value": repeats,
        }
    )


def test_every_column_is_in_the_contract(company: Company) -> None:
    for name, frame in company.tables.items():
        assert set(frame) <= set(TABLES[name].mappable), name
        required = {column.name for column in TABLES[name].columns if column.required}
        assert required <= set(frame), name
    assert set(company.tables["interactions"]["kind"]) == set(INTERACTION_KINDS)


def test_the_reader_accepts_every_row() -> None:
    records = records_from_frames(generate(1_000).tables, currency="EUR")
    assert {report.table: report.quarantined for report in records.reports} == dict.fromkeys(generate(10).tables, 0)
    assert sum(report.corrected for report in records.reports) == 0


def test_nothing_happens_outside_the_log(company: Company) -> None:
    for name, frame in company.tables.items():
        if TABLES[name].instant is not None:
            instants = frame[TABLES[name].instant]
            assert instants.min() >= pd.Timestamp("2024-01-01")
            assert instants.max() < company.last_day
            assert instants.is_monotonic_increasing


def test_the_same_seed_gives_the_same_rows() -> None:
    one, two, other = generate(300, seed=3), generate(300, seed=3), generate(300, seed=4)
    for name, frame in one.tables.items():
        pd.testing.assert_frame_equal(frame, two.tables[name])
    assert not one.tables["orders"].equals(other.tables["orders"])


def test_bg_nbd_and_gamma_gamma_are_recovered_where_nothing_else_acts(pure: Company) -> None:
    summary = summary_of(pure)
    model = BetaGeoModel().fit(summary)
    true = {"r": PURE.rate_shape, "alpha": PURE.rate_days, "a": PURE.dropout_a, "b": PURE.dropout_b}
    for name, value in true.items():
        assert model.params_[name] == pytest.approx(value, rel=0.15), name
    spend = GammaGammaModel().fit(summary[summary["frequency"] > 0])
    for name, value in (("p", PURE.value_p), ("q", PURE.value_q), ("v", PURE.value_v)):
        assert spend.params_[name] == pytest.approx(value, rel=0.1), name


def test_covariates_are_seen_in_the_tables_and_act_as_stated() -> None:
    company = generate(customers=20_000, days=540, seed=1, settings=replace(PURE, covariates=True))
    seen = company.tables["customers"].set_index("customer_id")[["acquisition_channel", "region"]]
    first = company.tables["orders"].drop_duplicates("customer_id").set_index("customer_id")["category"]
    truth = company.truth.set_index("customer_id").assign(**seen, first_category=first)
    names = [(column, value) for column, row in RATE_EFFECTS.items() for value, effect in row.items() if effect]
    columns = np.column_stack([np.ones(len(truth)), *(truth[column] == value for column, value in names)])
    found = np.linalg.lstsq(columns, np.log(truth["rate_per_day"]), rcond=None)[0][1:]
    np.testing.assert_allclose(found, [RATE_EFFECTS[column][value] for column, value in names], atol=0.07)
    plain = truth.query("region == 'north' and first_category in ['coffee', 'tea']")
    mean = plain.groupby("acquisition_channel")["dropout_probability"].mean()
    ratio = np.log(mean / (1 - mean)) - np.log(PURE.dropout_a / PURE.dropout_b)  # a / b of a beta is its mean's odds
    for value, effect in DROPOUT_EFFECTS["acquisition_channel"].items():
        assert ratio[value] == pytest.approx(effect, abs=0.12), value
    # and the effects reach the orders: friends' friends come back more often
    repeats = company.tables["orders"].query("amount > 0").groupby("customer_id")["order_id"].nunique() - 1
    by_channel = repeats.groupby(seen["acquisition_channel"]).mean()
    assert by_channel["friend"] > 1.5 * by_channel["social"]


def test_offers_have_the_effect_they_were_given(company: Company) -> None:
    """Orders after offers, against the truth of each offer, within four standard errors, by arm and need type."""
    truth = company.offer_truth.set_index("offer_id")
    need = company.truth.set_index("customer_id")["need_type"]
    offers = company.tables["offers"].query("propensity.notna()").set_index("offer_id")
    bought = company.tables["outcomes"].query("kind == 'bought'").groupby("offer_id").size()
    counts = bought.reindex(offers.index, fill_value=0)
    for (action, kind), arm in offers.groupby(["action_id", offers["customer_id"].map(need)]):
        uplift = 0.0 if action == "control" else truth.loc[arm.index, f"uplift_{action}"]
        expected = truth.loc[arm.index, "expected_orders"] + uplift
        error = counts[arm.index] - expected
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error)), (action, kind)
    won_back = offers.query("action_id == 'win_back_coupon'").index[
        truth.loc[offers.query("action_id == 'win_back_coupon'").index, "at_risk"]
    ]
    assert (counts[won_back] > 0).mean() > 0.15
    rates = counts.groupby(offers["action_id"]).mean()
    assert rates["coupon"] > 1.3 * rates["control"]
    assert rates["daily_reminder"] < 0.8 * rates["control"]


def test_nobody_buys_after_leaving_except_through_an_offer(company: Company, pure: Company) -> None:
    for one in (company, pure):
        purchases = purchases_of(one)
        first = purchases.groupby("customer_id")["ordered_at"].min()
        left = first + pd.to_timedelta(
            one.truth.set_index("customer_id")["died_after_days"].replace(np.inf, np.nan), unit="D"
        )
        late = purchases[purchases["ordered_at"] > purchases["customer_id"].map(left) + pd.Timedelta(minutes=1)]
        if one is pure:
            assert late.empty
            continue
        back = one.tables["offers"].query("action_id == 'win_back_coupon'").merge(late, on="customer_id")
        since = back["ordered_at"] - back["occurred_at"]
        within = (since >= pd.Timedelta(0)) & (since <= pd.Timedelta(days=OFFER_EFFECT_DAYS))
        assert set(late["order_id"]) == set(back.loc[within, "order_id"])
