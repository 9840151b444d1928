"""The generated company keeps its promises: the contract's columns, its own truth, the same rows for the same seed."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.company import OFFER_EFFECT_DAYS, OFFER_EFFECTS, Company, generate
from features.contract import INTERACTION_KINDS, TABLES


@pytest.fixture(scope="module")
def company() -> Company:
    return generate(customers=20_000, days=540, seed=1)


def test_every_column_is_in_the_contract(company: Company) -> None:
    for name, frame in company.tables.items():
        assert set(frame) <= set(TABLES[name].mappable), name
        required = {column.name for column in TABLES[name].columns if column.required}
        assert required <= set(frame), name
    assert set(company.tables["interactions"]["kind"]) <= set(INTERACTION_KINDS)


def test_nothing_happens_outside_the_log(company: Company) -> None:
    for name, frame in company.tables.items():
        if TABLES[name].instant is not None:
            instants = frame[TABLES[name].instant]
            assert instants.min() >= pd.Timestamp("2024-01-01")
            assert instants.max() < company.last_day


def test_the_same_seed_gives_the_same_rows() -> None:
    one, two, other = generate(300, seed=3), generate(300, seed=3), generate(300, seed=4)
    for name, frame in one.tables.items():
        pd.testing.assert_frame_equal(frame, two.tables[name])
    assert not one.tables["orders"].equals(other.tables["orders"])


def test_offers_have_the_effect_they_were_given(company: Company) -> None:
    purchases = company.tables["orders"].query("amount > 0").drop_duplicates("order_id")
    offers = company.tables["offers"]
    after = offers.merge(purchases, on="customer_id", suffixes=("", "_order"))
    days = (after["ordered_at"] - after["occurred_at"]) / pd.Timedelta(days=1)
    hits = after[(days >= 0) & (days < OFFER_EFFECT_DAYS)].groupby("action_id").size()
    rates = hits / offers.groupby("action_id").size()
    for action, effect in OFFER_EFFECTS.items():
        assert rates[action] / rates["control"] - 1 == pytest.approx(effect, abs=0.08), action


def test_nobody_buys_after_leaving_except_through_an_offer(company: Company) -> None:
    purchases = company.tables["orders"].query("amount > 0")
    first = purchases.groupby("customer_id")["ordered_at"].min()
    left = first + pd.to_timedelta(
        company.truth.set_index("customer_id")["died_after_days"].replace(np.inf, np.nan), unit="D"
    )
    late = purchases["ordered_at"] > purchases["customer_id"].map(left) + pd.Timedelta(minutes=1)
    assert not late.any()
