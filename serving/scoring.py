"""From records to scores: snapshot, champions from the shelf, reasons, and a proposed action for every customer."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from math import floor, isfinite
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalogue import FEATURES
from features.context import build_context
from features.records import AsOf, Records
from features.snapshot import build_snapshot
from models.artefact import Artefact, champions, load_champion
from models.churn import ChurnModel
from models.clv import ClvModel
from models.reasons import sentence_columns, top_reasons
from models.segments import SegmentModel
from perennial.errors import ArtefactError, InsufficientData
from serving.codes import Language, churn_band
from serving.columns import COLUMN_NAMES, COLUMNS, PENDING
from serving.decisions.arbitration import columns_read, propose
from serving.decisions.playbook import Playbook, load_playbook
from serving.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats = npt.NDArray[np.float64]

MODELS = ("churn", "clv", "segments")
# Features that score files repeat as columns, or turn into one.
SHOWN_FEATURES = ("days_since_last_order", "orders_365d", "spend_365d")
# A median further away than this says "not in sight", and dates beyond the calendar's end cannot be written.
FARTHEST_ORDER_DAYS = 3650


@dataclass(frozen=True)
class Champions:
    """The three models that score together, and the versions they came in."""

    churn: ChurnModel
    clv: ClvModel
    segments: SegmentModel
    versions: "Mapping[str, str]"


@dataclass(frozen=True)
class ScoreRun:
    """Everything one scoring produced; frames are sorted by customer_id and share their rows.

    ``scores`` has the columns of SCORE_COLUMNS; ``proposals`` what the policy said, indexed by customer_id.
    """

    scores: pd.DataFrame
    manifest: Manifest
    snapshot: pd.DataFrame
    context: pd.DataFrame
    proposals: pd.DataFrame


def load_champions(shelf: Path, num_threads: int = 1) -> Champions:
    """Read and verify the published models; ArtefactError when one is missing."""
    missing = [name for name in MODELS if name not in champions(shelf)]
    if missing:
        raise ArtefactError(f"{shelf}: no published {', '.join(missing)} model; run `perennial train all` first")
    return champions_from({name: load_champion(shelf, name) for name in MODELS}, num_threads)


def champions_from(found: "Mapping[str, Artefact]", num_threads: int = 1) -> Champions:
    """Build the models from verified artefacts, one for each of MODELS."""
    return Champions(
        churn=ChurnModel.from_files(found["churn"].files, num_threads=num_threads),
        clv=ClvModel.from_files(found["clv"].files),
        segments=SegmentModel.from_files(found["segments"].files),
        versions=MappingProxyType({name: str(found[name].version) for name in MODELS}),
    )


def features_read(models: Champions, playbook: Playbook) -> frozenset[str]:
    """Return every feature that a score needs: for the models, their reasons, the policy and the score's own columns.

    This is the one place that says so; scoring computes no other.
    """
    for_models = (*models.churn.inputs, *models.clv.inputs, *models.segments.inputs)
    for_words = sentence_columns(models.churn.feature_names_)
    for_policy = columns_read(playbook) & FEATURES.keys()
    return frozenset(for_models) | for_words | for_policy | frozenset(SHOWN_FEATURES)


def score(
    records: Records,
    as_of: AsOf,
    shelf: Path | Champions,
    horizon_days: int | None = None,
    language: Language = "en",
    playbook: Playbook | None = None,
    num_threads: int = 2,
    history: pd.DataFrame | None = None,
    features: Iterable[str] = (),
) -> ScoreRun:
    """Score every customer who ordered before ``as_of``; the same inputs give the same run.

    ``shelf`` is where the champions stand, or the champions themselves.

    ``horizon_days`` defaults to what the churn champion was trained for; another one is an ArtefactError.

    ``history`` are the decisions committed before, which caps and cooldowns count (`Store.decided_since`).

    ``features`` are those that the run's snapshot shall hold besides what scoring needs.
    """
    models = shelf if isinstance(shelf, Champions) else load_champions(Path(shelf), num_threads)
    horizon = _horizon(models.churn, horizon_days)
    book = playbook or load_playbook(None)
    snapshot = build_snapshot(records, as_of, features_read(models, book) | frozenset(features))
    if snapshot.empty:
        raise InsufficientData(f"{records.name}: nobody ordered before {as_of.day}, so there is nobody to score")
    context = build_context(records, as_of).set_index("customer_id").loc[snapshot["customer_id"]].reset_index()
    margin, basis = _margin(context)
    scores = _predictions(models, snapshot, context, as_of, horizon, margin, language)
    scores = scores.assign(
        clv_basis=basis,
        currency=records.currency,
        horizon_days=horizon,
        data_grade=models.churn.grade_,
        consented_channels=_joined(context["consented_channels"]),
    )
    proposals = propose(_frame(scores, snapshot, context), book, as_of, language, history)
    manifest = Manifest(
        as_of=as_of.instant.astimezone(ZoneInfo(records.timezone)),
        timezone=records.timezone,
        horizon_days=horizon,
        clv_horizon_days=round(models.clv.horizon_days),
        customers=len(scores),
        currency=records.currency,
        clv_basis=basis,
        language=language,
        data_grade=models.churn.grade_,
        model_versions=models.versions,
        playbook_sha256=book.sha256,
        source=records.name,
        actions=book.codes,
    )
    return ScoreRun(_finished(scores, proposals, manifest), manifest, snapshot, context, proposals)


def _horizon(churn: ChurnModel, asked: int | None) -> int:
    if asked is not None and asked != churn.horizon_days:
        raise ArtefactError(
            f"the churn champion looks {churn.horizon_days} days ahead, not {asked}; "
            f"train with `--horizon-days {asked}` or leave the horizon out"
        )
    return churn.horizon_days


def _margin(context: pd.DataFrame) -> tuple[Floats | None, str]:
    """Return each customer's margin rate and the basis; revenue for all when one is unknown, so that sums add up."""
    rates = context["margin_rate"].to_numpy(dtype=np.float64)
    return (None, "revenue") if np.isnan(rates).any() else (rates, "margin")


def _predictions(
    models: Champions,
    snapshot: pd.DataFrame,
    context: pd.DataFrame,
    as_of: AsOf,
    horizon_days: int,
    margin: Floats | None,
    language: Language,
) -> pd.DataFrame:
    churn = models.churn.predict_proba(snapshot)
    clv = models.clv.predict(
        snapshot, margin_rate=margin, horizon_days=horizon_days, churn_probability=churn
    ).reset_index(drop=True)
    segments = models.segments.predict(snapshot).reset_index(drop=True)
    reasons = top_reasons(
        snapshot,
        models.churn.contributions(snapshot),
        models.churn.feature_names_,
        language,
        typical=models.churn.typical_,
        base_log_odds=models.churn.base_log_odds_,
    )
    own = pd.DataFrame(
        {
            "customer_id": snapshot["customer_id"].to_numpy(),
            "as_of": snapshot["as_of"].array,
            "churn_probability": churn,
            "churn_band": churn_band(churn).array,
            "money_at_risk": churn * (clv["clv_if_buys"] - clv["clv_if_not"]),
            "next_order_expected_on": _days_after(as_of, clv["next_order_days"].to_numpy(dtype=np.float64)),
            "last_order_on": _days_after(as_of, -1.0 - snapshot["days_since_last_order"].to_numpy(dtype=np.float64)),
            "orders_365d": snapshot["orders_365d"].to_numpy(),
            "spend_365d": snapshot["spend_365d"].to_numpy(),
        }
    )
    return pd.concat([own, clv, segments, reasons.reset_index(drop=True)], axis=1)


def _days_after(as_of: AsOf, days: Floats) -> list[date | None]:
    """Return local dates ``days`` whole days after ``as_of``; None where undefined or out of sight."""
    first = as_of.day.toordinal()
    return [
        date.fromordinal(first + floor(count)) if isfinite(count) and count <= FARTHEST_ORDER_DAYS else None
        for count in days.tolist()
    ]


def _joined(lists: "pd.Series[list[str]]") -> "pd.Series[str]":
    return pd.Series([";".join(items) or None for items in lists], dtype="str")


def _frame(scores: pd.DataFrame, snapshot: pd.DataFrame, context: pd.DataFrame) -> pd.DataFrame:
    """Return all that a policy may look at, by customer_id; a name that two tables share is the first one's."""
    parts = [scores.drop(columns="consented_channels"), snapshot, context]
    wide = pd.concat([part.set_index("customer_id") for part in parts], axis=1)
    return wide.loc[:, ~wide.columns.duplicated()]


def _finished(scores: pd.DataFrame, proposals: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    decided = [name for name in COLUMN_NAMES if name in proposals and name not in scores]
    whole = scores.assign(
        **{name: proposals[name].array for name in decided},
        model_versions=manifest.versions,
        **dict.fromkeys(PENDING),
    )[list(COLUMN_NAMES)]
    texts = [name for name in COLUMN_NAMES if COLUMNS[name].is_text]
    return whole.astype(dict.fromkeys(texts, "str"))
