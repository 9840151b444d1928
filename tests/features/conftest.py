"""Canonical records straight from rows, without the reader: what snapshot tests vary is the log, not its files."""

from collections.abc import Callable
from typing import Any, Literal
from zoneinfo import ZoneInfo

import ibis
import pandas as pd
import pytest

from features.cleaning import DUCKDB_TYPES
from features.contract import TABLES, Kind
from features.engine import open_table
from features.links import NO_LINKS, Links
from features.records import Economics, Records

DTYPES = {
    Kind.INSTANT: "datetime64[us]",
    Kind.DAY: "datetime64[s]",
    Kind.NUMBER: "float64",
    Kind.ID: "str",
    Kind.TEXT: "str",
}
Rows = list[dict[str, Any]]


def canonical(name: str, rows: Rows, zone: ZoneInfo) -> pd.DataFrame:
    table = TABLES[name]
    frame = pd.DataFrame(rows, columns=[column.name for column in table.columns])
    for column in table.columns:
        if column.kind in DTYPES:
            frame[column.name] = frame[column.name].astype(DTYPES[column.kind])
    if table.instant:
        utc = frame[table.instant]
        frame["known_at"] = frame["known_at"].fillna(utc)
        frame["local_at"] = utc.dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None).astype("datetime64[us]")
    if name == "orders":
        frame["is_return"] = frame["amount"] < 0
        frame["order_id"] = frame["order_id"].fillna(frame["ordered_at"].astype("str"))
    return frame


@pytest.fixture(scope="session")
def make_records() -> Callable[..., Records]:
    """Return a function from rows by table to Records; instants are naive UTC, an amount below 0 is a return."""

    def make(
        *,
        timezone: str = "UTC",
        margin_rate: float | None = None,
        consent_default: Literal["allow", "refuse"] = "allow",
        **rows: Rows,
    ) -> Records:
        zone = ZoneInfo(timezone)
        backend = ibis.duckdb.connect()
        for name, table in TABLES.items():
            backend.con.register("rows", canonical(name, rows.get(name, []), zone))
            columns = ", ".join(f"{c.name}::{DUCKDB_TYPES[c.kind]} AS {c.name}" for c in table.columns)
            backend.con.execute(f"CREATE TABLE {name} AS SELECT {columns} FROM rows")
        tables = {name: open_table(backend, name) for name in TABLES}
        known = pd.DataFrame(rows.get("identities", []), columns=["customer_id", "master_id", "known_at"])
        links = Links.of(*(known[name].tolist() for name in known)) if len(known) else NO_LINKS
        return Records(tables, timezone, "USD", Economics(margin_rate), consent_default, links=links)

    return make


@pytest.fixture(scope="session")
def at() -> Callable[..., pd.Timestamp]:
    """Return a function from a day counted from 1 January 2024 (a Monday) and an hour to a naive instant."""
    return lambda day, hour=12: pd.Timestamp("2024-01-01") + pd.Timedelta(days=day - 1, hours=hour)
