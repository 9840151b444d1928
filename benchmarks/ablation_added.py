"""What one feature brings beyond the simplest rules: to who leaves, who takes an offer, how many orders, what spend.

A forecast that knows no more than frequency, recency, age, silence and order value is moved by a few trees over one
feature, learned on four fifths of the customers and judged on the others, against the same trees over the feature's
values exchanged among customers: these may mend the forecast's level without knowing anything.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ablation_sets import Origin, figure
from features.catalogue import FEATURES
from models.churn import ChurnModel
from models.demand import fit_spend
from models.matrix import columns_of
from models.openmp import load_lightgbm
from models.purchases import BetaGeoModel
from models.silence import DRIVERS, SUMMARY
from training.metrics import Floats

SEED = 7
FOLDS = 5
NEEDED = frozenset({*DRIVERS, *SUMMARY})
LEAST = tuple(name for name in FEATURES if name in NEEDED)
CORRECTION = {
    "verbosity": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_leaves": 4,
    "learning_rate": 0.1,
    "boost_from_average": False,
}


@dataclass(frozen=True)
class Outcome:
    """What came (``column``), how LightGBM calls its likelihood, and the loss of a raw score, (n,) each, in nats."""

    column: str
    objective: str
    loss: Callable[[Floats, Floats], Floats]


# losses of the log odds (twice), of a log mean (Poisson), and of a log mean (Tweedie of power 1.5), without constants
OUTCOMES = {
    "churn": Outcome("churned", "binary", lambda came, raw: np.logaddexp(0.0, raw) - came * raw),
    "response": Outcome("responded", "binary", lambda came, raw: np.logaddexp(0.0, raw) - came * raw),
    "orders": Outcome("actual_orders", "poisson", lambda came, raw: np.exp(raw) - came * raw),
    "spend": Outcome("actual_spend", "tweedie", lambda came, raw: 2 * came * np.exp(-raw / 2) + 2 * np.exp(raw / 2)),
}


def added_gains(rolling: Sequence[Origin], horizon_days: int) -> Iterator[dict[str, Any]]:
    """Yield what each feature gains for each outcome."""
    rows = pd.concat([origin.judge for origin in rolling], ignore_index=True)
    parts = [_simplest(origin, horizon_days) for origin in rolling]
    order = np.random.default_rng(SEED).permutation(len(rows))
    for what, outcome in OUTCOMES.items():
        if any(what not in part for part in parts):
            continue
        start = np.concatenate([part[what] for part in parts])
        came = np.maximum(rows[outcome.column].to_numpy(dtype=np.float64), 0.0)
        if what == "spend":  # in units of its mean: the gains of all currencies compare
            came, start = came / came.mean(), start - np.log(came.mean())
        for name in FEATURES:
            values = rows[name].to_numpy(dtype=np.float64)
            if name not in NEEDED and len(np.unique(values)) > 1:
                blind, seeing = (_losses(rows, outcome, came, start, known) for known in (values[order], values))
                yield {"what": "added", "to": what, "name": name, **figure(blind - seeing, rows)}


def _simplest(origin: Origin, horizon_days: int) -> dict[str, Floats]:
    """Return the raw scores of the simplest forecasts for the rows to judge, (n,) each; only of what varies."""
    probability = {"churn": _churn(origin, horizon_days)}
    if origin.learn["responded"].any():
        probability["response"] = _response(origin)
    scores = {what: np.log(share) - np.log1p(-share) for what, share in probability.items()}
    orders = BetaGeoModel().fit(origin.judge).predict_purchases(origin.judge, horizon_days=horizon_days)
    scores["orders"] = np.log(np.maximum(orders, 1e-4))
    if origin.judge["monetary_value"].std() > 0:
        scores["spend"] = scores["orders"] + np.log(fit_spend(origin.judge).predict_spend(origin.judge))
    return scores


def _churn(origin: Origin, horizon_days: int) -> Floats:
    model = ChurnModel(horizon_days, num_threads=1, seed=SEED, features=LEAST)
    calibration = (origin.calibrate, origin.calibrate["churned"].to_numpy())
    return model.fit(origin.learn, origin.learn["churned"].to_numpy(), calibration=calibration).predict_proba(
        origin.judge
    )


def _response(origin: Origin) -> Floats:
    lightgbm = load_lightgbm()
    data = lightgbm.Dataset(columns_of(origin.learn, LEAST), origin.learn["responded"].to_numpy())
    trees = lightgbm.train({**CORRECTION, "objective": "binary", "boost_from_average": True}, data, 50)
    return np.asarray(trees.predict(columns_of(origin.judge, LEAST), num_threads=1))


def _losses(rows: pd.DataFrame, outcome: Outcome, came: Floats, start: Floats, values: Floats) -> Floats:
    """Return each row's loss, (n,), once the forecast has been moved by trees over the values of other customers."""
    lightgbm = load_lightgbm()
    folds = pd.util.hash_array(rows["customer_id"].to_numpy(dtype=object)) % FOLDS
    raw = start.copy()
    for fold in range(FOLDS):
        learn, judge = folds != fold, folds == fold
        data = lightgbm.Dataset(values[learn, None], came[learn], init_score=start[learn])
        leaf = max(20, int(learn.sum()) // 20)
        trees = lightgbm.train({**CORRECTION, "objective": outcome.objective, "min_data_in_leaf": leaf}, data, 30)
        raw[judge] += trees.predict(values[judge, None], raw_score=True, num_threads=1)
    return outcome.loss(came, raw)
