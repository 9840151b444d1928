"""What keeping snapshots saves: ``python -m benchmarks.snapshots [customers]``, one JSON line per figure.

A log of past month ends whose snapshots are kept grows by one day. Beside a full build of the new day and of the
months before it stand: asking for all of them again from the store, and correcting the past of one customer in a
hundred. 50,000 customers of the generated company are about a million lines.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from benchmarks.company import generate
from features.records import AsOf, Records
from features.snapshot import build_snapshot
from features.sources import records_from_frames
from features.store import SnapshotStore

SEED = 7
MONTHS = 4


def seconds(work: Callable[[], object]) -> float:
    """Return how long it took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(what: str, value: float, unit: str, customers: int, lines: int) -> None:
    """Print one figure with what is needed to get it again."""
    figure = {
        "what": what,
        "value": round(value, 4),
        "unit": unit,
        "lines": lines,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("duckdb", "ibis-framework", "pandas")},
        "seed": SEED,
        "command": f"python -m benchmarks.snapshots {customers}",
    }
    sys.stdout.write(json.dumps(figure) + "\n")


def corrected(tables: dict[str, pd.DataFrame]) -> Records:
    """Return the records with every order of one customer in a hundred worth one unit more."""
    orders = tables["orders"]
    chosen = orders["customer_id"].str.endswith("00")
    amount = orders["amount"] + chosen * orders["amount"].gt(0)
    return records_from_frames({**tables, "orders": orders.assign(amount=amount)})


def main() -> None:
    """Measure on the number of customers given, 50,000 unless given."""
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    tables = dict(generate(customers, seed=SEED).tables)
    records, lines = records_from_frames(tables), len(tables["orders"])
    today = records.as_of()
    past = [today.earlier(30 * months + 1, records.timezone) for months in range(MONTHS, 0, -1)]
    moments: list[AsOf] = [*past, today]
    build_snapshot(records, today)  # compiling is paid once a process, by whoever comes first
    full = seconds(lambda: build_snapshot(records, moments))
    one = seconds(lambda: build_snapshot(records, today))
    with tempfile.TemporaryDirectory() as folder:
        store = SnapshotStore(Path(folder))
        store.snapshots(records, past)
        grown = seconds(lambda: store.snapshots(records, moments))
        found = seconds(lambda: store.snapshot(records, today))
        changed = corrected(tables)
        repaired = seconds(lambda: store.snapshot(changed, today))
    report(f"{MONTHS} past months and a new day, built in one pass", full, "s", customers, lines)
    report("the same with the months kept, the new day computed", grown, "s", customers, lines)
    report("kept over built", grown / full, "ratio", customers, lines)
    report("one day built", one, "s", customers, lines)
    report("one day found whole over built", found / one, "ratio", customers, lines)
    report("one day with 1 % of customers corrected over built", repaired / one, "ratio", customers, lines)


if __name__ == "__main__":
    main()
