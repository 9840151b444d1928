"""Remarks about usable records that change no row: what a business would want to know before trusting the scores."""

import duckdb

from features.contract import Table
from features.inputs import literal
from features.mapping import Source

# A person does not order so often; a till account or a marketplace booked as one customer does.
MANY_LINES = 50_000


def of_table(connection: duckdb.DuckDBPyConnection, source: Source, table: Table) -> list[str]:
    """Remarks about the usable rows of one table."""
    if table.name == "orders":
        return _orders(connection, source)
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
