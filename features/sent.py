"""Records that a program sends along, a few at a time: judged by the rules for files, in statements planned once.

Opening an engine and planning takes longer than reading a few rows. So each thread keeps one, with a statement for each
table; DuckDB keeps a plan only if it was made without its optimizer, whose plans follow the rows that were there.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import duckdb
import ibis
import pyarrow as pa

from features.cleaning import DUCKDB_TYPES
from features.contract import TABLES, Column, Kind
from features.inputs import Input, identifier
from features.mapping import ConsentDefault, Source
from features.online import MOST_ROWS, outgrow
from features.reading import CLOCK_TOLERANCE
from features.records import Records, TableReport
from features.sections import Field, Section
from features.sources import records_from_frames
from features.staging import cleaned_columns, judged_sql

# Of what may be sent the rules look at each row alone.
SENT: Mapping[str, tuple[str, ...]] = {
    "orders": (
        *("customer_id", "ordered_at", "order_id", "amount", "quantity", "discount"),
        *("product_id", "category", "channel"),
    ),
    "interactions": ("customer_id", "occurred_at", "kind", "channel", "value"),
}
_LATEST = f"((now() AT TIME ZONE 'UTC') + INTERVAL {CLOCK_TOLERANCE.total_seconds():.0f} SECOND)"
_OF_THREAD = threading.local()


def records_from_rows(
    tables: Mapping[str, pa.Table], *, timezone: str, currency: str, consent_default: ConsentDefault
) -> Records:
    """Return what `records_from_frames` does of Arrow tables of `given_schema`, faster when they hold few rows."""
    few = {name: rows for name, rows in tables.items() if len(rows)}
    if any(len(rows) > MOST_ROWS for rows in few.values()) or outgrow(few):
        frames = {name: rows.to_pandas() for name, rows in few.items()}
        return records_from_frames(frames, timezone=timezone, currency=currency, consent_default=consent_default)
    if not hasattr(_OF_THREAD, "desk"):
        _OF_THREAD.desk = _Desk()
    judged = {name: _OF_THREAD.desk.judged(name, rows, timezone, currency) for name, rows in few.items()}
    kept = {name: rows.filter(rows["verdict"].is_null()).select(TABLES[name].schema) for name, rows in judged.items()}
    empty = {name: kept.get(name, table.schema.to_pyarrow().empty_table()) for name, table in TABLES.items()}
    return Records(
        tables=MappingProxyType(
            {name: ibis.memtable(rows, schema=TABLES[name].schema) for name, rows in empty.items()}
        ),
        timezone=timezone,
        currency=currency,
        consent_default=consent_default,
        name="sent",
        reports=tuple(_report(name, rows) for name, rows in judged.items()),
        few=MappingProxyType({name: rows for name, rows in kept.items() if len(rows)}),
    )


def given_schema(table: str) -> pa.Schema:
    """Return the columns of a table that may be sent; what is not known is null, an instant has its zone."""
    return pa.schema({column.name: _ARROW[column.kind] for column in _sent(table)})


_ARROW: Mapping[Kind, pa.DataType] = {
    Kind.ID: pa.string(),
    Kind.TEXT: pa.string(),
    Kind.NUMBER: pa.float64(),
    Kind.INSTANT: pa.timestamp("us", "UTC"),
}


def _sent(table: str) -> list[Column]:
    return [column for column in TABLES[table].columns if column.name in SENT[table]]


class _Desk:
    """An engine with a place for the rows of each table, and the statements that judge them."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'; PRAGMA disable_optimizer")
        self._prepared: dict[tuple[str, str, str], str] = {}
        for name in SENT:
            columns = ", ".join(f"{identifier(column.name)} {_given_type(column)}" for column in _sent(name))
            self._connection.execute(f"CREATE TABLE given_{name} ({columns})")

    def judged(self, table: str, rows: pa.Table, timezone: str, currency: str) -> pa.Table:
        """Return the contract's columns of each row, and its verdict or correction."""
        statement = self._statement(table, timezone, currency)
        self._connection.register("rows_", rows)
        try:
            self._connection.execute(f"INSERT INTO given_{table} BY NAME SELECT * FROM rows_")
            return self._connection.sql(f"EXECUTE {statement}").to_arrow_table()
        finally:
            self._connection.unregister("rows_")
            self._connection.execute(f"DELETE FROM given_{table}")

    def _statement(self, table: str, timezone: str, currency: str) -> str:
        key = (table, timezone, currency)
        if key not in self._prepared:
            name = f"statement_{len(self._prepared)}"
            self._connection.execute(f"PREPARE {name} AS {_judging(self._connection, *key)}")
            self._prepared[key] = name
        return self._prepared[key]


class _Kept(Input):
    """A place for rows: it being empty at first says nothing of them."""

    def holds_nothing(self, column: str) -> bool:
        return False


def _given_type(column: Column) -> str:
    return "TIMESTAMPTZ" if column.kind is Kind.INSTANT else DUCKDB_TYPES[column.kind]


def _judging(connection: duckdb.DuckDBPyConnection, name: str, timezone: str, currency: str) -> str:
    table, types = TABLES[name], {column.name: _given_type(column) for column in _sent(name)}
    section = Section(name, f"sent {name}", MappingProxyType({column: Field(column=column) for column in types}))
    source = Source(Path("sent"), currency, timezone, sections=(section,))
    opened = _Kept(connection=connection, name=name, relation=f"given_{name}", columns=types)
    cleaned = cleaned_columns(source, section, opened)
    kept = ", ".join(identifier(column.name) for column in table.columns)
    return f"SELECT {kept}, verdict, correction FROM ({judged_sql(source, section, opened, cleaned, table, _LATEST)})"


def _report(name: str, rows: pa.Table) -> TableReport:
    reasons, corrections = (_counted(rows[column]) for column in ("verdict", "correction"))
    quarantined, corrected = sum(reasons.values()), sum(corrections.values())
    return TableReport(
        table=name,
        rows=len(rows),
        accepted=len(rows) - quarantined - corrected,
        corrected=corrected,
        quarantined=quarantined,
        corrections=MappingProxyType(corrections),
        reasons=MappingProxyType(reasons),
    )


def _counted(codes: pa.ChunkedArray) -> dict[str, int]:
    return dict(Counter(code for code in codes.to_pylist() if code is not None))
