"""Snapshots computed a block of customers at a time equal those computed at once."""

import ibis
import pandas as pd
import pytest

from features import blocks
from features.records import AsOf
from features.snapshot import build_snapshot

CUTOFFS = [AsOf.parse(day, "UTC") for day in ("2024-02-01", "2024-04-01T13:00")]


@pytest.fixture(scope="module")
def records(make_records, at):
    orders = [
        {
            "customer_id": f"c{number % 41:03}",
            "ordered_at": at(1 + number % 89, number % 24),
            "amount": 1.0 + number % 7,
            "category": "ab"[number % 2],
            "known_at": at(1 + number % 89 + (40 if number % 11 == 0 else 1)),
        }
        for number in range(3000)
    ]
    visits = [
        {"customer_id": f"c{number % 43:03}", "occurred_at": at(number % 90), "kind": "visit"} for number in range(500)
    ]
    return make_records(orders=orders, interactions=visits)


@pytest.fixture
def temporary(records):
    """Return a function that names what stands in the engine for a while."""
    connection = records.tables["orders"].get_backend().con
    views, tables = (f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE temporary" for kind in ("view", "table"))
    return lambda: {name for (name,) in connection.execute(f"{views} UNION ALL {tables}").fetchall()}


@pytest.mark.parametrize("moments", [CUTOFFS[1], CUTOFFS])
@pytest.mark.parametrize("most_reads", [0.0, 1000.0])  # ordered copies, or ranges of the tables as they stand
def test_any_number_of_blocks_gives_the_same_rows(records, temporary, moments, most_reads, monkeypatch):
    whole, before = build_snapshot(records, moments), temporary()
    monkeypatch.setattr(blocks, "MOST_READS", most_reads)
    monkeypatch.setattr(blocks, "_rows_at_once", lambda _: 1000)
    pd.testing.assert_frame_equal(build_snapshot(records, moments), whole, check_exact=True)
    assert temporary() == before


def test_a_block_is_a_range_of_customers(records, monkeypatch):
    monkeypatch.setattr(blocks, "_rows_at_once", lambda _: 700)
    seen = []
    for block in blocks.in_blocks(records, ["orders", "interactions"]):
        for name in ("orders", "interactions"):
            ids = block.tables[name].customer_id.to_pyarrow().to_pylist()
            seen.append((min(ids), max(ids), len(ids), name))
    assert 4 <= len(seen) / 2 <= 6
    assert sum(count for *_, count, _ in seen) == 3500
    for name in ("orders", "interactions"):
        ends = [end for low, high, _, table in seen if table == name for end in (low, high)]
        assert ends == sorted(ends)
        assert len(set(ends[1:-1])) == len(ends) - 2


def test_a_table_is_ordered_only_when_its_rows_lie_anyhow():
    backend = ibis.duckdb.connect()
    backend.con.execute("CREATE TABLE sorted AS SELECT lpad(i::VARCHAR, 7, '0') AS customer_id FROM range(500000) r(i)")
    backend.con.execute("CREATE TABLE mixed AS SELECT customer_id FROM sorted ORDER BY hash(customer_id)")
    bounds = [f"{number:07}" for number in range(125_000, 500_000, 125_000)]
    narrow = [f"{number:07}" for number in range(16_000, 500_000, 16_000)]  # several blocks to a group of rows
    for ends in (bounds, narrow):
        ordered, anyhow = (blocks._reads(backend.con, table, ends) for table in ("sorted", "mixed"))
        assert ordered < blocks.MOST_READS < anyhow


def test_few_rows_are_one_block_and_more_memory_makes_fewer(records):
    assert len(list(blocks.in_blocks(records, ["orders"]))) == 1
    sizes = []
    for limit in ("1GB", "4GB"):
        with ibis.duckdb.connect().con as connection:
            connection.execute(f"SET memory_limit = '{limit}'")
            sizes.append(blocks._rows_at_once(connection))
    assert sizes[1] == pytest.approx(4 * sizes[0], rel=0.1)  # DuckDB tells its limit with two digits
    assert sizes[0] == pytest.approx(5e6, rel=0.1)
