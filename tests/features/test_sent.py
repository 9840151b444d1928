"""Records that are sent a few at a time are judged as those of a file: the same rows, verdicts and counts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from features import online
from features.contract import TABLES
from features.records import Records
from features.sent import SENT, given_schema, records_from_rows
from features.snapshot import build_snapshot
from features.sources import records_from_frames

FACTS: Any = {"timezone": "Europe/Berlin", "currency": "EUR", "consent_default": "refuse"}
NOON = datetime(2024, 3, 31, 0, 30, tzinfo=UTC)  # on the night when clocks go forward


def order(**given: Any) -> dict[str, Any]:
    return {"customer_id": "ann", "ordered_at": NOON, "amount": 20.0, **given}


ORDERS = [
    order(),
    order(customer_id=" bob ", order_id="17850.0", quantity=2.0, discount=-1.5, category="Cafe\u0301", channel="web"),
    order(order_id="o1", ordered_at=NOON + timedelta(hours=1), amount=-5.0, product_id="p1"),
    order(order_id="o1", quantity=-1.0, channel=""),
    order(customer_id=None),
    order(customer_id="x" * 129),
    order(ordered_at=datetime(1899, 12, 30, tzinfo=UTC)),
    order(ordered_at=None),
    order(ordered_at=datetime.now(UTC) + timedelta(days=3)),
    order(ordered_at=datetime.now(UTC) + timedelta(hours=3)),
    order(amount=None),
    order(amount=float("inf")),
    order(amount=2e12),
]
INTERACTIONS = [
    {"customer_id": "ann", "occurred_at": NOON, "kind": "nps", "value": 9.0, "channel": "app"},
    {"customer_id": "ann", "occurred_at": NOON, "kind": "nps", "value": 11.0},
    {"customer_id": "bob", "occurred_at": NOON, "kind": "shout"},
    {"customer_id": "bob", "occurred_at": NOON, "kind": None},
]


def rows(table: str, given: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(given, given_schema(table))


def as_frames(tables: dict[str, pa.Table]) -> Records:
    return records_from_frames({name: table.to_pandas() for name, table in tables.items()}, **FACTS)


@pytest.mark.parametrize(
    "tables",
    [
        {"orders": rows("orders", ORDERS), "interactions": rows("interactions", INTERACTIONS)},
        {"orders": rows("orders", ORDERS[:4])},
        {"orders": rows("orders", ORDERS[4:])},
    ],
)
def test_rows_and_counts_are_those_of_a_file(tables: dict[str, pa.Table]) -> None:
    sent, read = records_from_rows(tables, **FACTS), as_frames(tables)
    for name, table in TABLES.items():
        got = sent.tables[name].to_pyarrow().to_pandas()
        pd.testing.assert_frame_equal(got, read.tables[name].to_pyarrow().to_pandas(), check_dtype=False)
        assert sent.tables[name].schema() == read.tables[name].schema() == table.schema
    for ours, theirs in zip(sent.reports, read.reports, strict=True):
        for count in ("table", "rows", "accepted", "corrected", "quarantined", "corrections", "reasons"):
            assert getattr(ours, count) == getattr(theirs, count), count


def test_nothing_of_a_request_is_left_for_the_next() -> None:
    for customer in ("ann", "bob"):
        records = records_from_rows({"orders": rows("orders", [order(customer_id=customer)])}, **FACTS)
        assert records.few is not None
        assert records.few["orders"]["customer_id"].to_pylist() == [customer]


def test_many_rows_take_the_way_of_frames_to_the_same_snapshot() -> None:
    many = [
        order(customer_id=f"c{number % 7}", ordered_at=NOON - timedelta(days=number % 300), amount=float(number % 90))
        for number in range(online.MOST_ROWS + 1)
    ]
    records = records_from_rows({"orders": rows("orders", many)}, **FACTS)
    assert records.few is None
    as_of = records.as_of("2024-03-01")
    few = records_from_rows({"orders": rows("orders", [row for row in many if row["customer_id"] == "c3"])}, **FACTS)
    whole = build_snapshot(records, as_of)
    expected = whole[whole["customer_id"] == "c3"].reset_index(drop=True)
    pd.testing.assert_frame_equal(build_snapshot(few, as_of), expected, check_exact=True)


def test_what_may_be_sent_needs_no_judgement_across_rows() -> None:
    for name, columns in SENT.items():
        assert set(columns) <= set(TABLES[name].mappable) - {"line_id"}
