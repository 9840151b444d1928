"""What each feature is worth to the churn model: ``python -m benchmarks.ablation [SET …]``, JSON lines.

Judged at inner rolling origins only: every label window closes before the final hold-out begins, so nothing decided
here is judged by it. The model is given every feature of the catalogue, also those it does not use in the product.

*group*: fitted again without the group (two seeds, averaged); cost in AUC and log loss with paired bootstrap intervals
over customers. What the purchases model needs stays in even without its group. *exchanged*: a feature's values are
exchanged among the customers of an origin (five times); what a feature brings that no other can replace. The three of
the purchases model's summary belong together and are not exchanged. *added*: what the feature brings to churn, orders
and spend beyond the simplest rules (`benchmarks.ablation_added`). Both with 99 % intervals over customers because so
many are looked at.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ablation_added import NEEDED, added_gains
from benchmarks.ablation_sets import SUBJECTS, Origin, figure, origins
from features.catalogue import FEATURES
from models.churn import ChurnModel
from models.silence import SUMMARY
from training.metrics import Floats, auc, compare, log_loss

SEEDS = (7, 8)
EXCHANGES = 5


def fit(origin: Origin, horizon_days: int, features: Sequence[str], seed: int) -> ChurnModel:
    """Fit as the product does, on some of the features."""
    model = ChurnModel(horizon_days, num_threads=1, seed=seed, features=tuple(features))
    calibration = (origin.calibrate, origin.calibrate["churned"].to_numpy())
    return model.fit(origin.learn, origin.learn["churned"].to_numpy(), calibration=calibration)


def judged(rolling: Sequence[Origin], horizon_days: int, features: Sequence[str]) -> Floats:
    """Return the probabilities of a model with these features for all rows to judge, averaged over seeds."""
    parts = [
        np.mean([fit(origin, horizon_days, features, seed).predict_proba(origin.judge) for seed in SEEDS], axis=0)
        for origin in rolling
    ]
    return np.concatenate(parts)


def group_costs(rolling: Sequence[Origin], horizon_days: int) -> Iterator[dict[str, Any]]:
    """Yield what fitting without each group costs, in AUC and log loss."""
    rows = pd.concat([origin.judge for origin in rolling], ignore_index=True)
    outcome, whole = rows["churned"].to_numpy(dtype=np.float64), judged(rolling, horizon_days, tuple(FEATURES))
    customers = rows["customer_id"].to_list()
    yield {"what": "all features", **_levels(outcome, whole)}
    for group in dict.fromkeys(feature.group for feature in FEATURES.values()):
        kept = [name for name, feature in FEATURES.items() if feature.group != group or name in NEEDED]
        left_out = [name for name in FEATURES if name not in kept]
        if not (rows[left_out] != rows[left_out].iloc[0]).any(axis=None):
            continue
        without = judged(rolling, horizon_days, kept)
        costs = {
            f"{measure}_cost": _triple(sign, compare(measure, outcome, whole, without, group, customer=customers))
            for measure, sign in (("auc", 1.0), ("log_loss", -1.0))
        }
        yield {"what": "group", "name": group, **costs}


def exchange_costs(rolling: Sequence[Origin], horizon_days: int) -> Iterator[dict[str, Any]]:
    """Yield what exchanging each feature's values among customers costs in log loss."""
    models = [fit(origin, horizon_days, tuple(FEATURES), SEEDS[0]) for origin in rolling]
    rows = pd.concat([origin.judge for origin in rolling], ignore_index=True)
    for name in FEATURES:
        if name in SUMMARY or not any(name in model.feature_names_ for model in models):
            continue
        rises = [_exchanged(model, origin.judge, name) for model, origin in zip(models, rolling, strict=True)]
        yield {"what": "exchanged", "name": name, **figure(np.concatenate(rises), rows)}


def _exchanged(model: ChurnModel, rows: pd.DataFrame, name: str) -> Floats:
    """Return how much each row's log loss rises (n_rows,), over the mean of the exchanges."""
    rng, own = np.random.default_rng(SEEDS[0]), _losses(rows, model.predict_proba(rows))
    rises = np.zeros(len(rows))
    for _ in range(EXCHANGES):
        order = rng.permutation(len(rows))
        exchanged = rows.assign(**{name: rows[name].to_numpy()[order]})
        rises += _losses(rows, model.predict_proba(exchanged)) - own
    return rises / EXCHANGES


def _losses(rows: pd.DataFrame, probability: Floats) -> Floats:
    churned = rows["churned"].to_numpy(dtype=np.bool_)
    return np.asarray(-np.log(np.where(churned, probability, 1.0 - probability)))


def _levels(outcome: Floats, probability: Floats) -> dict[str, float]:
    even = np.ones(len(outcome))
    return {
        "auc": round(auc(outcome, probability, even), 4),
        "log_loss": round(log_loss(outcome, probability, even), 4),
    }


def _triple(sign: float, comparison: Any) -> list[float]:
    difference = comparison.difference
    ends = sorted((sign * difference.low, sign * difference.high))
    return [round(number, 5) for number in (sign * difference.value, *ends)]


def main(names: Sequence[str]) -> None:
    """Print one line per group and feature of each set."""
    for name in names or SUBJECTS:
        subject = SUBJECTS[name]
        with tempfile.TemporaryDirectory() as folder:
            rolling = origins(subject.read(Path(folder)), subject)
        context = {
            "set": name,
            "horizon_days": subject.horizon_days,
            "origins": len(rolling),
            "rows": sum(len(origin.judge) for origin in rolling),
        }
        for figures in (group_costs, exchange_costs, added_gains):
            for found in figures(rolling, subject.horizon_days):
                print(json.dumps({**context, **found, **_provenance()}), flush=True)


def _provenance() -> dict[str, Any]:
    return {
        "seeds": SEEDS,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {package: version(package) for package in ("lightgbm", "duckdb", "ibis-framework")},
        "command": "python -m benchmarks.ablation",
    }


if __name__ == "__main__":
    main(sys.argv[1:])
