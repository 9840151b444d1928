"""Kept scores whose horizon has closed: what they foretold beside what came."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from features.records import AsOf, Records
from models.artefact import read_artefact
from models.definition import Definition
from models.kept_scores import KeptScores, kept_scores
from perennial.errors import ArtefactError
from perennial.settings import Settings
from training.labels import label, observed_until, window_end
from training.metrics import CHURN_MEASURES, Interval, evaluate
from training.slices import Slice, slices_of

MOST_SETS = 6


@dataclass(frozen=True)
class Matured:
    """One set of kept scores, judged; ``model_age_days`` is None where the model that gave them is gone.

    ``unseen`` customers were scored, but are none in the records any more.
    """

    day: date
    horizon_days: int
    version: str
    model_age_days: int | None
    customers: int
    unseen: int
    predicted: float
    observed: float
    metrics: Mapping[str, Interval]
    slices: tuple[Slice, ...]


def matured(records: Records, as_of: AsOf, config: Settings) -> tuple[Matured, ...]:
    """Judge kept scores, the latest first: at most `MOST_SETS`, whose windows do not overlap."""
    end = observed_until(records, as_of)
    return tuple(_judged(kept, records, end, config) for kept in _closed(records, end, config.scored, config.shelf))


def _closed(records: Records, end: AsOf, folder: Path, shelf: Path) -> Iterator[KeptScores]:
    next_starts, found = end.instant, 0
    for kept in kept_scores(folder, records.name, end.instant):
        closes = window_end(records, _cutoff(kept, records), kept.facts.horizon_days)
        if not _asks_for_purchases(shelf, kept):
            continue
        if closes.instant <= next_starts and found < MOST_SETS:
            next_starts, found = kept.facts.as_of, found + 1
            yield kept


def _judged(kept: KeptScores, records: Records, end: AsOf, config: Settings) -> Matured:
    facts, cutoff = kept.facts, _cutoff(kept, records)
    came = label(records, cutoff, facts.horizon_days, end)
    rows = kept.scores.merge(came, on="customer_id")
    churned = rows["churned"].to_numpy(dtype=np.float64)
    version = str(facts.model_versions["churn"])
    return Matured(
        day=cutoff.day,
        horizon_days=facts.horizon_days,
        version=version,
        model_age_days=_age_days(config.shelf, version, facts.as_of),
        customers=len(rows),
        unseen=len(kept.scores) - len(rows),
        predicted=float(rows["churn_probability"].mean()),
        observed=float(churned.mean()),
        metrics=evaluate(CHURN_MEASURES, churned, rows["churn_probability"].to_numpy(), seed=config.seed),
        slices=slices_of(rows),
    )


def _age_days(shelf: Path, version: str, scored: datetime) -> int | None:
    meta = _meta(shelf, version)
    return (scored - datetime.fromisoformat(meta["as_of"])).days if meta else None


def _asks_for_purchases(shelf: Path, kept: KeptScores) -> bool:
    """Whether the scores foretold what the labels here say; a personal rhythm is another question."""
    meta = _meta(shelf, str(kept.facts.model_versions["churn"])) or {}
    return bool(meta.get("churn_definition", Definition.NO_PURCHASE) == Definition.NO_PURCHASE)


def _meta(shelf: Path, version: str) -> Mapping[str, Any] | None:
    try:
        return read_artefact(shelf / "churn" / version, "churn").meta
    except ArtefactError:
        return None


def _cutoff(kept: KeptScores, records: Records) -> AsOf:
    return AsOf.parse(kept.facts.as_of, records.timezone)
