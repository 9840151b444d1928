"""Snapshots against values computed by hand and against published CDNOW figures."""

from importlib.util import find_spec
from pathlib import Path

import ibis
import ibis.expr.operations as ops
import numpy as np
import pandas as pd
import pytest

from features.catalogue import FEATURES
from features.records import AsOf
from features.snapshot import as_frame, build_snapshot, snapshot_expression

SHANGHAI = "Asia/Shanghai"  # UTC+8 all year: 2024-04-10 starts there on day 100, 16:00 UTC
AS_OF = AsOf.parse("2024-04-10", SHANGHAI)


def line(customer_id, ordered_at, amount, **rest):
    return {"customer_id": customer_id, "ordered_at": ordered_at, "amount": amount, **rest}


def event(customer_id, occurred_at, **rest):
    return {"customer_id": customer_id, "occurred_at": occurred_at, **rest}


@pytest.fixture(scope="module")
def log(at):
    tea, cups = {"category": "tea"}, {"category": "cups"}
    orders = [
        # Monday 1 January, 20:00 in Shanghai: two lines of one order
        line("ann", at(1), 30.0, order_id="A", quantity=3, discount=10.0, channel="web", **tea),
        line("ann", at(1), 10.0, order_id="A", quantity=1, discount=0.0, channel="web", **cups),
        # Sunday 23:00 UTC is Monday 22 January, 7:00 in Shanghai; the free order that evening is the same occasion
        line("ann", at(21, 23), 20.0, order_id="B", quantity=2, discount=0.0, channel="shop", **tea),
        line("ann", at(22, 10), 0.0, order_id="C", quantity=1, discount=0.0, channel="web"),
        line("ann", at(31), -15.0, order_id="R", quantity=-1, **tea),
        # Saturday 6 April, 11:00 in Shanghai: no longer morning
        line("ann", at(97, 3), 60.0, order_id="D", channel="web", **tea),
        line("ann", at(100, 16), 1000.0, order_id="E", channel="app", category="late"),  # the cutoff's own instant
        line("bob", at(98), 5.0),
        line("cem", at(50), -5.0),
        line("dee", at(50), 5.0, known_at=at(100, 16)),
    ]
    offers = [
        event("ann", at(92), offer_id="f1"),
        event("ann", at(5), offer_id="f2"),
        event("ann", at(93), offer_id="f3", control=True),
    ]
    outcomes = [
        event("ann", at(8), offer_id="f2", kind="redeemed"),
        event("ann", at(9), offer_id="f2", kind="redeemed"),
    ]
    interactions = [
        event("ann", at(-30), kind="referral"),
        event("ann", at(2), kind="nps", value=7),
        event("ann", at(32), kind="visit"),
        event("ann", at(61), kind="complaint_opened"),
        event("ann", at(65), kind="complaint_closed"),
        event("ann", at(66), kind="satisfaction", value=2),
        event("ann", at(80), kind="complaint_opened"),
        event("ann", at(90), kind="satisfaction", value=4),
        event("ann", at(96), kind="open", channel="email"),
    ]
    customers = [
        {"customer_id": "ann", "created_at": at(-9)},
        {"customer_id": "bob", "created_at": at(300)},
    ]
    return {
        "orders": orders,
        "offers": offers,
        "outcomes": outcomes,
        "interactions": interactions,
        "customers": customers,
    }


ANN = {
    "frequency": 2,  # 1 January, 22 January, 6 April
    "recency": 96,
    "T": 99,  # to 9 April, the last whole day
    "monetary_value": (20 + 60) / 2 * (1 - 15 / 120),
    "days_since_last_order": 3,
    "tenure_days": 109,  # known since 22 December
    "orders_7d": 1,
    "orders_30d": 1,
    "orders_90d": 2,
    "orders_365d": 3,
    "spend_7d": 60,
    "spend_30d": 60,
    "spend_90d": 65,
    "spend_365d": 105,
    "spend_total": 105,
    "order_value_mean": 40,
    "order_value_last": 60,
    "order_value_last_ratio": 60 / 40,
    "first_order_value": 40,
    "active_months_360d": 3,  # 3, 78 and 99 days before the last whole day
    "gap_median_days": 48,  # gaps 21 and 75
    "gap_p90_days": 21 + 0.9 * 54,
    "gap_mean_days": 48,
    "gap_max_days": 75,
    "gap_first_days": 21,
    "gap_last_days": 75,
    "gap_last_ratio": 75 / 48,
    "gap_cv": 27 / 48,
    "gap_burstiness": (3**0.5 * 27 / 48 - 1) / ((3**0.5 - 2) * 27 / 48 + 1),
    "overdue_ratio": 3 / 48,
    "overdue_p90_ratio": 3 / (21 + 0.9 * 54),
    "overdue_max_ratio": 3 / 75,
    "orders_trend_30d": (1 - 1 / 2) / (1 + 1 / 2),  # one in 30 days; one in the 60 before
    "spend_trend_30d": (60 - 5 / 2) / (60 + 5 / 2),
    "orders_trend_90d": (2 - 1) / 3,
    "spend_trend_90d": (65 - 40) / 105,
    "orders_pace_90d": 2 / (3 * 90 / 100),
    "orders_next_90d_year_ago": np.nan,
    "basket_lines_mean": 5 / 4,
    "basket_quantity_mean": 7 / 3,
    "category_breadth": 2,
    "category_breadth_90d": 1,
    "category_concentration": (110**2 + 10**2) / 120**2,
    "days_since_favourite_category": 3,
    "favourite_category_overdue_ratio": 3 / 48,  # tea on days 1, 22 and 97
    "categories_due_share": 0,  # cups have no rhythm
    "discount_share": 10 / 130,
    "discounted_line_share": 1 / 4,
    "discounted_order_share": 1 / 3,
    "discount_depth_share": 10 / 50,
    "line_value_ratio_90d": 80 / 3 / 24,
    "weekend_share": 1 / 4,
    "evening_share": 2 / 4,
    "morning_share": 1 / 4,
    "hour_concentration": abs(np.exp(2j * np.pi * np.array([20, 7, 18, 11]) / 24).mean()),
    "weekday_concentration": abs(np.exp(2j * np.pi * np.array([0, 0, 0, 5]) / 7).mean()),
    "favourite_channel_share": 3 / 4,
    "offers_received_30d": 1,
    "offers_received_90d": 1,
    "offers_received_365d": 2,
    "offers_since_redemption": 1,
    "days_since_last_offer": 8,
    "offers_redeemed_90d": 0,
    "offers_redeemed_365d": 2,
    "days_since_last_redemption": 91,
    "offer_redemption_rate": 1 / 2,
    "returns_total": 1,
    "return_amount_share_90d": 15 / 80,
    "days_since_last_return": 69,
    "interactions_30d": 3,
    "interactions_90d": 7,
    "interactions_trend_90d": (7 - 2) / 9,
    "days_since_last_interaction": 4,
    "visits_90d": 1,
    "clicks_90d": 0,
    "email_opens_90d": 1,
    "contact_weeks_91d": 6,  # 0, 1, 2, 4, 5 and 9 weeks back
    "contact_months_360d": 5,
    "complaints_open": 1,
    "complaints_90d": 2,
    "complaints_total": 2,
    "days_since_last_complaint": 20,
    "complaint_days_mean": (4 + 20) / 2,
    "satisfaction_last": 4,
    "satisfaction_mean": 3,
    "satisfaction_change": 2,
    "nps_last": 7,
    "referrals_total": 1,
    "days_since_last_referral": 130,
}
UNDEFINED_FOR_ONE_PLAIN_ORDER = {
    *("monetary_value", "gap_median_days", "gap_p90_days", "gap_mean_days", "gap_max_days", "gap_first_days"),
    *("gap_last_days", "gap_last_ratio", "gap_cv", "gap_burstiness"),
    *("overdue_ratio", "overdue_p90_ratio", "overdue_max_ratio"),
    "orders_next_90d_year_ago",
    *("basket_quantity_mean", "category_breadth", "category_breadth_90d", "category_concentration"),
    *("days_since_favourite_category", "favourite_category_overdue_ratio"),
    *("categories_due_share", "discount_share", "discounted_line_share"),
    *("discounted_order_share", "discount_depth_share"),
    "favourite_channel_share",
    *("days_since_last_offer", "days_since_last_redemption", "offer_redemption_rate", "days_since_last_return"),
    *("interactions_trend_90d", "days_since_last_interaction", "days_since_last_complaint", "complaint_days_mean"),
    *("satisfaction_last", "satisfaction_mean", "satisfaction_change", "nps_last", "days_since_last_referral"),
}


def test_every_feature_of_a_hand_computed_customer(make_records, log):
    rows = build_snapshot(make_records(timezone=SHANGHAI, **log), AS_OF).set_index("customer_id")
    assert set(ANN) == set(FEATURES)
    for name, expected in ANN.items():
        # shares of categories are rounded to billionths, points on a clock face to millionths; all else is exact
        rounded = 1e-6 if name in ("hour_concentration", "weekday_concentration") else 1e-8
        assert rows.loc["ann", name] == pytest.approx(expected, rel=rounded, nan_ok=True), name


def test_undefined_is_nan_and_nothing_else_is(make_records, log):
    rows = build_snapshot(make_records(timezone=SHANGHAI, **log), AS_OF).set_index("customer_id")
    bob = rows.loc["bob", list(FEATURES)].astype(float)
    assert set(bob.index[bob.isna()]) == UNDEFINED_FOR_ONE_PLAIN_ORDER
    assert bob["tenure_days"] == bob["T"] == 2  # a creation after the cutoff is not known yet


def test_rows_are_customers_with_a_purchase_seen_before_the_cutoff(make_records, log):
    rows = build_snapshot(make_records(timezone=SHANGHAI, **log), AS_OF)
    assert list(rows.customer_id) == ["ann", "bob"]  # cem only returned; dee's order was not known yet
    assert list(rows.columns) == ["customer_id", "as_of", *FEATURES]
    assert str(rows.as_of.dtype) == "datetime64[us, UTC]"
    assert (rows.as_of == AS_OF.instant).all()
    assert (rows.dtypes[list(FEATURES)] == np.float64).all()


def test_each_cutoff_sees_its_own_part_of_an_order(make_records, at):
    orders = [
        line("ann", at(10), 1.5, order_id="o"),
        line("ann", at(12), 2.25, order_id="o"),
        line("ann", at(11), 4.0, order_id="o", known_at=at(20)),
    ]
    cutoffs = [AsOf.parse(f"2024-01-{day}", "UTC") for day in (12, 15, 25)]
    rows = build_snapshot(make_records(orders=orders), cutoffs)
    assert list(rows.spend_total) == [1.5, 3.75, 7.75]
    assert list(rows.basket_lines_mean) == [1, 2, 3]
    assert list(rows.frequency) == [0, 0, 0]
    assert list(rows["T"]) == [1, 4, 14]  # dated by its earliest line


def test_a_cutoff_within_a_day_keeps_recency_within_age(make_records, at):
    orders = [line("ann", at(1), 1.0), line("ann", at(5, 9), 1.0)]
    row = build_snapshot(make_records(orders=orders), AsOf.parse("2024-01-05T13:00", "UTC")).iloc[0]
    assert (row.recency, row["T"], row.days_since_last_order) == (4, 4, 0)


def test_windows_are_elapsed_days_across_a_clock_change(make_records, at):
    # New York's clocks went forward on 10 March 2024, so seven elapsed days before 12 March start at 23:00 on 4 March
    orders = [line("in", at(65, 4), 1.0), line("out", at(65, 3.99), 1.0)]
    records = make_records(timezone="America/New_York", orders=orders)
    rows = build_snapshot(records, AsOf.parse("2024-03-12", "America/New_York")).set_index("customer_id")
    assert rows.orders_7d.to_dict() == {"in": 1, "out": 0}
    assert rows.days_since_last_order.to_dict() == {"in": 7, "out": 7}  # both on 4 March's calendar day


def test_more_returned_than_bought_is_worth_nothing(make_records, at):
    orders = [line("ann", at(1), 10.0), line("ann", at(3), 10.0), line("ann", at(4), -50.0)]
    row = build_snapshot(make_records(orders=orders), AsOf.parse("2024-01-10", "UTC")).iloc[0]
    assert (row.monetary_value, row.spend_total, row.return_amount_share_90d) == (0, -30, 2.5)


def test_worse_of_two_answers_at_one_instant_counts(make_records, at):
    interactions = [event("ann", at(2), kind="satisfaction", value=value) for value in (5, 1, 3)]
    records = make_records(orders=[line("ann", at(1), 1.0)], interactions=interactions)
    assert build_snapshot(records, AsOf.parse("2024-01-10", "UTC")).satisfaction_last.item() == 1


def test_no_customer_gives_an_empty_frame_of_the_same_shape(make_records, at):
    rows = build_snapshot(make_records(orders=[line("ann", at(9), 1.0)]), AsOf.parse("2024-01-01", "UTC"))
    assert rows.empty
    assert list(rows.columns) == ["customer_id", "as_of", *FEATURES]


def test_cdnow_gives_the_published_summary(make_records):
    """The 1/10 sample of Fader and Hardie: 2,357 customers, 39 weeks of calibration, weeks rounded to two digits."""
    folder = Path(find_spec("lifetimes").submodule_search_locations[0]) / "datasets"
    names = ["master_id", "customer_id", "day", "quantity", "amount"]
    lines = pd.read_csv(folder / "CDNOW_sample.txt", sep=r"\s+", names=names, dtype={"customer_id": str})
    lines["ordered_at"] = pd.to_datetime(lines.day.astype(str), format="%Y%m%d")
    records = make_records(orders=lines.drop(columns=["master_id", "day"]).to_dict("records"))
    rows = build_snapshot(records, records.as_of("1997-10-01"))
    published = pd.read_csv(folder / "cdnow_customers_summary.csv")
    spend = pd.read_csv(folder / "cdnow_customers_summary_with_transactions.csv")
    assert len(rows) == len(published) == 2357
    np.testing.assert_array_equal(rows.frequency, published.frequency)
    np.testing.assert_allclose(rows.recency / 7, published.recency, atol=0.0051)
    np.testing.assert_allclose(rows["T"] / 7, published["T"], atol=0.0051)
    np.testing.assert_allclose(rows.monetary_value.fillna(0), spend.zbar, atol=0.0051)


def test_only_wanted_features_are_computed_and_each_equals_its_column_in_the_whole(make_records, log):
    records = make_records(timezone=SHANGHAI, **log)
    whole = build_snapshot(records, AS_OF)
    groups = {feature.group: [] for feature in FEATURES.values()}
    for name, feature in FEATURES.items():
        groups[feature.group].append(name)
    for names in ([], *groups.values(), ["nps_last", "T", "orders_trend_90d"]):
        ordered = [name for name in FEATURES if name in names]
        pd.testing.assert_frame_equal(
            build_snapshot(records, AS_OF, names), whole[["customer_id", "as_of", *ordered]], check_exact=True
        )


def test_tables_and_totals_that_no_wanted_feature_reads_are_left_out(make_records, log):
    records = make_records(timezone=SHANGHAI, **log)
    for names, tables in ((["frequency"], {"orders"}), (["frequency", "nps_last"], {"orders", "interactions"})):
        assert {
            table.name for table in snapshot_expression(records, [AS_OF], names).op().find(ops.DatabaseTable)
        } == tables
    sql = ibis.to_sql(snapshot_expression(records, [AS_OF], ["frequency"]), dialect="duckdb")
    assert "quantile" not in sql.lower()


@pytest.mark.parametrize("days", [["2024-04-10"], ["2024-01-22T15:30", "2024-02-01", "2024-04-10"]])
def test_the_compiled_statement_says_what_the_expression_says(make_records, log, days):
    records = make_records(timezone=SHANGHAI, **log)
    moments = [AsOf.parse(day, SHANGHAI) for day in days]
    expressed = snapshot_expression(records, moments).to_pyarrow()
    pd.testing.assert_frame_equal(build_snapshot(records, moments), as_frame(expressed), check_exact=True)


def test_unknown_features_are_named(make_records, log):
    with pytest.raises(ValueError, match="no such features: recencies"):
        build_snapshot(make_records(**log), AS_OF, ["T", "recencies"])
