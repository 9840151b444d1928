"""Customers in blocks, one after the other: a snapshot of any size is then computed under the engine's memory limit.

A block is a range of customer ids, so blocks come out in the snapshot's own order. Where a table's rows lie anyhow (by
time, say), each block would read all of them; it is then first copied, ordered by customer, into a temporary table.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise
from math import ceil

import duckdb
import ibis

from features.contract import TABLES
from features.engine import open_table
from features.inputs import identifier, literal
from features.plan import connection_of, table_name
from features.records import Records

# A statement held 50 to 60 bytes for each row of all tables together (all features, one cutoff, generated company);
# several cutoffs keep collapsed lines beside it, and lines alone weigh more than their share.
BYTES_PER_ROW = 100
SHARE_OF_MEMORY = 0.5
ROW_GROUP = 122_880  # DuckDB knows the least and the greatest id of so many rows, and passes over those of other blocks
SAMPLED_LINES = 100_000  # any bounds give the same rows: a block needs only be about as large as the others
SAMPLED_GROUPS = 32  # of a table's groups at least so many are looked at, evenly spread, to see how its rows lie
MOST_READS = 2.0  # how many times as often as an ordered table one may be read before ordering it pays


def in_blocks(records: Records, names: Collection[str]) -> Iterator[Records]:
    """Yield the records in blocks of customers, by id, each to be used before the next is asked for.

    ``names`` are the tables that will be read; they stand in one DuckDB.
    """
    connection = connection_of(records)
    blocks = ceil(_rows(records, names) / _rows_at_once(connection))
    bounds = _bounds(records, blocks) if blocks > 1 else []
    if not bounds:
        yield records
        return
    with ExitStack() as stack:
        whole = {name: stack.enter_context(_by_customer(records, name, bounds)) for name in names}
        for low, high in pairwise([None, *bounds, None]):
            with ExitStack() as block:
                views = {name: block.enter_context(_view(records, table, low, high)) for name, table in whole.items()}
                yield replace(records, tables={**records.tables, **views})


def _rows(records: Records, names: Collection[str]) -> int:
    counts = ", ".join(f"(SELECT count(*) FROM {_sql_name(records, name)})" for name in names)
    return sum(connection_of(records).execute(f"SELECT {counts}").fetchall()[0])


def _rows_at_once(connection: duckdb.DuckDBPyConnection) -> int:
    limit = connection.execute("SELECT parse_formatted_bytes(current_setting('memory_limit'))").fetchall()[0][0]
    return max(1, int(limit * SHARE_OF_MEMORY / BYTES_PER_ROW))


def _bounds(records: Records, blocks: int) -> list[str]:
    """Return the first ids of all blocks but the first, of about equally many order lines."""
    shares = [number / blocks for number in range(1, blocks)]
    sample = f"(SELECT customer_id FROM {_sql_name(records, 'orders')} USING SAMPLE {SAMPLED_LINES} ROWS)"
    found = connection_of(records).execute(f"SELECT quantile_disc(customer_id, {shares}) FROM {sample}").fetchall()
    return sorted(set(found[0][0] or ()))


@contextmanager
def _by_customer(records: Records, name: str, bounds: Sequence[str]) -> Iterator[str]:
    """Give the SQL name of a table in which a block's rows lie together."""
    own, connection = _sql_name(records, name), connection_of(records)
    if _reads(connection, own, bounds) <= MOST_READS:
        yield own
        return
    ordered = identifier(ibis.util.gen_name("by_customer"))
    columns = ", ".join(identifier(column.name) for column in TABLES[name].columns)
    connection.execute(f"CREATE TEMP TABLE {ordered} AS SELECT {columns} FROM {own} ORDER BY customer_id")
    try:
        yield ordered
    finally:
        connection.execute(f"DROP TABLE {ordered}")


def _reads(connection: duckdb.DuckDBPyConnection, table: str, bounds: Sequence[str]) -> float:
    """Return how many times as often groups of rows have to be read as if they were ordered by customer."""
    number = f"rowid // {ROW_GROUP}"
    try:
        count = connection.execute(f"SELECT max({number}) + 1 FROM {table}").fetchall()[0][0] or 1
        groups = connection.execute(
            f"SELECT min(customer_id), max(customer_id) FROM {table} "
            f"WHERE {number} % {max(1, count // SAMPLED_GROUPS)} = 0 GROUP BY {number}"
        ).fetchall()
    except duckdb.BinderException:  # a view has no rowid, and nobody knows how its rows lie
        return float("inf")
    reads = [bisect_right(bounds, last) - bisect_right(bounds, first) + 1 for first, last in groups]
    return sum(reads) / max(len(reads), 1) / (1 + len(bounds) / count)


@contextmanager
def _view(records: Records, table: str, low: str | None, high: str | None) -> Iterator[ibis.Table]:
    """Give the rows of one block; the first has no lower bound and the last no upper."""
    ends = [f"customer_id {sign} {literal(end)}" for sign, end in ((">=", low), ("<", high)) if end is not None]
    connection, name = connection_of(records), ibis.util.gen_name("block")
    connection.execute(f"CREATE TEMP VIEW {identifier(name)} AS SELECT * FROM {table} WHERE {' AND '.join(ends)}")
    try:
        yield open_table(records.tables["orders"].get_backend(), name)
    finally:
        connection.execute(f"DROP VIEW {identifier(name)}")


def _sql_name(records: Records, name: str) -> str:
    return identifier(table_name(records.tables[name]))
