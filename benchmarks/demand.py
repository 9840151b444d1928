"""What each head of the demand model is worth: ``python -m benchmarks.demand SOURCE HORIZON_DAYS``, JSON lines.

Judged at rolling origins before the latest one, so that nothing decided here was seen on the hold-out that is
reported. ``level`` and ``factor`` are the two heads alone, ``both`` their geometric mean (what the product predicts),
``btyd`` the forecast from histories alone.
"""

import json
import os
import platform
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from features.records import Records
from features.snapshot import build_snapshot
from features.sources import read_records
from models.demand import DemandModel, Forecaster
from models.matrix import Floats
from training.backtest import plan_backtest
from training.dataset import with_labels
from training.metrics import AMOUNT_MEASURES

ORIGINS = 5


def main() -> None:
    """Print the mean of every measure over the inner origins, by amount and forecaster."""
    source, days = Path(sys.argv[1]), int(sys.argv[2])
    records = read_records(source)
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for learned, judged in _origins(records, days):
        for amount, predictions in _predictions(learned, judged, days).items():
            actual = judged[f"actual_{amount}"].to_numpy(dtype=np.float64)
            for who, expected in predictions.items():
                for name, measure in AMOUNT_MEASURES.items():
                    found[amount, who, name].append(measure(actual, expected, np.ones(len(actual))))
    for (amount, who, name), values in found.items():
        figure = {
            "records": records.name,
            "amount": amount,
            "forecaster": who,
            "measure": name,
            "value": round(float(np.mean(values)), 4),
            "origins": len(values),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {package: version(package) for package in ("lightgbm", "numpy", "pandas")},
            "seed": 7,
            "command": f"python -m benchmarks.demand {source.name} {days}",
        }
        sys.stdout.write(json.dumps(figure) + "\n")


def _origins(records: Records, days: int) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Return what may be learned from and what is judged, at every origin but the latest."""
    fits = plan_backtest(records, records.as_of(), days, ORIGINS)[:-1]
    moments = {cutoff for fit in fits for cutoff in (*fit.cutoffs, fit.closed_until)}
    snapshot = build_snapshot(records, sorted(moments, key=lambda moment: moment.instant))
    end = records.as_of()
    return [
        (
            with_labels(snapshot, records, fit.cutoffs, days, fit.closed_until),
            with_labels(snapshot, records, [fit.closed_until], days, end),
        )
        for fit in fits
    ]


def _predictions(learned: pd.DataFrame, judged: pd.DataFrame, days: int) -> dict[str, dict[str, Floats]]:
    forecaster = Forecaster.fit(judged)
    model = DemandModel(days).fit(learned)
    forecast = forecaster.columns(judged, days)
    btyd = {"orders": forecast[:, 0], "spend": forecast[:, 0] * forecast[:, 3]}
    demand = model.predict(judged, forecaster, days)
    both = {"orders": demand.orders, "spend": demand.spend}
    heads = model.predict_heads(judged, forecast)
    return {
        amount: {"btyd": btyd[amount], "both": both[amount]}
        | {("factor" if head.offset else "level"): np.exp(heads[head]) for head in heads if head.amount == amount}
        for amount in btyd
    }


if __name__ == "__main__":
    main()
