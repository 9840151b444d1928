"""Several ids of one person: which links stand, and that a view knows only those learned before it."""

from datetime import date

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given

from features.context import build_context
from features.history import monthly_history
from features.identities import as_known
from features.links import Link, judge
from features.records import AsOf
from features.snapshot import build_snapshot
from features.sources import records_from_frames
from tests.features.sourcing import column, report
from training.labels import label

JANUARY, MARCH = pd.Timestamp("2024-01-31"), pd.Timestamp("2024-03-01")
AS_OF = AsOf.parse("2024-03-01", "UTC")


def order(customer_id, ordered_at, amount=10.0, **rest):
    return {"customer_id": customer_id, "ordered_at": ordered_at, "amount": amount, **rest}


def link(customer_id, master_id, known_at=None):
    return {"customer_id": customer_id, "master_id": master_id, "known_at": known_at}


def spend(records, moments=AS_OF):
    rows = build_snapshot(records, moments)
    return dict(zip(rows.customer_id, rows.spend_total, strict=True))


def verdicts(*links):
    """Return the reason of each (customer, master, day known) by its place."""
    return judge(Link(place, *given) for place, given in enumerate(links))


@pytest.mark.parametrize(
    ("links", "reasons"),
    [
        ([("a", "b", None), ("b", "c", None)], {}),
        ([("a", "a", None)], {}),
        ([("a", "b", None), ("a", "c", None)], {0: "conflicting_master", 1: "conflicting_master"}),
        ([("a", "b", JANUARY), ("a", "c", MARCH)], {1: "conflicting_master"}),
        ([("a", "c", MARCH), ("a", "b", JANUARY), ("a", "b", MARCH)], {0: "conflicting_master", 2: "duplicate_link"}),
        ([("a", "b", None), ("a", "b", None)], {1: "duplicate_link"}),
        ([("a", "b", None), ("b", "a", None), ("x", "a", None)], {0: "cyclic_link", 1: "cyclic_link"}),
        ([("a", "b", JANUARY), ("b", "c", JANUARY), ("c", "a", MARCH)], {2: "cyclic_link"}),
    ],
)
def test_the_earlier_word_stands_and_of_contradictions_at_once_none(links, reasons):
    assert verdicts(*links) == reasons


IDS = st.sampled_from("abcdef")
LINKS = st.lists(st.tuples(IDS, IDS, st.sampled_from([None, JANUARY, MARCH])), max_size=12)


@given(LINKS, st.randoms(use_true_random=False))
def test_verdicts_do_not_depend_on_the_order_and_leave_no_circle(links, random):
    reasons = verdicts(*links)
    shuffled = random.sample(links, len(links))
    again = verdicts(*shuffled)
    kept, kept_again = (
        sorted({str(row) for place, row in enumerate(rows) if place not in found})
        for rows, found in ((links, reasons), (shuffled, again))
    )
    assert kept == kept_again
    masters = {a: b for place, (a, b, _) in enumerate(links) if place not in reasons and a != b}
    for start in masters:
        step, steps = start, 0
        while step in masters:
            step, steps = masters[step], steps + 1
            assert steps <= len(masters)


@given(LINKS)
def test_what_is_known_later_changes_no_earlier_verdict(links):
    early = [row for row in links if row[2] != MARCH]
    reasons, alone = verdicts(*links), verdicts(*early)
    places = [place for place, row in enumerate(links) if row[2] != MARCH]
    assert {places.index(place): reason for place, reason in reasons.items() if place in places} == alone


def test_a_chain_makes_one_customer_known_strictly_before_the_cutoff(make_records, at):
    orders = [order("a", at(1)), order("b", at(2)), order("c", at(3)), order("d", at(4))]
    links = [link("a", "b"), link("b", "c", at(40)), link("d", "c", AS_OF.naive_utc)]
    records = make_records(orders=orders, identities=links)
    assert spend(records) == {"c": 30.0, "d": 10.0}  # the last link became known at the cutoff itself: not yet
    moments = [AsOf.parse("2024-02-01", "UTC"), AS_OF, AsOf.parse("2024-03-02", "UTC")]
    rows = build_snapshot(records, moments)
    assert [list(part.customer_id) for _, part in rows.groupby("as_of")] == [["b", "c", "d"], ["c", "d"], ["c"]]
    assert rows.groupby("as_of").spend_total.sum().tolist() == [40.0, 40.0, 40.0]


def test_every_table_follows_the_link(make_records, at):
    records = make_records(
        orders=[order("a", at(1), category="tea", channel="web"), order("b", at(9), 30.0, order_id="o")],
        customers=[
            {"customer_id": "a", "created_at": at(1), "region": "north", "language": "zh"},
            {"customer_id": "b", "created_at": at(8), "region": "south"},
        ],
        interactions=[{"customer_id": "a", "occurred_at": at(50), "kind": "referral"}],
        offers=[{"customer_id": "a", "occurred_at": at(50), "action_id": "call", "offer_id": "f"}],
        outcomes=[{"customer_id": "b", "occurred_at": at(51), "kind": "redeemed", "offer_id": "f"}],
        consents=[{"customer_id": "a", "occurred_at": at(2), "granted": False}],
        identities=[link("a", "b")],
    )
    row = build_snapshot(records, AS_OF).set_index("customer_id").loc["b"]
    assert (row.spend_total, row.referrals_total, row.offer_redemption_rate) == (40.0, 1.0, 1.0)
    assert row.tenure_days == 59  # since the first id was created
    (facts,) = build_context(records, AS_OF).to_dict("records")
    assert (facts["customer_id"], facts["region"], facts["language"]) == ("b", "south", "zh")
    assert (facts["favourite_category"], facts["last_action_id"], facts["consented_channels"]) == ("tea", "call", [])
    assert monthly_history(records, AS_OF).to_numpy().tolist() == [["b", date(2024, 1, 1), 2, 40.0]]


def test_two_ids_at_one_instant_without_order_ids_are_one_order():
    orders = pd.DataFrame([order("a", "2024-01-05 10:00"), order("b", "2024-01-05 10:00")])
    links = pd.DataFrame([link("a", "b")])
    records = records_from_frames({"orders": orders, "identities": links})
    assert build_snapshot(records, AS_OF)["basket_lines_mean"].tolist() == [2.0]


def test_labels_say_who_the_customer_was_at_the_cutoff(make_records, at):
    cutoff = AsOf.parse("2024-02-01", "UTC")
    orders = [order("a", at(1)), order("b", at(2)), order("b", at(40)), order("c", at(45))]
    orders.append(order("z", at(90)))
    known, late = link("a", "b", at(20)), link("c", "b", at(46))
    labels = label(make_records(orders=orders, identities=[known, late]), cutoff, 30)
    assert labels.to_numpy().tolist() == [["b", False, 1.0, 10.0]]  # c became b within the window: not b's purchase
    apart = label(make_records(orders=orders, identities=[late]), cutoff, 30)
    assert apart.to_numpy().tolist() == [["a", True, 0.0, 0.0], ["b", False, 1.0, 10.0]]


def test_without_links_nothing_is_computed_for_them(make_records, at):
    records = make_records(orders=[order("a", at(1))])
    assert as_known(records, AS_OF) is records
    late = make_records(orders=[order("a", at(1))], identities=[link("a", "b", at(300))])
    assert as_known(late, AS_OF).tables is late.tables


def test_links_that_cannot_stand_are_quarantined_with_their_rows():
    links = [link("a", "b"), link("b", "a"), link("c", "d"), link("c", "d"), link("e", None)]
    frames = {"orders": pd.DataFrame([order("a", "2024-01-05")]), "identities": pd.DataFrame(links)}
    records = records_from_frames(frames)
    found = report(records, "identities")
    assert found.reasons == {"cyclic_link": 2, "duplicate_link": 1, "missing_master_id": 1}
    kept = records.quarantine
    assert kept[["row", "reason"]].to_numpy().tolist() == [
        [1, "cyclic_link"],
        [2, "cyclic_link"],
        [4, "duplicate_link"],
        [5, "missing_master_id"],
    ]
    assert '"customer_id":"b"' in kept.original[1]
    assert column(records, "master_id", "identities") == ["d"]
