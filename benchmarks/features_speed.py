"""The time of the snapshot beside hand-written SQL and pandas, and of four cutoffs beside one."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.features_by_hand import LINE_COLUMNS, REFERENCE, by_hand_pandas, by_hand_sql
from benchmarks.features_records import lines_in, records_over
from features.records import Records
from features.snapshot import build_snapshot

CUTOFFS_BACK_DAYS = (0, 90, 180, 270)


def speed(records: Records, database: Path, report: Callable[..., None]) -> None:
    """Compare with hand-written SQL and pandas, and four cutoffs with one."""
    as_of = records.as_of()
    connection = records.tables["orders"]._find_backend().con
    lines = lines_in(records)
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


def timed(work: Callable[[], pd.DataFrame], rounds: int = 3) -> tuple[float, pd.DataFrame]:
    """Return the shortest of some runs, in seconds, and what came out."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - started)
    return min(times), result
