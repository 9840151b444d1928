"""The four properties that let one snapshot serve training, batch and online; every equality is exact."""

from datetime import timedelta

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from features.contract import INTERACTION_KINDS
from features.records import AsOf
from features.snapshot import build_snapshot

pytestmark = pytest.mark.slow  # some 25 builds each, 0.3 s a build, most of it compiling the expression

START = pd.Timestamp("2024-01-01")
CUTOFFS = [AsOf.parse(day, "UTC") for day in ("2024-03-01", "2024-03-15", "2024-06-30T13:00")]
AS_OF = CUTOFFS[1]
CUSTOMERS = ("ann", "bob", "cem", "dee")
LAST_HOUR = 24 * 200
TABLES = ("orders", "offers", "outcomes", "interactions")

instants = st.integers(0, LAST_HOUR).map(lambda hour: START + timedelta(hours=hour))
# a cutoff's own instant is the case that an open interval gets wrong
instants |= st.sampled_from([pd.Timestamp(cutoff.naive_utc) for cutoff in CUTOFFS])
delays = st.sampled_from([0, 0, 0, 1, 24 * 20]).map(lambda hours: timedelta(hours=hours))
customers = st.sampled_from(CUSTOMERS)
money = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1 / 3]) | st.floats(-50, 5000).map(lambda value: round(value, 3))


def event(instant_column, **columns):
    def row(customer_id, occurred, delay, rest):
        return {"customer_id": customer_id, instant_column: occurred, "known_at": occurred + delay, **rest}

    return st.builds(row, customers, instants, delays, st.fixed_dictionaries(columns))


lines = event(
    "ordered_at",
    # few ids, so that lines of one order stand on both sides of a cutoff
    order_id=st.sampled_from([f"o{number}" for number in range(8)]) | st.uuids().map(str),
    amount=money,
    quantity=st.none() | st.floats(0, 9),
    discount=st.none() | st.sampled_from([0.0, 0.1, 2.35]),
    margin=st.none() | st.sampled_from([-1.5, 0.0, 0.1, 7.25]),
    category=st.sampled_from([None, "tea", "cups", "茶"]),
    channel=st.sampled_from([None, "web", "shop"]),
)
offers = event(
    "occurred_at", offer_id=st.sampled_from([None, "f1", "f2"]), control=st.sampled_from([None, True, False])
)
outcomes = event(
    "occurred_at", offer_id=st.sampled_from([None, "f1", "f2"]), kind=st.sampled_from(["redeemed", "bought"])
)
interactions = event(
    "occurred_at",
    kind=st.sampled_from(INTERACTION_KINDS),
    channel=st.sampled_from(["email", None]),
    value=st.none() | st.integers(0, 10).map(float),
)
logs = st.fixed_dictionaries(
    {
        "orders": st.lists(lines, min_size=12, max_size=60),
        "offers": st.lists(offers, max_size=8),
        "outcomes": st.lists(outcomes, max_size=6),
        "interactions": st.lists(interactions, max_size=12),
    }
)
# links stay within two pairs, so that each pair is a customer of its own whatever is known of it
PAIRS = (("ann", "bob"), ("dee", "cem"))
links = st.builds(
    lambda pair, known: {"customer_id": pair[0], "master_id": pair[1], "known_at": known},
    st.sampled_from(PAIRS),
    st.none() | instants,
)
linked = st.lists(links, min_size=1, max_size=2, unique_by=lambda row: row["customer_id"])
# one example is 4 customers × 3 cutoffs; the fixtures hold no state between examples
thorough = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


def only(log, wanted):
    return {table: [row for row in rows if wanted(row)] for table, rows in log.items()}


def assert_identical(got, expected):
    pd.testing.assert_frame_equal(got.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True)


@thorough
@given(log=logs)
def test_disjoint_customers_are_built_apart_or_together(make_records, log):
    parts = [
        build_snapshot(make_records(**only(log, wanted)), CUTOFFS)
        for wanted in (lambda row: row["customer_id"] < "c", lambda row: row["customer_id"] > "c")
    ]
    together = build_snapshot(make_records(**log), CUTOFFS)
    assert_identical(together, pd.concat(parts).sort_values(["as_of", "customer_id"]))


@thorough
@given(log=logs, data=st.data())
def test_order_of_events_is_irrelevant(make_records, log, data):
    shuffled = {table: data.draw(st.permutations(rows)) for table, rows in log.items()}
    assert_identical(build_snapshot(make_records(**shuffled), CUTOFFS), build_snapshot(make_records(**log), CUTOFFS))


@thorough
@given(log=logs)
def test_what_happens_or_becomes_known_later_changes_nothing(make_records, log):
    def seen(row):
        return max(row.get("ordered_at", row.get("occurred_at")), row["known_at"]) < AS_OF.naive_utc

    assert_identical(build_snapshot(make_records(**log), AS_OF), build_snapshot(make_records(**only(log, seen)), AS_OF))


@thorough
@given(log=logs, customer_id=customers)
def test_one_customer_alone_gives_the_row_of_the_batch(make_records, log, customer_id):
    alone = build_snapshot(make_records(**only(log, lambda row: row["customer_id"] == customer_id)), CUTOFFS)
    batch = build_snapshot(make_records(**log), CUTOFFS)
    assert_identical(alone, batch[batch.customer_id == customer_id])


@thorough
@given(log=logs)
def test_many_cutoffs_at_once_equal_each_alone(make_records, log):
    records = make_records(**log)
    alone = [build_snapshot(records, cutoff) for cutoff in CUTOFFS]
    # neither the order of the cutoffs nor a repeated one matters
    together = build_snapshot(records, [*reversed(CUTOFFS), AS_OF])
    assert_identical(together, pd.concat(alone))
    assert_within_bounds(together)


@settings(thorough, max_examples=4)
@given(log=logs, identities=linked, data=st.data())
def test_all_of_it_holds_where_ids_are_linked(make_records, log, identities, data):
    log = {**log, "identities": identities}
    batch = build_snapshot(make_records(**log), CUTOFFS)
    shuffled = {table: data.draw(st.permutations(rows)) for table, rows in log.items()}
    assert_identical(build_snapshot(make_records(**shuffled), CUTOFFS), batch)
    for pair in PAIRS:
        alone = build_snapshot(make_records(**only(log, lambda row, pair=pair: row["customer_id"] in pair)), CUTOFFS)
        assert_identical(alone, batch[batch.customer_id.isin(pair)])

    def seen(row):
        instants = (row.get("ordered_at"), row.get("occurred_at"), row["known_at"])
        return all(instant is None or instant < AS_OF.naive_utc for instant in instants)

    known_then = build_snapshot(make_records(**only(log, seen)), AS_OF)
    assert_identical(known_then, batch[batch.as_of == known_then.as_of.iloc[0]] if len(known_then) else known_then)


def assert_within_bounds(rows):
    assert (rows.recency >= 0).all()
    assert (rows["T"] >= rows.recency).all()
    assert ((rows.frequency == 0) == (rows.recency == 0)).all()
    shares = rows.filter(regex="_share$|_concentration$|_rate$")
    # a Herfindahl index of shares rounded to billionths can pass 1 by a few of them
    assert ((shares >= 0) & (shares <= 1 + 1e-8) | shares.isna()).all(axis=None)
    assert (rows.orders_7d <= rows.orders_30d).all()
    assert (rows.orders_365d <= rows.frequency + 1).all()
    signed = rows.filter(regex="^(orders|interactions)_.*trend|burstiness")
    assert ((signed >= -1) & (signed <= 1) | signed.isna()).all(axis=None)
    gaps = rows[["gap_median_days", "gap_mean_days", "gap_p90_days", "gap_max_days"]]
    assert (gaps.le(gaps.gap_max_days, axis=0) | gaps.isna()).all(axis=None)
    counts = rows[["category_breadth_90d", "contact_weeks_91d", "contact_months_360d", "active_months_360d"]]
    assert ((counts >= 0) & (counts <= 13) | counts.isna()).all(axis=None)
    assert (rows.days_since_favourite_category.isna() | (rows.days_since_favourite_category >= 0)).all()
