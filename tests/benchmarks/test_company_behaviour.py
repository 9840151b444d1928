"""What the generated customers do is what their truth says: each check reads the tables as a business would."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.company import Company, CompanySettings, generate
from benchmarks.company.settings import SHARES

DAY = pd.Timedelta(days=1)


@pytest.fixture(scope="module")
def company() -> Company:
    return generate(customers=20_000, days=540, seed=2)


def interactions(company: Company, kind: str) -> pd.DataFrame:
    return company.tables["interactions"].query("kind == @kind")


def test_who_waits_for_an_answer_leaves_more_often(company: Company) -> None:
    """Which complaints are answered within a day is random, so the difference is the answer's effect."""
    complaints = company.complaint_truth.reset_index()
    complaints = complaints[complaints["opened_at"] < company.last_day - 90 * DAY]
    fast = complaints["replied_at"] - complaints["opened_at"] <= DAY
    orders = company.tables["orders"].query("amount > 0")[["customer_id", "ordered_at"]]
    after = complaints.merge(orders, on="customer_id")
    after = after[after["ordered_at"].between(after["opened_at"] + DAY, after["opened_at"] + 90 * DAY)]
    back = complaints["index"].isin(after["index"])
    difference = back[fast].mean() - back[~fast].mean()
    error = np.sqrt(back[fast].var() / fast.sum() + back[~fast].var() / (~fast).sum())
    assert difference > 4 * error
    assert not complaints["drove_away"][fast].any()
    assert 0.2 < complaints["drove_away"][~fast].mean() < CompanySettings().complaint_dropout


def test_interest_fades_before_customers_leave(company: Company) -> None:
    truth = company.truth.query("left_because == 'own_accord' and died_after_days > 120")
    created = company.tables["customers"].set_index("customer_id")["created_at"]
    left = created[truth["customer_id"]] + pd.to_timedelta(truth["died_after_days"].to_numpy(), unit="D")
    opens = interactions(company, "open")
    to_go = (opens["customer_id"].map(left) - opens["occurred_at"]) / DAY
    before, shortly, after = (to_go.between(*bounds).sum() for bounds in ((60, 90), (0, 30), (-30, 0)))
    assert shortly < 0.6 * before
    assert after < 0.4 * before


def test_opinions_follow_satisfaction_and_dropout(company: Company) -> None:
    truth = company.truth.set_index("customer_id")
    for kind in ("satisfaction", "nps"):
        answers = interactions(company, kind).groupby("customer_id")["value"].mean()
        seen = truth.loc[answers.index]
        assert answers.corr(seen["satisfaction"]) > 0.5
        assert answers.corr(seen["dropout_probability"], method="spearman") < -0.2
        by_need = answers.groupby(seen["need_type"]).mean()
        assert by_need["emotional"] > by_need["rational"] + 0.2


def test_social_customers_recommend_and_friends_come_after(company: Company) -> None:
    customers = company.tables["customers"].set_index("customer_id")
    referred = customers[customers["referred_by"].notna()]
    assert len(referred) / len(customers) == pytest.approx(SHARES["acquisition_channel"]["friend"], abs=0.01)
    assert set(referred["acquisition_channel"]) == {"friend"}
    assert (customers.loc[referred["referred_by"], "created_at"].to_numpy() < referred["created_at"].to_numpy()).all()
    need = company.truth.set_index("customer_id")["need_type"]
    assert (need[referred["referred_by"]] == "social").mean() > 2 * (need == "social").mean()
    assert set(referred["referred_by"]) <= set(interactions(company, "referral")["customer_id"])


def test_offers_reach_only_those_who_agreed(company: Company) -> None:
    offers = company.tables["offers"].query("propensity.notna()").sort_values("occurred_at")
    consents = company.tables["consents"].query("purpose == 'marketing'").sort_values("occurred_at")
    word = pd.merge_asof(offers, consents, on="occurred_at", by=["customer_id", "channel"])
    assert word["granted"].eq(True).all()
    assert not consents["granted"].all()
    assert set(offers["channel"]) == {"email", "app", "sms", "phone"}
    gone = company.tables["outcomes"].query("kind == 'unsubscribed'")
    assert gone["customer_id"].isin(consents.loc[~consents["granted"], "customer_id"]).all()


def test_the_standing_control_group_never_gets_anything(company: Company) -> None:
    held = set(company.truth.query("standing_control")["customer_id"])
    offers = company.tables["offers"].query("propensity.notna()")
    assert offers["customer_id"].isin(held).mean() == pytest.approx(CompanySettings().control_share, abs=0.01)
    assert offers.loc[offers["customer_id"].isin(held), "control"].all()
    assert (offers["control"] == (offers["action_id"] == "control")).all()


@pytest.mark.parametrize("policy", ["uniform", "targeted"])
def test_logged_propensities_are_those_that_drew(company: Company, policy: str) -> None:
    """The mean of 1 / propensity over what was drawn is the number of arms, whatever the policy."""
    one = company if policy == "uniform" else generate(20_000, days=300, settings=CompanySettings(policy="targeted"))
    propensity = one.tables["offers"]["propensity"].dropna()
    weight = 1 / propensity
    arms = one.tables["offers"].query("propensity.notna()")["action_id"].nunique()
    assert arms == 7
    assert weight.mean() == pytest.approx(arms, abs=5 * weight.std() / np.sqrt(len(weight)) + 1e-9)
    assert propensity.round(9).nunique() == (2 if policy == "uniform" else 8)


def test_returns_never_exceed_purchases(company: Company) -> None:
    orders = company.tables["orders"]
    back = orders["amount"] < 0
    assert back.mean() == pytest.approx(0.03, abs=0.005)
    lines = orders.assign(order_id=orders["order_id"].str.removeprefix("X")).groupby(["order_id", "product_id"])
    assert lines["quantity"].sum().min() >= 0
    assert lines["amount"].sum().min() >= -0.005
    first = lines["ordered_at"].transform("min")
    assert (orders["ordered_at"] > first)[back].all()


def test_need_types_show_in_discounts(company: Company) -> None:
    orders = company.tables["orders"].query("amount > 0")
    need = orders["customer_id"].map(company.truth.set_index("customer_id")["need_type"])
    share = (orders["discount"] > 0).groupby(need).mean()
    assert share["rational"] > 2 * share["social"] > 4 * share["emotional"]


def test_december_and_saturdays_are_busy_and_prices_hold(company: Company) -> None:
    orders = company.tables["orders"].query("amount > 0")
    month = orders[orders["ordered_at"].dt.year == 2024].groupby(orders["ordered_at"].dt.month).size()
    assert month[12] > 1.15 * (month[10] + month[11]) / 2
    weekday = orders.groupby(orders["ordered_at"].dt.day_of_week).size()
    assert weekday.idxmax() == 5
    price = orders["unit_price"][orders["amount"] > 5]
    spread = np.log(price).groupby(orders["product_id"]).agg(lambda value: value.max() - value.min())
    assert spread.median() < 0.13


def test_coffee_is_restocked_by_its_cycle(company: Company) -> None:
    """Among customers whose first purchases were of something else, coffee comes back every four weeks or so."""
    orders = company.tables["orders"].query("amount > 0 and category == 'filters'")
    days = orders.drop_duplicates(["customer_id", "order_id"]).sort_values(["customer_id", "ordered_at"])
    gaps = (days.groupby("customer_id")["ordered_at"].diff() / DAY).dropna()
    assert gaps.between(40, 80).mean() > 1.3 * gaps.between(80, 120).mean()


def test_people_have_names_in_several_scripts_and_reachable_nowhere(company: Company) -> None:
    customers = company.tables["customers"]
    assert customers["email"].str.endswith("@example.com").all()
    assert customers["email"].is_unique
    for script in ("[一-鿿]", "[А-я]", "[ء-ي]", "佐藤|鈴木", "[À-ÿ]", "[A-z]"):
        assert customers["name"].str.contains(script).sum() > 50, script
    for name in ("timezone", "birthday", "phone"):
        assert 0.1 < customers[name].isna().mean() < 0.6, name
