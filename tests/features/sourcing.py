"""Source files as a newcomer would write them, for the tests of the reader."""

from pathlib import Path
from typing import Any

import pandas as pd

from features.records import Records, TableReport
from features.sources import read_records, records_from_frames

HEAD = 'currency = "EUR"\ntimezone = "UTC"\n'
ORDERS = '[orders]\npath = "orders.csv"\ncustomer_id = "id"\nordered_at = "at"\namount = "amount"\n'
COLUMNS = "id,at,amount\n"


def write(folder: Path, *, head: str = HEAD, orders: str = ORDERS, **files: str | bytes) -> Path:
    """Write ``orders_csv="…"`` as ``orders.csv`` and so on, and a source file beside them."""
    for name, content in files.items():
        raw = content.encode() if isinstance(content, str) else content
        (folder / name.replace("_", ".")).write_bytes(raw)
    path = folder / "source.toml"
    path.write_text(head + orders, encoding="utf-8")
    return path


def read_orders(folder: Path, lines: str | bytes, *, head: str = HEAD, orders: str = ORDERS) -> Records:
    """Read ``lines`` below the header ``id,at,amount``."""
    body = lines.encode() if isinstance(lines, str) else lines
    return read_records(write(folder, head=head, orders=orders, orders_csv=COLUMNS.encode() + body))


def from_orders(rows: list[dict[str, Any]], **options: Any) -> Records:
    """Read rows of orders; customer and day are filled in where a row does not say."""
    filled = [{"customer_id": "A", "ordered_at": "2024-01-05", "amount": 10.0} | row for row in rows]
    return records_from_frames({"orders": pd.DataFrame(filled)}, **options)


def report(records: Records, table: str = "orders") -> TableReport:
    """Return a table's report, its counts proven to add up and to agree with table and quarantine."""
    found = next(entry for entry in records.reports if entry.table == table)
    assert found.accepted + found.corrected + found.quarantined == found.rows
    assert sum(found.reasons.values()) == found.quarantined
    assert sum(found.corrections.values()) == found.corrected
    assert records.tables[table].count().to_pyarrow().as_py() == found.accepted + found.corrected
    assert (records.quarantine["table"] == table).sum() == found.quarantined
    return found


def column(records: Records, name: str, table: str = "orders") -> list[Any]:
    """Return one canonical column, None where missing."""
    return list(records.tables[table][name].to_pyarrow().to_pylist())
