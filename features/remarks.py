"""Remarks about records that change no row: what a business would want to know before trusting the scores."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import duckdb

from features.cleaning import BLANKS, Cleaned
from features.contract import Table
from features.inputs import ROW, Input, identifier, literal
from features.mapping import Section, Source
from features.records import InputReport

# A person does not order so often; a till account or a marketplace booked as one customer does.
MANY_LINES = 50_000


def all_null(connection: duckdb.DuckDBPyConnection, opened: Input, column: str) -> bool:
    """Whether a typed column holds nothing at all: its type then says nothing either."""
    if not opened.typed:
        return False
    query = f"SELECT 1 FROM {opened.relation} WHERE {identifier(column)} IS NOT NULL LIMIT 1"
    return not connection.execute(query).fetchall()


def conversions(connection: duckdb.DuckDBPyConnection, opened: Input, cleaned: Mapping[str, Cleaned]) -> Counter[str]:
    """Count values whose type alone was changed, by contract column."""
    tests = {name: sql.converted for name, sql in cleaned.items() if sql.converted != "false"}
    if not tests:
        return Counter()
    counts = ", ".join(f"count(*) FILTER (WHERE {test})" for test in tests.values())
    row = connection.execute(f"SELECT {counts} FROM {opened.relation} AS src").fetchall()[0]
    return Counter(dict(zip(tests, row, strict=True)))


def unreadable(connection: duckdb.DuckDBPyConnection, opened: Input, cleaned: Mapping[str, Cleaned]) -> list[str]:
    """Remarks about values that could not be read, with the first of each column as it stands in the file."""
    faults = {name: sql.fault for name, sql in cleaned.items() if sql.fault != "false"}
    if not faults:
        return []
    counts = ", ".join(
        f"count(*) FILTER (WHERE {fault}), min({ROW}) FILTER (WHERE {fault})" for fault in faults.values()
    )
    found = connection.execute(f"SELECT {counts} FROM {opened.relation} AS src").fetchall()[0]
    return [
        f"{opened.name}: {name}: {count:,} values cannot be read, the first in row {row:,}"
        for name, count, row in zip(faults, found[::2], found[1::2], strict=True)
        if count
    ]


def attributes(section: Section, opened: Input) -> list[str]:
    """Remark that columns of the business's own are kept without use."""
    if not section.attributes:
        return []
    own = ", ".join(section.attributes)
    return [f"{opened.name}: attributes of your own are there, but nothing reads them yet: {own}"]


def of_input(connection: duckdb.DuckDBPyConnection, section: Section, opened: Input) -> InputReport:
    """Say how one input was read, and what in it nobody asked for, is missing or stands there twice."""
    used = {mapped.column for mapped in section.fields.values()}
    mapped = {name: field.column for name, field in section.fields.items() if field.column in opened.columns}
    empty = [f"count(*) FILTER (WHERE {_is_empty(opened, column)})" for column in mapped.values() if column]
    columns = ", ".join(identifier(name) for name in opened.columns)
    same, *missing = connection.execute(
        f"SELECT {', '.join([f'count(*) - count(DISTINCT hash({columns}))', *empty])} FROM {opened.relation}"
    ).fetchall()[0]
    return InputReport(
        file=opened.name,
        rows=opened.rows,
        encoding=opened.encoding,
        delimiter=opened.delimiter,
        missing=MappingProxyType(dict(zip(mapped, missing, strict=True))),
        unused=tuple(name for name in opened.columns if name not in used and name not in section.attributes),
        identical=same,
    )


def _is_empty(opened: Input, column: str) -> str:
    name = identifier(column)
    blank = f" OR trim({name}, {BLANKS}) = ''" if opened.columns[column] == "VARCHAR" else ""
    return f"{name} IS NULL{blank}"


def of_table(connection: duckdb.DuckDBPyConnection, source: Source, table: Table) -> list[str]:
    """Remarks about the usable rows of one table."""
    if table.name == "orders":
        return _orders(connection, source)
    if table.name == "identities":
        return ["links between ids are kept but not applied yet: each id is scored as its own customer"]
    return []


def _orders(connection: duckdb.DuckDBPyConnection, source: Source) -> list[str]:
    returns, free, foreign = connection.execute(
        "SELECT count(*) FILTER (WHERE is_return), count(*) FILTER (WHERE amount = 0), "
        f"count(*) FILTER (WHERE currency <> {literal(source.currency)}) FROM orders"
    ).fetchall()[0]
    big, most = connection.execute(
        f"SELECT count(*), max(lines) FROM (SELECT count(*) AS lines FROM orders GROUP BY customer_id) "
        f"WHERE lines > {MANY_LINES}"
    ).fetchall()[0]
    notes = []
    if returns:
        notes.append(f"{returns:,} lines are returns or cancellations: netted against spend, never a purchase")
    if free:
        notes.append(f"{free:,} lines have the value 0: they count for timing, not for the mean order value")
    if foreign:
        notes.append(f"{foreign:,} lines in other currencies were converted to {source.currency} by [rates]")
    if big:
        notes.append(f"{big:,} customers have over {MANY_LINES:,} lines (most: {most:,}); are they persons?")
    return notes
