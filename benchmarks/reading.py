"""Memory and time of reading one large CSV: ``python -m benchmarks.reading [megabytes]``.

One JSON line per figure. The file has order lines with ids, instants, money and texts, a few of them faulty; each way
of reading runs in a process of its own, so that its peak is its own. The bare read is DuckDB loading the same file into
a table on disk, types found by itself, under the same memory limit.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import duckdb

from features.sources import read_records
from perennial.settings import settings

SEED = 7
BYTES_PER_LINE = 84
SOURCE = """\
currency = "EUR"
timezone = "Europe/Berlin"
[orders]
path = "orders.csv"
customer_id = "customer"
ordered_at = "at"
order_id = "order"
line_id = "line"
amount = "amount"
quantity = "quantity"
product_id = "product"
category = "category"
channel = "channel"
"""
LINES = """
    SELECT CASE WHEN hash(i, {seed}) % 1000 <> 0
                THEN 'C' || lpad((hash(i // 4, 1) % ({n} // 20))::VARCHAR, 8, '0') END AS customer,
           TIMESTAMP '2022-01-01' + INTERVAL 1 SECOND * (i // 4 * 94608000 // ({n} // 4)) AS at,
           'R' || lpad((i // 4)::VARCHAR, 9, '0') AS "order",
           'L' || lpad((i - CASE WHEN hash(i, 2) % 10000 = 0 THEN 1 ELSE 0 END)::VARCHAR, 10, '0') AS line,
           CASE WHEN hash(i, 3) % 5000 = 0 THEN 'nan' ELSE printf('%.2f', hash(i, 4) % 20000 / 100) END AS amount,
           hash(i, 5) % 5 + 1 AS quantity, 'P' || hash(i, 6) % 20000 AS product,
           'category ' || hash(i, 7) % 40 AS category, CASE hash(i, 8) % 3 WHEN 0 THEN 'shop' ELSE 'web' END AS channel
    FROM range({n}) AS lines(i)"""


def generate(folder: Path, megabytes: int) -> int:
    """Write ``orders.csv`` and ``source.toml`` and return the number of lines."""
    n = megabytes * 1_000_000 // BYTES_PER_LINE // 20 * 20
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({LINES.format(n=n, seed=SEED)}) TO '{folder}/orders.csv' (HEADER)")
    (folder / "source.toml").write_text(SOURCE)
    return n


def ours(folder: Path) -> int:
    """Read, clean, judge and count every line."""
    report = read_records(folder / "source.toml").reports[0]
    return report.rows


def bare(folder: Path) -> int:
    """Load the file as it stands."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": settings().memory_limit}
        connection = duckdb.connect(f"{place}/bare.duckdb", config=config | {"temp_directory": place})
        connection.execute(f"CREATE TABLE orders AS FROM read_csv('{folder}/orders.csv')")
        rows: int = connection.execute("SELECT count(*) FROM orders").fetchall()[0][0]
        return rows


WAYS = {"ours": ours, "bare": bare}


def measure(way: str, folder: Path) -> dict[str, float]:
    """Run one way in a process of its own; return rows, seconds and the peak of its memory in MB."""
    command = [sys.executable, "-m", "benchmarks.reading", way, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _one(way: str, folder: Path) -> None:
    start = time.perf_counter()
    rows = WAYS[way](folder)
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    sys.stdout.write(json.dumps({"rows": rows, "seconds": seconds, "peak_mb": peak_mb}))


def report(what: str, value: float, unit: str, size: str) -> None:
    """Print one figure with what is needed to get it again."""
    figure = {
        "what": what,
        "value": round(value, 3),
        "unit": unit,
        "input": size,
        "memory_limit": settings().memory_limit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("duckdb", "ibis-framework", "pyarrow")},
        "seed": SEED,
        "command": " ".join(["python -m benchmarks.reading", *sys.argv[1:]]),
    }
    sys.stdout.write(json.dumps(figure) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure on a file of the size given, 200 MB unless given."""
    if len(sys.argv) == 3:
        _one(sys.argv[1], Path(sys.argv[2]))
        return
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(prefix="perennial-benchmark-") as name:
        folder = Path(name)
        lines = generate(folder, megabytes)
        size = f"{(folder / 'orders.csv').stat().st_size / 1e6:,.0f} MB, {lines:,} lines"
        own, other = measure("ours", folder), measure("bare", folder)
    if own["rows"] != lines:
        raise SystemExit(f"{own['rows']:,.0f} of {lines:,} lines were accounted for")
    report("reading, cleaning and judging a CSV", own["seconds"], "s", size)
    report("peak memory of the process", own["peak_mb"], "MB", size)
    report("DuckDB loading the same file", other["seconds"], "s", size)
    report("its peak memory", other["peak_mb"], "MB", size)
    report("ours over DuckDB's", own["seconds"] / other["seconds"], "ratio of times", size)


if __name__ == "__main__":
    main()
