"""Small records for training tests, straight into canonical tables."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

import ibis
import pandas as pd
import pytest

from features.contract import TABLES
from features.records import Records

RecordsFromLines = Callable[..., Records]


def records_from_lines(lines: pd.DataFrame, timezone: str = "UTC") -> Records:
    """Return records whose only filled table is orders; ``lines`` needs customer_id, ordered_at (UTC) and amount."""
    orders = lines.assign(ordered_at=pd.to_datetime(lines.ordered_at, format="ISO8601").astype("datetime64[us]"))
    known_at = orders.get("known_at", orders.ordered_at)
    local = orders.ordered_at.dt.tz_localize("UTC").dt.tz_convert(ZoneInfo(timezone)).dt.tz_localize(None)
    filled = {
        "known_at": pd.to_datetime(known_at, format="ISO8601").astype("datetime64[us]"),
        "local_at": local,
        "order_id": orders["order_id"] if "order_id" in orders else orders.index.astype(str),
        "is_return": orders.get("is_return", orders.amount < 0),
    }
    orders = orders.assign(**filled)
    schema = TABLES["orders"].schema
    for name in schema.names:
        if name not in orders:
            orders[name] = pd.Series([None] * len(orders), dtype="object")
    backend = ibis.duckdb.connect()
    tables = {name: backend.create_table(name, schema=table.schema) for name, table in TABLES.items()}
    backend.insert("orders", ibis.memtable(orders[list(schema.names)], schema=schema))
    return Records(tables=tables, timezone=timezone, currency="USD", name="test records")


@pytest.fixture
def from_lines() -> RecordsFromLines:
    return records_from_lines
