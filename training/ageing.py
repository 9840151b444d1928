"""How quality falls with a model's age: fits of ever earlier days, all judged on the same customers and window."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.catalogue import MODEL_FEATURES
from features.records import AsOf, Records
from features.snapshot import build_snapshot
from models.silence import DRIVERS, SUMMARY
from perennial.errors import InsufficientData
from perennial.settings import Settings
from training.churn_recipe import fit_churn
from training.dataset import Fit, days_for_a_fit, first_day, fit_until, holdout_cutoff, rows_at, with_labels
from training.labels import observed_until
from training.metrics import CHURN_MEASURES, Comparison, Floats, Interval, compare, evaluate

MOST_AGES = 5
MEASURES = {name: CHURN_MEASURES[name] for name in ("auc", "log_loss", "calibration_gap")}


@dataclass(frozen=True)
class Aged:
    """A model so many days after its training; comparisons (AUC, log loss) are with one trained on the day itself."""

    age_days: int
    metrics: Mapping[str, Interval]
    against_fresh: tuple[Comparison, ...]


def age_curve(records: Records, as_of: AsOf, horizon_days: int, config: Settings) -> tuple[Aged, ...]:
    """Judge models 0, 1, 2 … horizons old on the latest closed window; empty where history is too short for two."""
    fits = _fits(records, as_of, horizon_days)
    if len(fits) < 2:
        return ()
    holdout, end = fits[0].closed_until, observed_until(records, as_of)
    cutoffs = {cutoff for fit in fits for cutoff in (*fit.cutoffs, fit.closed_until)}
    features = dict.fromkeys((*MODEL_FEATURES, *SUMMARY, *DRIVERS))
    snapshot = build_snapshot(records, sorted(cutoffs, key=lambda cutoff: cutoff.instant), features)
    came = with_labels(snapshot, records, [holdout], horizon_days, end)
    churned = came["churned"].to_numpy(dtype=np.float64)
    predicted = [_predicted(fit, snapshot, came, records, horizon_days, config) for fit in fits]
    return tuple(
        Aged(
            age_days=(holdout.day - fit.closed_until.day).days,
            metrics=evaluate(MEASURES, churned, probability, seed=config.seed),
            against_fresh=_against(churned, probability, predicted[0], config.seed) if number else (),
        )
        for number, (fit, probability) in enumerate(zip(fits, predicted, strict=True))
    )


def _fits(records: Records, as_of: AsOf, horizon_days: int) -> list[Fit]:
    try:
        holdout, start = holdout_cutoff(records, as_of, horizon_days), first_day(records)
    except InsufficientData:
        return []
    days = [holdout.earlier(horizon_days * age, records.timezone) for age in range(MOST_AGES)]
    roomy = [day for day in days if (day.day - start).days >= days_for_a_fit(horizon_days)]
    return [fit_until(day, start, horizon_days, records.timezone) for day in roomy]


def _predicted(
    fit: Fit, snapshot: pd.DataFrame, rows: pd.DataFrame, records: Records, horizon_days: int, config: Settings
) -> Floats:
    learned = with_labels(snapshot, records, fit.cutoffs, fit.window_days, fit.closed_until)
    learn, calibrate = rows_at(learned, fit.training), rows_at(learned, [fit.calibration])
    then = rows_at(snapshot, [fit.closed_until])
    return fit_churn(learn, calibrate, then, fit.window_days, horizon_days, config).predict_proba(rows)


def _against(churned: Floats, aged: Floats, fresh: Floats, seed: int) -> tuple[Comparison, ...]:
    name = "a model trained on the day"
    return tuple(compare(measure, churned, aged, fresh, name, seed=seed) for measure in ("auc", "log_loss"))
