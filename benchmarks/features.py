"""Speed, size and equality of the snapshot on the generated company, one JSON line a figure.

``python -m benchmarks.features --lines 10000000 --growth 5000000 50000000 --plot growth.png --pairs 20000
--appends 10000 --many 1000000`` is the whole of it; every part can be left out by giving 0 (or no size).
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from benchmarks.features_equality import appends, many, pairs
from benchmarks.features_growth import growth, measure_alone
from benchmarks.features_online import online
from benchmarks.features_records import company, records_in
from benchmarks.features_speed import speed
from perennial.settings import settings

SMALL_LINES = 200_000  # enough customers for everything that looks at some of them


def main() -> None:
    """Measure what is asked for."""
    asked = _arguments()
    if asked.peak:
        measure_alone(asked.peak, asked.memory_limit)
        return
    report = _reporter(asked.seed)
    with tempfile.TemporaryDirectory(prefix="perennial-benchmark-") as folder:
        if asked.lines:
            database = company(Path(folder) / "one.duckdb", asked.lines, asked.seed)
            speed(records_in(database, asked.memory_limit), database, report)
        if asked.pairs or asked.many or asked.appends:
            _some_customers(asked, Path(folder), report)
        if asked.growth:
            growth(asked.growth, Path(folder), asked.plot, asked.seed, asked.memory_limit, report)


def _some_customers(asked: argparse.Namespace, folder: Path, report: Callable[..., None]) -> None:
    records = records_in(company(folder / "small.duckdb", SMALL_LINES, asked.seed), asked.memory_limit)
    if asked.pairs:
        online(records, min(asked.pairs, 200), asked.seed, report)
        differing = pairs(records, asked.pairs, asked.seed)
        report("single pairs that differ from the batch", differing, "of pairs", asked.pairs)
    if asked.many:
        differing = many(records, asked.many, asked.seed)
        report("pairs of the many-customer path that differ", differing, "of pairs", asked.many)
    if asked.appends:
        changed = appends(records, asked.appends, asked.seed)
        report("appends and late arrivals that changed an earlier snapshot", changed, "of appends", asked.appends)


def _reporter(seed: int) -> Callable[..., None]:
    def report(what: str, value: float, unit: str, n: int) -> None:
        figure = {
            "what": what,
            "value": float(f"{value:.6g}"),
            "unit": unit,
            "n": n,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {name: version(name) for name in ("duckdb", "ibis-framework", "pandas", "pyarrow")},
            "seed": seed,
            "command": " ".join(["python -m benchmarks.features", *sys.argv[1:]]),
        }
        sys.stdout.write(json.dumps(figure) + "\n")
        sys.stdout.flush()

    return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000_000, help="order lines of the comparison (two an order)")
    parser.add_argument("--growth", type=int, nargs="*", default=[], help="sizes in lines, smallest first")
    parser.add_argument("--plot", type=Path, help="where the picture of the growth goes (PNG)")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--appends", type=int, default=200)
    parser.add_argument("--memory-limit", default=settings().memory_limit)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
