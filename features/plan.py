"""The snapshot compiled once: its expression as DuckDB text, for any cutoff and any tables of the contract's shape.

Building and compiling the expression takes longer than running it for one customer. The text is compiled over tables
and a cutoff that stand for others; whoever runs it puts the real ones in their place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import duckdb
import ibis
import ibis.expr.operations as ops
import pyarrow as pa
from ibis.backends.duckdb import Backend

from features.collapsed import Collapsed, collapse
from features.contract import TABLES
from features.formulas import snapshot_of
from features.inputs import identifier
from features.occasions import log_of, view
from features.records import AsOf, Records
from features.windows import cutoff_columns

# No record is of this instant, so that its text in a statement can only be the cutoff's.
_MOMENT = AsOf(datetime(2190, 2, 3, 4, 5, 6, tzinfo=UTC), date(2190, 2, 3))
_NUMBER = 31_999
_TYPES = {"last_day": "DATE", "number": "SMALLINT"}
_PARTS = tuple(part.name for part in fields(Collapsed))


@dataclass(frozen=True, slots=True)
class Plan:
    """A statement with ``{table}`` for every table and ``$name`` for every value of the cutoff that it reads."""

    text: str
    values: tuple[str, ...]

    def over(self, tables: Mapping[str, str]) -> str:
        """Return the statement with the tables' own names."""
        text = self.text
        for stand_in, name in tables.items():
            text = text.replace(identifier(f"{{{stand_in}}}"), identifier(name))
        return text

    def reads(self, table: str) -> bool:
        """Whether the statement reads a table."""
        return identifier(f"{{{table}}}") in self.text

    def run(self, records: Records, moment: AsOf, kept: Collapsed | None = None, number: int = 0) -> pa.Table:
        """Return the snapshot's rows at a cutoff, sorted by customer; ``kept`` are the tables of a `collapsed_plan`."""
        tables = {name: table_name(table) for name, table in records.tables.items()}
        if kept is not None:
            tables |= {name: table_name(getattr(kept, name)) for name in _PARTS if self.reads(name)}
        return connection_of(records).sql(self.over(tables), params=self.given(moment, number)).to_arrow_table()

    def given(self, moment: AsOf, number: int = 0) -> dict[str, Any]:
        """Return the values that the statement reads."""
        values = {**cutoff_values(moment), "number": number}
        return {name: value for name, value in values.items() if name in self.values}


def cutoff_values(moment: AsOf) -> dict[str, Any]:
    """Return the values of a cutoff's columns by name."""
    return {name: column.op().value for name, column in cutoff_columns(moment).items()}


def runs_plans(records: Records) -> bool:
    """Whether the records stand in tables of one DuckDB, where a compiled statement can run."""
    if records.links:  # whose a row is differs from instant to instant
        return False
    return all(isinstance(table.op(), ops.DatabaseTable) for table in records.tables.values()) and isinstance(
        records.tables["orders"]._find_backend(), Backend
    )


@cache
def log_plan(features: tuple[str, ...]) -> Plan:
    """Compile the snapshot over the canonical tables."""
    return _compiled(lambda records: snapshot_of(view(records, _MOMENT), features).order_by("customer_id"))


@cache
def collapsed_plan(features: tuple[str, ...]) -> Plan:
    """Compile the snapshot over order lines that were collapsed before."""

    def rows(records: Records) -> ibis.Table:
        shapes = collapse(records, [_MOMENT, _MOMENT])
        parts = {name: _table(name, getattr(shapes, name).schema()) for name in _PARTS}
        shared = Collapsed(**parts)
        log = log_of(
            records, _MOMENT, shared.orders_at(_NUMBER), shared.days_at(_NUMBER), shared.categories_at(_NUMBER)
        )
        return snapshot_of(log, features).order_by("customer_id")

    return _compiled(rows)


def rows_at(records: Records, moment: AsOf, build: Callable[[Records, AsOf], ibis.Table]) -> pa.Table:
    """Run an expression over records at an instant; where compiled statements run, it is compiled once a process."""
    if runs_plans(records) and not records.attributes:  # a statement is compiled over the contract's own columns
        return _plan_of(build).run(records, moment)
    return build(records, moment).to_pyarrow()


@cache
def _plan_of(build: Callable[[Records, AsOf], ibis.Table]) -> Plan:
    return _compiled(lambda records: build(records, _MOMENT))


def _compiled(build: Callable[[Records], ibis.Table]) -> Plan:
    tables = {name: _table(name, table.schema) for name, table in TABLES.items()}
    text = _sql(build(Records(tables, "UTC", "XXX")))
    values = {**cutoff_columns(_MOMENT), "number": ibis.literal(_NUMBER, type="int16")}
    read = []
    for name, value in values.items():
        written = _sql(value.as_table()).split(" AS ")[0].removeprefix("SELECT").strip()
        if written in text:
            text = text.replace(written, f"CAST(${name} AS {_TYPES.get(name, 'TIMESTAMP')})")
            read.append(name)
    return Plan(text, tuple(read))


def _table(name: str, schema: ibis.Schema) -> ibis.Table:
    return ibis.table(schema, name=f"{{{name}}}")


def _sql(table: ibis.Table) -> str:
    return str(ibis.to_sql(table, dialect="duckdb"))


def table_name(table: ibis.Table) -> str:
    """Return the name of a table that stands in an engine."""
    operation: Any = table.op()
    return str(operation.name)


def connection_of(records: Records) -> duckdb.DuckDBPyConnection:
    """Return the DuckDB that the records stand in."""
    backend: Any = records.tables["orders"]._find_backend()
    connection: duckdb.DuckDBPyConnection = backend.con
    return connection
