"""Churn over horizons that no closed window reaches: ``python -m benchmarks.far_horizon SOURCE…``, JSON lines.

Only the first half of each log is looked at, so that nothing decided here was seen on a hold-out as long as the other
half. Origins stand at fractions of the log, each with a horizon as long as the history behind it or, where that is
shorter, as the rest of the half.
``level`` and ``factor`` are the two heads alone, ``both`` what the product predicts.
"""

import json
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import log_loss, roc_auc_score

from features.records import Records
from features.snapshot import build_snapshot
from features.sources import read_records
from models.churn import ChurnModel
from models.far_horizon import FACTOR_FILE, LEVEL_FILE, FarHeads
from models.matrix import Floats
from perennial.settings import settings
from training.baselines import RecencyRule
from training.churn_recipe import fit_churn
from training.dataset import Fit, first_day, fit_until, rows_at, with_labels

FRACTIONS = (0.2, 0.25, 0.3)
KNOWN_SHARE = 0.5


def main() -> None:
    """Print the mean of each measure over the inner origins, by forecaster."""
    for source in map(Path, sys.argv[1:]):
        records = read_records(source)
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for fit, horizon_days, snapshot in _origins(records):
            came = with_labels(snapshot, records, [fit.closed_until], horizon_days, records.as_of())
            left = came["churned"].to_numpy()
            for who, probability in _predictions(records, fit, horizon_days, snapshot, came).items():
                found[who, "auc"].append(float(roc_auc_score(left, probability)))
                found[who, "log_loss"].append(float(log_loss(left, np.clip(probability, 1e-6, 1 - 1e-6))))
        for (who, measure), values in found.items():
            figure = {
                "records": records.name,
                "forecaster": who,
                "measure": measure,
                "value": round(float(np.mean(values)), 4),
                "origins": len(values),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "versions": {package: version(package) for package in ("lightgbm", "numpy", "pandas")},
                "seed": settings().seed,
                "command": f"python -m benchmarks.far_horizon {source}",
            }
            sys.stdout.write(json.dumps(figure) + "\n")


def _origins(records: Records) -> Iterator[tuple[Fit, int, pd.DataFrame]]:
    end, start, zone = records.as_of(), first_day(records), records.timezone
    days = (end.day - start).days
    for fraction in FRACTIONS:
        behind = round(days * fraction)
        horizon_days = min(behind, round(days * KNOWN_SHARE) - behind)
        fit = fit_until(end.earlier(days - behind, zone), start, horizon_days, zone)
        yield fit, horizon_days, build_snapshot(records, [*fit.cutoffs, fit.closed_until])


def _predictions(
    records: Records, fit: Fit, horizon_days: int, snapshot: pd.DataFrame, today: pd.DataFrame
) -> Mapping[str, Floats]:
    known = with_labels(snapshot, records, fit.cutoffs, fit.window_days, fit.closed_until)
    calibrate = rows_at(known, [fit.calibration])
    model = fit_churn(rows_at(known, fit.training), calibrate, today, fit.window_days, horizon_days, settings())
    rule = RecencyRule.fit(calibrate).predict_proba(today, horizon_days / fit.window_days)
    alone = expit(model.silence_.log_odds(today, horizon_days))
    return {"both": model.predict_proba(today), "mbg_nbd": alone, "recency_rule": rule, **_heads(model, today)}


def _heads(model: ChurnModel, today: pd.DataFrame) -> Mapping[str, Floats]:
    if not isinstance(model.trees_, FarHeads):
        return {}
    parts = model.trees_.log_odds_of_heads(today)
    return {"level": expit(parts[LEVEL_FILE]), "factor": expit(parts[FACTOR_FILE])}


if __name__ == "__main__":
    main()
