"""A few customers' rows, as the service needs them for one request, by the engine that plans nothing.

For a handful of rows an SQL engine spends its time on planning and on setting up operators for thousands. The same
expressions run here as NumPy programs, compiled once a process; what comes out is equal to the last bit.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from features.contract import TABLES
from features.fewrows.columns import constant
from features.fewrows.program import Program, compiled
from features.fewrows.tables import Given
from features.formulas import snapshot_of
from features.inputs import identifier
from features.occasions import view
from features.plan import connection_of, runs_plans, table_name
from features.records import AsOf, Records
from features.windows import cutoff_columns

# No record is of this instant, so that its values in an expression can only be the cutoff's.
_STAND_IN = AsOf.parse("2190-02-03T04:05:06", "UTC")
Build = Callable[[Records, AsOf], ibis.Table]
# Beyond it planning pays.
MOST_ROWS = 2048
# Sums of so much are far inside 64 bits of millionths, whatever is added to or subtracted from them.
MOST_UNITS = 1e11
READ = ("orders", "offers", "outcomes", "interactions", "customers")


def few_rows(records: Records, tables: Iterable[str] = READ) -> Mapping[str, pa.Table] | None:
    """Return the rows of the tables that have some, where this engine should run over them; None where another."""
    if records.few is not None:
        return records.few
    if not runs_plans(records):
        return None
    connection = connection_of(records)
    names = {name: identifier(table_name(records.tables[name])) for name in tables}
    counting = ", ".join(f"(SELECT count(*) FROM {name})" for name in names.values())
    counts = dict(zip(names, connection.execute(f"SELECT {counting}").fetchall()[0], strict=True))
    if max(counts.values()) > MOST_ROWS:
        return None
    rows = {name: connection.sql(f"FROM {names[name]}").to_arrow_table() for name, count in counts.items() if count}
    return None if outgrow(rows) else rows


def outgrow(rows: Mapping[str, pa.Table]) -> bool:
    """Whether sums over the rows could leave 64 bits."""
    if "orders" not in rows:
        return False
    orders = rows["orders"]
    summed = [name for name in ("amount", "quantity", "discount", "margin") if name in orders.column_names]
    sums = (pc.sum(pc.abs(orders[name])).as_py() for name in summed)
    return any(total is not None and not total < MOST_UNITS for total in sums)


def snapshot_of_few(rows: Mapping[str, pa.Table], moment: AsOf, features: tuple[str, ...]) -> pa.Table:
    """Return the snapshot of the records in ``rows`` at one cutoff, sorted by customer."""
    return _snapshot_program(features).run(_given(rows, moment))


def rows_of_few(rows: Mapping[str, pa.Table], moment: AsOf, build: Build) -> pa.Table:
    """Run an expression over the records in ``rows`` at one cutoff; it is compiled once a process."""
    return _program(build).run(_given(rows, moment))


@cache
def _snapshot_program(features: tuple[str, ...]) -> Program:
    return _compiled(lambda records, moment: snapshot_of(view(records, moment), features).order_by("customer_id"))


@cache
def _program(build: Build) -> Program:
    return _compiled(build)


def _compiled(build: Build) -> Program:
    tables = {name: ibis.table(table.schema, name=name) for name, table in TABLES.items()}
    literals = {column.op(): name for name, column in cutoff_columns(_STAND_IN).items()}
    return compiled(build(Records(tables, "UTC", "XXX"), _STAND_IN), literals)


def _given(rows: Mapping[str, pa.Table], moment: AsOf) -> Given:
    literals = {name: column.op() for name, column in cutoff_columns(moment).items()}
    return Given(rows, {name: constant(literal.value, literal.dtype) for name, literal in literals.items()})
