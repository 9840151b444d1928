"""What each feature is worth to the churn model: ``python -m benchmarks.ablation [SET …]``, JSON lines.

Judged at inner rolling origins only: every label window closes before the final hold-out begins, so nothing decided
here is judged by it. The model is given every feature of the catalogue, also those it does not use in the product.

*group*: fitted again without the group (two seeds, averaged); cost in AUC and log loss with paired bootstrap intervals
over customers. What the purchases model needs stays in even without its group. *exchanged*: a feature's values are
exchanged among the customers of an origin (five times); what a feature brings that no other can replace. The three of
the purchases model's summary belong together and are not exchanged. *added*: the log odds of a model that knows
nothing but frequency, recency, age and silence are moved by a few trees over one feature, learned on four fifths of the
customers and judged on the others, against the same trees over exchanged values; what the feature brings beyond the
simplest rules. Both in log loss, with 99 %
intervals over customers because so many are looked at.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.company import generate
from features.catalogue import FEATURES
from features.records import AsOf, Records
from features.sources import read_records, records_from_frames
from models.churn import ChurnModel
from models.openmp import load_lightgbm
from models.silence import DRIVERS, SUMMARY
from perennial.shipped import unpack
from training.dataset import gather
from training.metrics import Floats, auc, compare, log_loss

SEEDS = (7, 8)
EXCHANGES = 5
FOLDS = 5
CORRECTION = {
    "objective": "binary",
    "verbosity": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_leaves": 4,
    "learning_rate": 0.1,
    "boost_from_average": False,
}
NEEDED = frozenset({*DRIVERS, *SUMMARY})
NORMAL_99 = 2.576
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ONLINE_RETAIL = """
currency = "GBP"
timezone = "Europe/London"
[orders]
path = "{path}"
order_id = "InvoiceNo"
customer_id = "CustomerID"
ordered_at = "InvoiceDate"
quantity = "Quantity"
unit_price = "UnitPrice"
product_id = "StockCode"
cancelled_prefix = "C"
"""


@dataclass(frozen=True)
class Origin:
    """Rows to learn from, to calibrate on and to judge on, each later than the one before."""

    learn: pd.DataFrame
    calibrate: pd.DataFrame
    judge: pd.DataFrame


@dataclass(frozen=True)
class Subject:
    """A set of records with its horizon; ``origins`` are as many as its history has room for, three at most.

    Of large sets every ``one_in``-th customer is taken: features are local to a customer, so the rest is not missed.
    """

    read: Callable[[Path], Records]
    horizon_days: int
    origins: int
    one_in: int = 1


def _shipped(name: Any) -> Callable[[Path], Records]:
    return lambda folder: read_records(unpack(name, folder))


def _online_retail(folder: Path) -> Records:
    source = folder / "source.toml"
    source.write_text(ONLINE_RETAIL.format(path=DATA / "online_retail_2010_2011.parquet"), encoding="utf-8")
    return read_records(source)


def _company(_folder: Path) -> Records:
    return records_from_frames(generate(6_000, days=720).tables, currency="EUR", consent_default="allow")


SUBJECTS = {
    "complete-journey": Subject(_shipped("complete-journey"), 28, 3),
    # 90 days need 360 before the hold-out, and this log has 283
    "online-retail": Subject(_online_retail, 60, 2),
    "cdnow": Subject(_shipped("cdnow"), 90, 2, one_in=3),
    "company": Subject(_company, 60, 2),
}


def origins(records: Records, subject: Subject) -> tuple[Origin, ...]:
    """Return the inner origins, the latest first; the first one's window closes where the final hold-out begins."""
    end: AsOf = records.as_of()
    found = []
    for back in range(1, subject.origins + 1):
        as_of = end.earlier(subject.horizon_days * back, records.timezone)
        data = gather(records, as_of, subject.horizon_days, needs_labels=True)
        assert data.plan is not None
        rows = (*data.learned(data.plan.judged), data.heldout)
        found.append(Origin(*(_thinned(part, subject.one_in) for part in rows)))
    return tuple(found)


def _thinned(rows: pd.DataFrame, one_in: int) -> pd.DataFrame:
    chosen = pd.util.hash_array(rows["customer_id"].to_numpy(dtype=object)) % one_in == 0
    kept: pd.DataFrame = rows[chosen]
    return kept.reset_index(drop=True)


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
        yield {"what": "exchanged", "name": name, **_figure(np.concatenate(rises), rows)}


def added_gains(rolling: Sequence[Origin], horizon_days: int) -> Iterator[dict[str, Any]]:
    """Yield what each feature gains in log loss when it may correct a model that knows only `NEEDED`."""
    least = tuple(name for name in FEATURES if name in NEEDED)
    simple = [fit(origin, horizon_days, least, SEEDS[0]).predict_proba(origin.judge) for origin in rolling]
    rows, base = pd.concat([origin.judge for origin in rolling], ignore_index=True), np.concatenate(simple)
    order = np.random.default_rng(SEEDS[0]).permutation(len(rows))
    for name in FEATURES:
        values = rows[name].to_numpy(dtype=np.float64)
        if name not in NEEDED and len(np.unique(values)) > 1:
            # against the same trees over the feature exchanged: they may mend the base's level without knowing anything
            blind, seeing = (_losses(rows, _corrected(rows, base, known)) for known in (values[order], values))
            yield {"what": "added", "name": name, **_figure(blind - seeing, rows)}


def _corrected(rows: pd.DataFrame, probability: Floats, values: Floats) -> Floats:
    """Return the probabilities (n,) moved by a few small trees over one feature, learned on other customers."""
    lightgbm = load_lightgbm()
    folds = pd.util.hash_array(rows["customer_id"].to_numpy(dtype=object)) % FOLDS
    start, moved = np.log(probability) - np.log1p(-probability), probability.copy()
    churned = rows["churned"].to_numpy(dtype=np.float64)
    for fold in range(FOLDS):
        learn, judge = folds != fold, folds == fold
        data = lightgbm.Dataset(values[learn, None], churned[learn], init_score=start[learn])
        trees = lightgbm.train({**CORRECTION, "min_data_in_leaf": max(20, int(learn.sum()) // 20)}, data, 30)
        log_odds = start[judge] + trees.predict(values[judge, None], raw_score=True, num_threads=1)
        moved[judge] = 1.0 / (1.0 + np.exp(-log_odds))
    return moved


def _figure(gains: Floats, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the mean over all rows with its interval, in nats; useful when that lies above 0."""
    value, error = _clustered_mean(gains, pd.factorize(rows["customer_id"])[0])
    low, high = value - NORMAL_99 * error, value + NORMAL_99 * error
    return {"log_loss_gain": [round(number, 6) for number in (value, low, high)], "useful": bool(low > 0)}


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


def _clustered_mean(values: Floats, codes: np.ndarray) -> tuple[float, float]:
    """Return the mean and its standard error when rows of one customer belong together."""
    mean = float(values.mean())
    sums = np.bincount(codes, weights=values - mean)
    return mean, float(np.sqrt((sums**2).sum()) / len(values))


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
            for figure in figures(rolling, subject.horizon_days):
                print(json.dumps({**context, **figure, **_provenance()}), flush=True)


def _provenance() -> dict[str, Any]:
    return {
        "seeds": SEEDS,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {package: version(package) for package in ("lightgbm", "duckdb", "ibis-framework")},
        "command": "python -m benchmarks.ablation",
    }


if __name__ == "__main__":
    main(sys.argv[1:])
