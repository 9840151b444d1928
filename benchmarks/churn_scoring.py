"""Cost of scoring a million prepared snapshots: ``python -m benchmarks.churn_scoring SOURCE HORIZON_DAYS [customers]``.

The model that `train churn` fits on the source scores as many customers as asked for: histories drawn from the source's
own at past cutoffs, every other feature moved by 10 % at random so that hardly two customers fall into the same leaves
throughout. JSON lines: seconds without reasons, with exact shares, with sentences; how far the shares are from
LightGBM's own.
"""

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from features.sources import read_records
from models.churn import ChurnModel
from models.near_horizon import BlendedTrees
from models.reasons import top_reasons
from perennial.settings import settings
from training.churn_recipe import ChurnRecipe
from training.dataset import gather

HISTORY = frozenset({"frequency", "recency", "T", "days_since_last_order"})
MOVED = 0.1
COMPARED = 2_000
Result = TypeVar("Result")


def main() -> None:
    """Print every figure."""
    source, days = Path(sys.argv[1]), int(sys.argv[2])
    customers = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
    records, config = read_records(source), settings()
    data = gather(records, records.as_of(), days, needs_labels=True)
    recipe = ChurnRecipe(config)
    recipe.fit(data, final=False)
    fitted = recipe.fit(data, final=True)
    model = ChurnModel.from_files(fitted.to_files(), num_threads=config.threads)
    rows = _many(pd.concat([data.judged, data.final], ignore_index=True), model, customers, config.seed)

    def report(what: str, value: float, unit: str) -> None:
        _report(what, value, unit, customers, f"python -m benchmarks.churn_scoring {source} {days} {customers}")

    model.contributions(rows[:2_000])  # warm: thresholds are read once
    _, spent = _timed(lambda: model.predict_with_interval(rows))
    report("probability and interval", spent, "s")
    shares, explained = _timed(lambda: model.contributions(rows))
    report("exact shares", explained, "s")
    _, told = _timed(
        lambda: top_reasons(
            rows,
            shares,
            model.feature_names_,
            "en",
            typical=model.typical_,
            base_log_odds=model.base_log_odds_,
        )
    )
    report("three reasons in words", told, "s")
    report("shares and words", explained + told, "s")
    report("largest difference from the log odds", _gap(model, rows, shares), "log odds")
    report("largest difference from LightGBM's shares", _difference(model, rows), "log odds")
    report("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, "GB")


def _many(rows: pd.DataFrame, model: ChurnModel, customers: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    drawn = rows.iloc[rng.integers(len(rows), size=customers)].reset_index(drop=True)
    for name in drawn.select_dtypes("number").columns.difference(list(HISTORY)):
        if drawn[name].dtype == np.float64:
            drawn[name] *= np.exp(rng.normal(0.0, MOVED, customers))
    return drawn


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    done = work()
    return done, time.perf_counter() - start


def _gap(model: ChurnModel, rows: pd.DataFrame, shares: np.ndarray) -> float:
    return float(np.abs(shares.sum(axis=1) + model.base_log_odds_ - model.predict_log_odds(rows)).max())


def _difference(model: ChurnModel, rows: pd.DataFrame) -> float:
    """Compare trees' shares by patterns with LightGBM's, row by row."""
    if not isinstance(model.trees_, BlendedTrees):
        return 0.0
    some = rows[:COMPARED]
    theirs = model.trees_.booster.predict(model.trees_.matrix(some), pred_contrib=True)[:, :-1]
    blend, model.trees_.blend_ = model.trees_.blend_, 0.0
    ours = model.contributions(some)
    model.trees_.blend_ = blend
    return float(np.abs(ours - theirs).max())


def _report(what: str, value: float, unit: str, customers: int, command: str) -> None:
    figure = {
        "what": what,
        "value": float(f"{value:.4g}"),
        "unit": unit,
        "customers": customers,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("lightgbm", "numpy", "pandas")},
        "seed": settings().seed,
        "command": command,
    }
    sys.stdout.write(json.dumps(figure) + "\n")


if __name__ == "__main__":
    main()
