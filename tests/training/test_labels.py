"""Labels by hand, and the proof that they depend on their window alone."""

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.records import AsOf
from perennial.errors import InsufficientData
from training.labels import label, window_end

CUTOFF = AsOf.parse("2024-03-01", "UTC")
END_OF_LOG = ("z", "2024-12-31 12:00", 1.0)  # keeps every window closed; z is no customer at the cutoff


def lines(*rows, **columns):
    table = pd.DataFrame([*rows, END_OF_LOG], columns=["customer_id", "ordered_at", "amount"])
    for name, values in columns.items():
        table[name] = [*values, values[-1]]
    return table


def labelled(records, cutoff=CUTOFF, horizon_days=30, **options):
    return label(records, cutoff, horizon_days, **options).set_index("customer_id")


def test_by_hand(from_lines):
    records = from_lines(
        lines(
            ("a", "2024-01-01 10:00", 10.0),
            ("a", "2024-03-01 00:00", 20.0),  # the cutoff's own instant is the future
            ("a", "2024-03-01 20:00", 5.0),  # same day: one occasion
            ("a", "2024-03-30 23:59", 7.0),
            ("b", "2024-02-29 23:59", 10.0),
            ("b", "2024-03-31 00:00", 99.0),  # the window's end is outside
            ("c", "2024-03-02 00:00", 10.0),  # not yet a customer at the cutoff
        )
    )
    out = labelled(records)
    assert out.index.tolist() == ["a", "b"]
    assert out.churned.tolist() == [False, True]
    assert out.actual_orders.tolist() == [2.0, 0.0]
    assert out.actual_spend.tolist() == [32.0, 0.0]


def test_returns_are_netted_and_never_purchases(from_lines):
    records = from_lines(
        lines(
            ("a", "2024-01-01", 10.0),
            ("a", "2024-03-05", -4.0),
            ("b", "2024-01-01", 10.0),
            ("b", "2024-03-05", 9.0),
            ("b", "2024-03-06", -2.5),
            ("c", "2024-01-01", -1.0),  # only ever returned: no customer
        )
    )
    out = labelled(records)
    assert out.index.tolist() == ["a", "b"]
    assert out.churned.tolist() == [True, False]
    assert out.actual_spend.tolist() == [-4.0, 6.5]


def test_a_zero_amount_counts_as_an_occasion(from_lines):
    out = labelled(from_lines(lines(("a", "2024-01-01", 10.0), ("a", "2024-03-05", 0.0))))
    assert (out.actual_orders["a"], out.actual_spend["a"]) == (1.0, 0.0)


def test_an_order_begun_before_the_cutoff_is_no_new_occasion(from_lines):
    records = from_lines(lines(("a", "2024-02-29 23:59", 10.0), ("a", "2024-03-01 00:01", 3.0), order_id=["1", "1"]))
    out = labelled(records)
    assert bool(out.churned["a"])
    assert out.actual_spend["a"] == 3.0


def test_days_are_the_sources_own_across_a_clock_change(from_lines):
    zone = "America/New_York"  # clocks go forward on 2024-03-10: this window is an hour shorter
    cutoff = AsOf.parse("2024-03-01", zone)
    records = from_lines(
        lines(
            ("a", "2024-02-01 12:00", 1.0),
            ("a", "2024-03-05 23:00", 1.0),  # 18:00 in New York
            ("a", "2024-03-06 03:00", 1.0),  # 22:00 of the same day there
            ("b", "2024-02-01 12:00", 1.0),
            ("b", "2024-03-31 03:59", 1.0),  # 23:59 of the 30th: inside
            ("c", "2024-02-01 12:00", 1.0),
            ("c", "2024-03-31 04:00", 1.0),  # midnight: outside
        ),
        zone,
    )
    out = labelled(records, cutoff)
    assert out.actual_orders.to_dict() == {"a": 1.0, "b": 1.0, "c": 0.0}
    assert window_end(records, cutoff, 30).day.isoformat() == "2024-03-31"


def test_lines_learned_of_later_make_no_customer_and_no_label(from_lines):
    records = from_lines(
        lines(
            ("a", "2024-01-01", 1.0),
            ("a", "2024-03-05", 1.0),
            ("b", "2024-01-01", 1.0),
            known_at=["2024-01-01", "2024-09-01", "2024-03-02"],
        ).assign(
            known_at=lambda t: pd.to_datetime(t.known_at, format="ISO8601").where(t.customer_id != "z", t.ordered_at)
        )
    )
    assert labelled(records).churned.to_dict() == {"a": False}
    assert labelled(records, as_of=AsOf.parse("2024-06-01", "UTC")).churned.to_dict() == {"a": True}


@pytest.mark.parametrize("as_of", [None, "2024-04-01"])
def test_an_open_window_is_refused(from_lines, as_of):
    records = from_lines(lines(("a", "2024-01-01", 1.0)))
    given_as_of = None if as_of is None else AsOf.parse(as_of, "UTC")
    cutoff = AsOf.parse("2024-12-15", "UTC") if as_of is None else AsOf.parse("2024-03-10", "UTC")
    with pytest.raises(InsufficientData, match="choose a cutoff"):
        label(records, cutoff, 30, given_as_of)


def test_an_as_of_past_the_log_closes_no_window(from_lines):
    records = from_lines(lines(("a", "2024-01-01", 1.0)))
    with pytest.raises(InsufficientData, match="2025-01-01"):
        label(records, AsOf.parse("2024-12-15", "UTC"), 30, AsOf.parse("2026-01-01", "UTC"))


events = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 300), st.sampled_from([-5.0, 0.0, 10.0])), min_size=1, max_size=25
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=events)
def test_only_the_window_and_who_is_a_customer_matter(from_lines, events):
    """Dropping every event after the window changes nothing; the past decides only who has a row."""
    start = pd.Timestamp("2024-01-01")
    rows = [(who, str(start + pd.Timedelta(days=day)), amount) for who, day, amount in events]
    end = pd.Timestamp("2024-03-31")
    everything = labelled(from_lines(lines(*rows)))
    without_later = labelled(from_lines(lines(*[row for row in rows if pd.Timestamp(row[1]) < end])))
    pd.testing.assert_frame_equal(everything, without_later)
    window = [row for row in rows if pd.Timestamp("2024-03-01") <= pd.Timestamp(row[1]) < end]
    for who, row in everything.iterrows():
        bought = {when for name, when, amount in window if name == who and amount >= 0}
        assert row.actual_orders == len(bought)
        assert row.churned == (not bought)
        assert row.actual_spend == sum(amount for name, _, amount in window if name == who)


def test_a_window_of_whole_days_ends_with_a_day_even_where_a_day_begins_at_one(from_lines):
    """In São Paulo 4 November 2018 had no midnight."""
    records = from_lines(
        pd.DataFrame({"customer_id": ["a"], "ordered_at": ["2018-12-31T12:00:00"], "amount": [1.0]}),
        "America/Sao_Paulo",
    )
    for opens, closes in (("2018-11-04", "2018-12-02"), ("2018-10-07", "2018-11-04")):
        assert window_end(records, AsOf.parse(opens, records.timezone), 28) == AsOf.parse(closes, records.timezone)
