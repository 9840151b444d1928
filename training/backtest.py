"""Rolling origins: what every model would have said at past instants, and what came.

At each origin a rival learns from what was known then, and only from windows that had closed; it is judged on the
``horizon_days`` that followed. Origins stand one horizon apart; where the log is short, closer, so that as many as
asked for fit in (their windows then overlap, and the bootstrap draws customers with all their rows).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from features.records import AsOf, Records
from features.snapshot import build_snapshot
from models.segments import SegmentModel
from perennial.settings import Settings
from training.churn_recipe import fit_churn
from training.dataset import (
    Fit,
    days_for_a_fit,
    first_day,
    fit_until,
    holdout_cutoff,
    plan_origins,
    rows_at,
    spacing_days,
    with_labels,
)
from training.labels import observed_until, return_days
from training.metrics import Floats
from training.rivals import OURS, PREDICTED, RIVALS, STAYING_VALUE, Lesson
from training.slices import SLICES
from training.warning import overdue_in_days

DEFAULT_ORIGINS = 6
FOLLOWED = ("churned", "actual_orders", "actual_spend")
STANDING = (STAYING_VALUE, "overdue_in_days", "return_days")
COLUMNS = ("origin", "customer_id", "model", *PREDICTED, *FOLLOWED)


@dataclass(frozen=True)
class Backtest:
    """What was predicted at every origin, and what came.

    ``predictions`` has the columns `COLUMNS`, one row per origin, customer and model; ``slices`` one row per origin
    and customer with the columns `SLICES`, given by thresholds learned at the origin, and `STANDING`: what keeping the
    customer was worth, in how many days the customer would be overdue, and after how many an order came (NaN: none).
    """

    records: str
    currency: str
    horizon_days: int
    origins: tuple[date, ...]
    grade: str
    predictions: pd.DataFrame
    slices: pd.DataFrame


def plan_backtest(records: Records, as_of: AsOf, horizon_days: int, origins: int) -> tuple[Fit, ...]:
    """Return one fit per origin, earliest first; its ``closed_until`` is the origin.

    Raises
    ------
    InsufficientData
        When not even one origin has the closed windows that a fit needs.
    """
    start = first_day(records)
    latest = holdout_cutoff(records, as_of, horizon_days)
    room_days = (latest.day - start).days - days_for_a_fit(horizon_days)
    if room_days < 0:  # one origin at most, with windows shorter than the horizon
        return (plan_origins(records, as_of, horizon_days).judged,)
    step_days = spacing_days(room_days, horizon_days, origins)
    count = min(origins, 1 + room_days // step_days)
    return tuple(
        fit_until(latest.earlier(step_days * back, records.timezone), start, horizon_days, records.timezone)
        for back in reversed(range(count))
    )


def backtest(
    records: Records,
    as_of: AsOf,
    horizon_days: int,
    settings: Settings,
    *,
    origins: int = DEFAULT_ORIGINS,
    progress: Callable[[str], None] = lambda _: None,
) -> Backtest:
    """Let every rival predict at every origin; one pass over the records builds all snapshots."""
    fits = plan_backtest(records, as_of, horizon_days, origins)
    cutoffs = {cutoff for fit in fits for cutoff in (*fit.cutoffs, fit.closed_until)}
    progress(f"building snapshots at {len(cutoffs)} past instants")
    snapshot = build_snapshot(records, sorted(cutoffs, key=lambda cutoff: cutoff.instant))
    end = observed_until(records, as_of)
    predictions, slices, grade = [], [], ""
    for number, fit in enumerate(fits, 1):
        origin = fit.closed_until
        progress(f"origin {number} of {len(fits)}: {origin.day}")
        came = with_labels(snapshot, records, [origin], horizon_days, end)
        learned = with_labels(snapshot, records, fit.cutoffs, fit.window_days, origin)
        lesson = Lesson(
            learn=rows_at(learned, fit.training),
            calibrate=rows_at(learned, [fit.calibration]),
            today=came.drop(columns=list(FOLLOWED)),
            window_days=fit.window_days,
            horizon_days=horizon_days,
            settings=settings,
        )
        facts = came[["customer_id", *FOLLOWED]].assign(origin=came["as_of"])
        said = {model: rival(lesson) for model, rival in RIVALS.items()}
        predictions += [facts.assign(model=model, **told) for model, told in said.items()]
        stood = _standing(lesson.today, said[OURS][STAYING_VALUE])
        slices.append(stood.merge(return_days(records, origin, horizon_days, end), on="customer_id", how="left"))
        grade = fit_churn(lesson.learn, lesson.calibrate, lesson.today, fit.window_days, horizon_days, settings).grade_
    return Backtest(
        records=records.name,
        currency=records.currency,
        horizon_days=horizon_days,
        origins=tuple(fit.closed_until.day for fit in fits),
        grade=grade,
        predictions=pd.concat(predictions, ignore_index=True).reindex(columns=list(COLUMNS)),
        slices=pd.concat(slices, ignore_index=True),
    )


def _standing(today: pd.DataFrame, staying_value: Floats) -> pd.DataFrame:
    """Return how every customer stood at the origin, by thresholds learned there."""
    segments = SegmentModel().fit(today)
    silent_days = today["days_since_last_order"].to_numpy(dtype=np.float64)
    return segments.predict(today)[list(SLICES)].assign(
        origin=today["as_of"],
        customer_id=today["customer_id"],
        staying_value=staying_value,
        overdue_in_days=overdue_in_days(segments.long_gap_days(today), silent_days),
    )
