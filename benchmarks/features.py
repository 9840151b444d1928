"""Speed, size and equality of the snapshot on the generated company, one JSON line a figure.

``python -m benchmarks.features --lines 10000000 --growth 5000000 50000000 --plot growth.png --pairs 20000
--appends 10000 --many 1000000`` is the whole of it; every part can be left out by giving 0 (or no size).
"""

import argparse
import gc
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from threading import Event, Thread

import ibis
import numpy as np
import pandas as pd

from benchmarks.features_by_hand import LINE_COLUMNS, REFERENCE, by_hand_pandas, by_hand_sql
from benchmarks.features_records import DAYS, company, create, records_in, records_over, spill_folder
from features.catalogue import MODEL_FEATURES
from features.contract import TABLES
from features.engine import open_table
from features.formulas import in_catalogue
from features.online import READ
from features.plan import log_plan
from features.records import AsOf, Records
from features.snapshot import as_frame, build_snapshot

KEYS = ("customer_id", "as_of")
CUTOFFS_BACK_DAYS = (0, 90, 180, 270)


def main() -> None:
    """Measure what is asked for."""
    asked = _arguments()
    report = _reporter(asked.seed)
    if asked.peak:
        _measure_alone(Path(asked.peak), asked.memory_limit)
        return
    with tempfile.TemporaryDirectory(prefix="perennial-benchmark-") as folder:
        if asked.lines:
            database = company(Path(folder) / "one.duckdb", asked.lines, asked.seed)
            records = records_in(database, asked.memory_limit)
            speed(records, database, report)
        small = records_in(company(Path(folder) / "small.duckdb", 200_000, asked.seed), asked.memory_limit)
        if asked.pairs:
            online(small, min(asked.pairs, 200), asked.seed, report)
            differing = pairs(small, asked.pairs, asked.seed)
            report("single pairs that differ from the batch", differing, "of pairs", asked.pairs)
        if asked.many:
            report(
                "pairs of the many-customer path that differ",
                many(small, asked.many, asked.seed),
                "of pairs",
                asked.many,
            )
        if asked.appends:
            changed = appends(small, asked.appends, asked.seed)
            report("appends and late arrivals that changed an earlier snapshot", changed, "of appends", asked.appends)
        if asked.growth:
            growth(asked.growth, Path(folder), asked.plot, asked.seed, asked.memory_limit, report)


def speed(records: Records, database: Path, report: Callable[..., None]) -> None:
    """Compare with hand-written SQL and pandas, and four cutoffs with one."""
    as_of = records.as_of()
    connection = records.tables["orders"]._find_backend().con
    lines = connection.execute("SELECT count(*) FROM orders").fetchall()[0][0]
    statement = by_hand_sql(as_of)
    build_snapshot(records, as_of, REFERENCE)  # compiled once a process
    own, ours = timed(lambda: build_snapshot(records, as_of, REFERENCE))
    hand, theirs = timed(lambda: connection.sql(statement).to_arrow_table().to_pandas())
    theirs = theirs.astype(dict.fromkeys(REFERENCE, "float64"))
    parquet = database.with_suffix(".parquet")
    connection.execute(f"COPY orders TO '{parquet}' (FORMAT parquet)")
    filed = records_over(parquet)
    own_filed, from_file = timed(lambda: build_snapshot(filed, as_of, REFERENCE))
    pandas_filed, frames = timed(
        lambda: by_hand_pandas(pd.read_parquet(parquet, columns=LINE_COLUMNS), as_of), rounds=1
    )
    orders = pd.read_parquet(parquet, columns=LINE_COLUMNS)
    pandas_held, _ = timed(lambda: by_hand_pandas(orders, as_of), rounds=1)
    report("rows that differ between the engine's table and the file", int(not ours.equals(from_file)), "", lines)
    for name, other in (("hand-written SQL", theirs), ("pandas", frames)):
        worst = max(float(np.nanmax(np.abs(ours[f].to_numpy() - other[f].to_numpy()), initial=0)) for f in REFERENCE)
        unequal = sum(int((ours[f].isna().to_numpy() != other[f].isna().to_numpy()).sum()) for f in REFERENCE)
        report(f"greatest difference to {name}", worst, "", lines)
        report(f"values defined on one side only, {name}", unequal, "values", lines)
    report("24 reference features", own, "s", lines)
    report("the same in hand-written DuckDB SQL", hand, "s", lines)
    report("ours over hand-written SQL", own / hand, "ratio", lines)
    report("pandas over ours, both from one Parquet file to the frame", pandas_filed / own_filed, "ratio", lines)
    report("pandas over ours, its lines in memory and ours in the engine", pandas_held / own, "ratio", lines)
    report("pandas over hand-written SQL, likewise", pandas_held / hand, "ratio", lines)
    four = [as_of.earlier(days, "UTC") for days in CUTOFFS_BACK_DAYS]
    for name, features in (("24 reference", REFERENCE), ("all", None)):
        one, _ = timed(partial(build_snapshot, records, as_of, features))
        more, _ = timed(partial(build_snapshot, records, four, features))
        report(f"{name} features", one, "s", lines)
        report(f"four cutoffs over one, {name} features", more / one, "ratio", lines)


def growth(
    sizes: list[int], folder: Path, plot: str | None, seed: int, memory_limit: str, report: Callable[..., None]
) -> None:
    """Measure time and peak memory of all features by size, each in a process of its own."""
    points = []
    for lines in sizes:
        database = company(folder / f"{lines}.duckdb", lines, seed)
        command = [sys.executable, "-m", "benchmarks.features", "--peak", str(database), "--memory-limit", memory_limit]
        seconds, peak_gb, spilled_gb = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        points.append((lines, seconds, peak_gb))
        report("all features", seconds, "s", lines)
        report("all features, peak memory", peak_gb, "GB", lines)
        report(f"all features, most on disk beyond {memory_limit}", spilled_gb, "GB", lines)
        database.unlink()
    report("time at the largest size over the smallest", points[-1][1] / points[0][1], "ratio", points[-1][0])
    if plot:
        _plot(points, Path(plot))


def _plot(points: list[tuple[int, float, float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
    million = [lines / 1e6 for lines, _, _ in points]
    for axis, values, label in zip(axes, zip(*(p[1:] for p in points), strict=True), ("seconds", "GB"), strict=True):
        axis.plot(million, values, "o-")
        axis.set(xlabel="million lines", ylabel=label, ylim=(0, None))
    figure.tight_layout()
    figure.savefig(path)


def _measure_alone(database: Path, memory_limit: str) -> None:
    records = records_in(database, memory_limit)
    as_of = records.as_of()
    log_plan(in_catalogue(None))  # compiled once a process, whatever the size
    with _most_spilled(spill_folder(database)) as spilled_bytes:
        started = time.perf_counter()
        build_snapshot(records, as_of)
        seconds = time.perf_counter() - started
    status = Path("/proc/self/status").read_text()  # the resource module's figure begins with the parent's
    peak_gb = int(status.split("VmHWM:")[1].split()[0]) / 2**20
    sys.stdout.write(json.dumps([seconds, peak_gb, max(spilled_bytes) / 2**30]))


@contextmanager
def _most_spilled(folder: Path) -> Iterator[list[int]]:
    """Collect the size of what the engine has on disk, twenty times a second."""
    sizes, over = [0], Event()

    def sample() -> None:
        while not over.wait(0.05):
            with suppress(FileNotFoundError):  # dropped while it is looked at
                sizes.append(sum(file.stat().st_size for file in folder.glob("*")))

    thread = Thread(target=sample)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


def pairs(records: Records, count: int, seed: int) -> int:
    """Return how many random (customer, as_of) pairs, each from the customer's records alone, differ from the batch."""
    rng = np.random.default_rng(seed)
    batch = build_snapshot(records, _moments(records, rng, 20))
    keys, values = list(batch[list(KEYS)].itertuples(index=False, name=None)), _numbers(batch)
    alone, differing = ByCustomer(records), 0
    for place in rng.integers(len(batch), size=count).tolist():
        customer, as_of = keys[place]
        row = build_snapshot(alone.of(customer), AsOf.parse(as_of.to_pydatetime(), "UTC"))
        same_key = list(row[list(KEYS)].itertuples(index=False, name=None)) == [keys[place]]
        differing += not (same_key and np.array_equal(_numbers(row)[0], values[place], equal_nan=True))
    return differing


def online(records: Records, count: int, seed: int, report: Callable[..., None]) -> None:
    """Time one customer's snapshot of the features that models read: sent along, read from an engine, planned there."""
    as_of, sent, standing = records.as_of(), ByCustomer(records), Alone(records)
    chosen = np.random.default_rng(seed + 3).choice(standing.customers(), size=count)
    ways: dict[str, tuple[Callable[[str], Records], Callable[[Records], pd.DataFrame]]] = {
        "sent along": (sent.of, partial(build_snapshot, as_of=as_of, features=MODEL_FEATURES)),
        "in the engine": (
            lambda customer: standing.of([customer]),
            partial(build_snapshot, as_of=as_of, features=MODEL_FEATURES),
        ),
        "planned anew": (
            lambda customer: standing.of([customer]),
            lambda one: as_frame(log_plan(MODEL_FEATURES).run(one, as_of)),
        ),
    }
    took: dict[str, list[tuple[float, float]]] = {}
    for _ in ("compile once a process", "measure"):
        gc.collect()
        gc.freeze()  # as the service does: what stays is not walked again
        took = {name: [] for name in ways}
        for customer in chosen:
            for name, (find, build) in ways.items():
                one = find(customer)
                took[name].append(_spent(partial(build, one)))
    gc.unfreeze()
    for name, percent, (place, clock) in product(ways, (50, 99), ((0, "ms"), (1, "ms of CPU"))):
        what = (
            f"one customer's snapshot, {len(MODEL_FEATURES)} features of models, records {name}, percentile {percent}"
        )
        report(what, float(np.percentile([times[place] for times in took[name]], percent)), clock, count)


def _spent(work: Callable[[], object]) -> tuple[float, float]:
    """Return the milliseconds that something took, on the wall and of the processor."""
    started, busy = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - started), 1e3 * (time.process_time() - busy)


def many(records: Records, count: int, seed: int, cutoffs: int = 40) -> int:
    """Return how many pairs differ when random subsets of customers are built at many cutoffs together."""
    rng = np.random.default_rng(seed + 1)
    moments = _moments(records, rng, cutoffs)
    batch = build_snapshot(records, moments).set_index(["customer_id", "as_of"]).sort_index()
    customers = batch.index.get_level_values(0).unique()
    alone, seen, differing = Alone(records), 0, 0
    while seen < count:
        subset = rng.choice(customers, size=min(2_000, len(customers) // 2), replace=False)
        rows = build_snapshot(alone.of(list(subset)), moments).set_index(["customer_id", "as_of"])
        differing += 0 if _same(rows, batch.loc[rows.index]) else len(rows)
        seen += len(rows)
    return differing


def appends(records: Records, count: int, seed: int) -> int:
    """Return how many random appended or late lines change a byte of an earlier snapshot."""
    rng = np.random.default_rng(seed + 2)
    alone = Alone(records)
    customers = alone.customers()
    last = records.as_of()
    changed, batch = 0, 50
    for _ in range(max(1, count // batch)):
        subset = alone.of(list(rng.choice(customers, size=20, replace=False)))
        cutoff = last.earlier(int(rng.integers(30, DAYS - 60)), "UTC")
        before = _fingerprint(build_snapshot(subset, [cutoff.earlier(45, "UTC"), cutoff]))
        alone.append_after(cutoff, batch, rng)
        changed += batch * (before != _fingerprint(build_snapshot(subset, [cutoff.earlier(45, "UTC"), cutoff])))
    return changed


class ByCustomer:
    """Each customer's records alone, as a program sends them along."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._tables = {
            name: records.tables[name].order_by("customer_id").to_pyarrow().combine_chunks() for name in READ
        }
        self._places = {name: _stretches(table["customer_id"].to_numpy()) for name, table in self._tables.items()}

    def of(self, customer: str) -> Records:
        """Return the records of one customer."""
        places = {name: places[customer] for name, places in self._places.items() if customer in places}
        return replace(self._records, few={name: self._tables[name].slice(*place) for name, place in places.items()})


def _stretches(ids: np.ndarray) -> dict[str, tuple[int, int]]:
    """Return where each id's rows begin and how many they are."""
    starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])) if len(ids) else np.array([], int)
    lengths = np.diff(np.append(starts, len(ids)))
    return {ids[start]: (start, length) for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)}


class Alone:
    """Some customers' records in an engine of their own, whose rows are replaced and whose tables stay."""

    def __init__(self, records: Records) -> None:
        self._whole = records.tables["orders"]._find_backend().con
        self._backend = ibis.duckdb.connect(threads=1)
        create(self._backend.con)
        self._records = replace(records, tables={name: open_table(self._backend, name) for name in TABLES})
        self._frames = {name: self._whole.sql(f"SELECT * FROM {name}").df() for name in TABLES}
        self._groups = {
            name: frame.groupby("customer_id").indices for name, frame in self._frames.items() if len(frame)
        }

    def customers(self) -> list[str]:
        """Return who has orders."""
        return sorted(self._groups["orders"])

    def of(self, customers: list[str]) -> Records:
        """Return the records of these customers alone."""
        connection = self._backend.con
        for name, groups in self._groups.items():
            connection.execute(f"DELETE FROM {name}")
            places = [groups[customer] for customer in customers if customer in groups]
            if places:
                connection.register("rows_", self._frames[name].iloc[np.concatenate(places)])
                connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM rows_")
        return self._records

    def append_after(self, cutoff: AsOf, count: int, rng: np.random.Generator) -> None:
        """Append lines that happen, or that are only learned, at the cutoff or later."""
        late = rng.random(count) < 0.5
        shift = rng.integers(0, 60 * 86_400, count)
        for is_late, seconds in zip(late.tolist(), shift.tolist(), strict=True):
            known = cutoff.naive_utc + timedelta(seconds=seconds)
            occurred = known - timedelta(days=float(rng.integers(1, 300))) if is_late else known
            self._backend.con.execute(
                "INSERT INTO orders BY NAME SELECT * REPLACE ($at AS ordered_at, $known AS known_at, $at AS local_at) "
                "FROM orders USING SAMPLE 1 ROWS",
                {"at": occurred, "known": known},
            )


def _moments(records: Records, rng: np.random.Generator, count: int) -> list[AsOf]:
    last = records.as_of()
    seconds = rng.integers(0, (DAYS - 60) * 86_400, size=count)
    return [AsOf.parse(last.instant - timedelta(seconds=int(back)), "UTC") for back in seconds]


def _same(rows: pd.DataFrame, expected: pd.DataFrame) -> bool:
    return rows.index.equals(expected.index) and np.array_equal(rows.to_numpy(), expected.to_numpy(), equal_nan=True)


def _numbers(rows: pd.DataFrame) -> np.ndarray:
    return rows.drop(columns=list(KEYS)).to_numpy()


def _fingerprint(rows: pd.DataFrame) -> str:
    return hashlib.sha256(rows.to_parquet(index=False)).hexdigest()


def timed(work: Callable[[], pd.DataFrame], rounds: int = 3) -> tuple[float, pd.DataFrame]:
    """Return the shortest of some runs, in seconds, and what came out."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - started)
    return min(times), result


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
    parser.add_argument("--plot", help="where the picture of the growth goes")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--appends", type=int, default=200)
    parser.add_argument("--memory-limit", default="3GB")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
