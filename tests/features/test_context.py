"""What decisions read beside the features, and the months of a customer's page."""

from datetime import UTC, date

import pandas as pd
import pytest

from features.context import build_context
from features.contract import CONTACT_CHANNELS
from features.history import monthly_history
from features.records import AsOf
from features.snapshot import build_snapshot

AS_OF = AsOf.parse("2024-04-10", "UTC")  # day 101


def order(customer_id, ordered_at, amount, **rest):
    return {"customer_id": customer_id, "ordered_at": ordered_at, "amount": amount, **rest}


def consent(customer_id, occurred_at, granted, **rest):
    return {"customer_id": customer_id, "occurred_at": occurred_at, "granted": granted, **rest}


def test_facts_of_a_known_and_of_an_unknown_customer(make_records, at):
    records = make_records(
        timezone="Europe/London",
        margin_rate=0.3,
        customers=[
            {
                "customer_id": "ann",
                "language": "zh",
                "timezone": "Asia/Shanghai",
                "region": "Hunan",
                "birthday": pd.Timestamp("1990-02-28"),
                "margin_rate": 0.5,
            }
        ],
        orders=[
            order("ann", at(1), 5.0, category="tea", channel="web"),
            order("ann", at(2), 5.0, category="tea", channel="web"),
            order("ann", at(3), 20.0, category="cups", channel="shop"),
            order("ann", at(4), -20.0, category="cups", channel="app"),
            order("ann", at(120), 99.0, category="late", channel="late"),
            order("bob", at(9), 1.0),
        ],
        offers=[
            {"customer_id": "ann", "occurred_at": at(50), "action_id": "second"},
            {"customer_id": "ann", "occurred_at": at(40), "action_id": "first"},
            {"customer_id": "ann", "occurred_at": at(60), "action_id": "held_out", "control": True},
        ],
    )
    ann, bob = (row for _, row in build_context(records, AS_OF).iterrows())
    assert (ann.customer_id, ann.language, ann.timezone, ann.region) == ("ann", "zh", "Asia/Shanghai", "Hunan")
    assert (ann.birthday, ann.margin_rate) == (date(1990, 2, 28), 0.5)
    assert (ann.favourite_category, ann.favourite_channel) == ("cups", "web")  # by spend, by orders
    assert (ann.last_action_id, ann.last_offer_at) == ("second", at(50).tz_localize(UTC))
    assert (ann.first_order_at, ann.last_order_at) == (at(1).tz_localize(UTC), at(3).tz_localize(UTC))
    assert (bob.timezone, bob.margin_rate) == ("Europe/London", 0.3)  # the source's
    assert (
        bob[["language", "region", "birthday", "favourite_category", "favourite_channel", "last_offer_at"]].isna().all()
    )


def test_a_margin_is_the_customers_own_lines_where_they_name_it(make_records, at):
    lines = [
        order("ann", at(1), 30.0, margin=3.0),
        order("ann", at(2), 10.0, margin=5.0),
        order("ann", at(3), 60.0),  # names none: the others speak for it
        order("ann", at(4), -20.0, margin=-20.0),  # a return
        order("ann", at(200), 10.0, margin=10.0),  # after the cutoff
        order("bob", at(1), 10.0),
        order("cid", at(1), 10.0, margin=-4.0),  # sold at a loss
        order("dan", at(1), 10.0, margin=1.0),
    ]
    customers = [{"customer_id": "dan", "margin_rate": 0.5}]
    context = build_context(make_records(margin_rate=0.3, orders=lines, customers=customers), AS_OF)
    assert context["margin_rate"].tolist() == [0.2, 0.3, 0.0, 0.5]


@pytest.mark.parametrize(
    ("default", "words", "open_channels"),
    [
        ("allow", [], set(CONTACT_CHANNELS)),
        ("refuse", [], set()),
        ("refuse", [(1, True, {"channel": "sms"})], {"sms"}),
        ("allow", [(1, False, {})], set()),  # without a channel: every channel
        ("allow", [(1, False, {}), (2, True, {"channel": "email"})], {"email"}),
        ("refuse", [(2, True, {}), (1, False, {"channel": "sms"})], set(CONTACT_CHANNELS)),
        ("refuse", [(1, True, {"channel": "sms"}), (1, False, {"channel": "sms"})], set()),  # at once: the refusal
        ("allow", [(1, False, {"purpose": "service"})], set(CONTACT_CHANNELS)),
        ("refuse", [(101, True, {})], set()),  # after the instant
        ("allow", [(99, False, {"known_at": pd.Timestamp("2024-04-10")})], set(CONTACT_CHANNELS)),  # not known yet
    ],
)
def test_marketing_consent_is_the_latest_word_known(make_records, at, default, words, open_channels):
    said = [consent("ann", at(day, 0), granted, **rest) for day, granted, rest in words]
    others = [consent("bob", at(1), False), consent("not a customer", at(1), True)]
    records = make_records(orders=[order("ann", at(1), 1.0)], consents=said + others, consent_default=default)
    context = build_context(records, AS_OF)
    assert list(context.customer_id) == ["ann"]
    assert set(context.consented_channels.item()) == open_channels


def test_context_has_the_snapshots_customers_in_its_order(make_records, at):
    orders = [order(customer_id, at(1), 1.0) for customer_id in ("b", "a", "c")] + [order("only returns", at(1), -1.0)]
    records = make_records(orders=orders)
    assert list(build_context(records, AS_OF).customer_id) == list(build_snapshot(records, AS_OF).customer_id)


def test_months_are_local_and_net(make_records, at):
    orders = [
        order("ann", at(31, 17), 8.0),  # 1 February in Shanghai
        order("ann", at(33), 2.0),
        order("ann", at(33, 13), 1.0),
        order("ann", at(35), -4.0),
        order("ann", at(65), -1.0),
        order("ann", at(101, 0), 100.0),
    ]
    months = monthly_history(make_records(timezone="Asia/Shanghai", orders=orders), AS_OF)
    assert list(months.itertuples(index=False, name=None)) == [
        ("ann", date(2024, 2, 1), 2, 7.0),
        ("ann", date(2024, 3, 1), 0, -1.0),
    ]
    assert list(months.columns) == ["customer_id", "month", "orders", "spend"]
