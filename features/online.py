"""A few customers' snapshot through statements that each thread plans once and then only runs.

For a handful of rows planning takes longer than running. DuckDB plans a prepared statement again whenever values are
given to it, so the cutoff's values stand in a table of one row; and without its optimizer, whose plans follow the
rows that were there when they were made.
"""

import threading
from collections.abc import Mapping
from functools import cache

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import expressions as sql

from features.cleaning import DUCKDB_TYPES
from features.contract import TABLES
from features.inputs import identifier
from features.plan import connection_of, cutoff_values, log_plan, table_name
from features.records import AsOf, Records

# What DuckDB computes in one go; beyond it the optimizer earns its time.
MOST_ROWS = 2048
MOMENT = "moment"
_OF_THREAD = threading.local()
READ = ("orders", "offers", "outcomes", "interactions", "customers")


def few_rows(records: Records) -> Mapping[str, pa.Table] | None:
    """Return the rows of the tables that a snapshot reads and that have some; None when they are too many."""
    connection = connection_of(records)
    names = {name: identifier(table_name(records.tables[name])) for name in READ}
    counting = ", ".join(f"(SELECT count(*) FROM {name})" for name in names.values())
    counts = dict(zip(READ, connection.execute(f"SELECT {counting}").fetchall()[0], strict=True))
    if max(counts.values()) > MOST_ROWS:
        return None
    return {
        name: connection.sql(f"SELECT * FROM {names[name]}").to_arrow_table() for name, count in counts.items() if count
    }


def snapshot_of_few(rows: Mapping[str, pa.Table], moment: AsOf, features: tuple[str, ...]) -> pa.Table:
    """Return the snapshot at one cutoff of the records in ``rows``; equal to the one that any other way gives."""
    if not hasattr(_OF_THREAD, "engine"):
        _OF_THREAD.engine = _Engine()
    table: pa.Table = _OF_THREAD.engine.snapshot(rows, moment, features)
    return table


class _Engine:
    """Contract tables that stay while their rows come and go, and the statements planned over them."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("PRAGMA disable_optimizer")
        for name in READ:
            columns = (f"{identifier(column.name)} {DUCKDB_TYPES[column.kind]}" for column in TABLES[name].columns)
            self._connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
        self._connection.register("rows_", _cutoff_row(AsOf.parse("2000-01-01", "UTC")))
        self._connection.execute(f"CREATE TABLE {MOMENT} AS SELECT * FROM rows_ LIMIT 0")
        self._connection.unregister("rows_")
        self._prepared: dict[str, str] = {}

    def snapshot(self, rows: Mapping[str, pa.Table], moment: AsOf, features: tuple[str, ...]) -> pa.Table:
        """Run the statement over the rows at the cutoff; nothing of them stays."""
        placed = {name: table for name, table in rows.items() if len(table)}
        empty = frozenset(READ).difference(placed, ["orders"])
        try:
            for name, table in {**placed, MOMENT: _cutoff_row(moment)}.items():
                self._connection.register("rows_", table)
                self._connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM rows_")
            return self._connection.sql(f"EXECUTE {self._statement(features, empty)}").to_arrow_table()
        finally:
            self._connection.unregister("rows_")
            for name in (*placed, MOMENT):
                self._connection.execute(f"DELETE FROM {name}")

    def _statement(self, features: tuple[str, ...], empty: frozenset[str]) -> str:
        text = _without_values(features, empty)
        if text not in self._prepared:
            name = f"statement_{len(self._prepared)}"
            self._connection.execute(f"PREPARE {name} AS {text}")
            self._prepared[text] = name
        return self._prepared[text]


def _cutoff_row(moment: AsOf) -> pa.Table:
    return pa.Table.from_pylist([cutoff_values(moment)])


@cache
def _without_values(features: tuple[str, ...], empty: frozenset[str]) -> str:
    """Return the snapshot's statement with columns of the cutoff's table where it asks for values."""
    plan = log_plan(features, empty)
    tree = sqlglot.parse_one(plan.over({name: name for name in TABLES}), read="duckdb")
    for number, select in enumerate(list(tree.find_all(sql.Select))):
        asked = [value for value in select.find_all(sql.Placeholder) if value.find_ancestor(sql.Select) is select]
        if asked:
            _join_cutoff(select, asked, f"cutoff_{number}")
    return tree.sql("duckdb")


def _join_cutoff(select: sql.Select, asked: list[sql.Placeholder], name: str) -> None:
    for value in asked:
        cast = value.find_ancestor(sql.Cast)
        if cast is None:
            raise AssertionError("a value of the cutoff stands in a statement without its type")
        cast.replace(sql.column(value.name, table=name))
    for star in select.expressions:
        if isinstance(star, sql.Star):  # all of its own table, without the cutoff's
            own = next(select.find_all(sql.Table))
            star.replace(sql.Column(this=sql.Star(), table=sql.to_identifier(own.alias, quoted=True)))
    select.join(sql.alias_(sql.to_table(MOMENT), name, table=True), join_type="cross", copy=False)
