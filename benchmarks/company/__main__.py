"""Write the generated company to files: ``python -m benchmarks.company --customers N --output DIR``."""

import argparse
import json
import os
import platform
import resource
import sys
import time
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path

from benchmarks.company.blocks import BLOCK, make_block
from benchmarks.company.files import Order, write_company
from benchmarks.company.settings import PURE, CompanySettings

KILOBYTE = 1 if sys.platform == "darwin" else 1024


def main(arguments: list[str] | None = None) -> None:
    """Write the company and print one JSON line: rows by table, seconds, peak memory."""
    parser = _parser()
    given = parser.parse_args(arguments)
    changed = {
        field.name: value for field in fields(CompanySettings) if (value := getattr(given, field.name)) is not None
    }
    try:
        settings = replace(PURE if given.pure else CompanySettings(), **changed)
        customers = given.customers or _customers_for(given.lines, given.days, given.seed, settings)
        start = time.perf_counter()
        rows = write_company(Order(given.output, customers, given.days, given.seed, settings), given.workers)
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    seconds = time.perf_counter() - start
    own, child = (
        resource.getrusage(who).ru_maxrss * KILOBYTE / 2**30 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    figure = {
        "what": "the generated company as Parquet",
        "customers": customers,
        "rows": rows,
        "seconds": round(seconds, 1),
        "peak_memory_gb": round(own + given.workers * child, 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("numpy", "pyarrow")},
        "seed": given.seed,
        "command": "python -m benchmarks.company " + " ".join(arguments or sys.argv[1:]),
    }
    sys.stdout.write(json.dumps(figure) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.company", description=__doc__)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--customers", type=_positive, help="how many customers")
    size.add_argument("--lines", type=_positive, help="about how many order lines, instead")
    parser.add_argument("--output", type=Path, required=True, help="an empty or new folder")
    parser.add_argument("--days", type=_positive, default=540, help="length of the log")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=_positive, default=2, help="processes")
    parser.add_argument("--pure", action="store_true", help="start from nothing but BG/NBD and Gamma-Gamma")
    for field in fields(CompanySettings):
        name, default = "--" + field.name.replace("_", "-"), field.default
        if isinstance(default, bool):
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=None)
        else:
            parser.add_argument(name, type=type(default), help=f"{default} unless given")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return number


def _customers_for(lines: int, days: int, seed: int, settings: CompanySettings) -> int:
    """Return how many customers make about so many lines, going by one block of them."""
    per_customer = make_block(0, BLOCK, days, seed, settings).tables["orders"].num_rows / BLOCK
    return max(int(lines / per_customer), 1)


if __name__ == "__main__":
    main()
