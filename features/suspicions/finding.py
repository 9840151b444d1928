"""What every suspicion says, and how the records are asked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from features.records import Records

Ask = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One thing that a person should look at.

    ``text`` is a sentence with its numbers, ``advice`` what to do about it, ``rows`` how many rows or records of
    ``table`` it is about, ``examples`` where to look (ids or days that stand in the records).
    """

    code: str
    table: str
    text: str
    advice: str
    rows: int
    examples: tuple[str, ...] = ()


@contextmanager
def placed_orders(records: Records) -> Iterator[Ask]:
    """Yield a way to ask the records in SQL, with ``placed`` (one row per order that is no return) beside them."""
    connection: duckdb.DuckDBPyConnection = records.tables["orders"].get_backend().con
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE placed AS SELECT customer_id, order_id, min(local_at) AS local_at, "
        "min(ordered_at) AS ordered_at FROM orders WHERE NOT is_return GROUP BY customer_id, order_id"
    )
    try:
        yield lambda query: connection.execute(query).fetchall()
    finally:
        connection.execute("DROP TABLE placed")


def share(part: float, whole: float) -> str:
    """Return a share in words that never round something to nothing."""
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.1 else "under 0.1 %"
