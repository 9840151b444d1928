"""From records to scores: snapshot, champions from the shelf, reasons, and a proposed action for every customer."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd

from features.records import AsOf, Records
from models.artefact import champions, load_champion
from models.churn import ChurnModel
from perennial.errors import ArtefactError, InsufficientData
from serving.codes import Language
from serving.columns import COLUMN_NAMES
from serving.customers import customers_at
from serving.decisions.playbook import Playbook, load_playbook
from serving.manifest import Manifest
from serving.rows import MODELS, PROPOSED, Champions, Terms, champions_from, features_read
from serving.totals import totals_of


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
    with customers_at(records, as_of, features_read(models, book) | frozenset(features)) as customers:
        context = customers.context
        if context.empty:
            raise InsufficientData(f"{records.name}: nobody ordered before {as_of.day}, so there is nobody to score")
        terms = Terms(as_of, horizon, _basis(context), records.currency, language, book, history)
        scored = customers.scored(models, terms)
    manifest = Manifest(
        as_of=as_of.instant.astimezone(ZoneInfo(records.timezone)),
        timezone=records.timezone,
        horizon_days=horizon,
        clv_horizon_days=round(models.clv.horizon_days),
        customers=len(scored),
        currency=records.currency,
        clv_basis=terms.clv_basis,
        language=language,
        data_grade=models.churn.grade_,
        model_versions=models.versions,
        playbook_sha256=book.sha256,
        source=records.name,
        actions=book.codes,
        churn_definition=models.churn.definition,
        totals=totals_of(scored, models.clv.commons(horizon)),
    )
    proposals = scored.set_index("customer_id")[list(PROPOSED)]
    return ScoreRun(scored[list(COLUMN_NAMES)], manifest, customers.snapshot, context, proposals)


def _horizon(churn: ChurnModel, asked: int | None) -> int:
    if asked is not None and asked != churn.horizon_days:
        raise ArtefactError(
            f"the churn champion looks {churn.horizon_days} days ahead, not {asked}; "
            f"train with `--horizon-days {asked}` or leave the horizon out"
        )
    return churn.horizon_days


def _basis(context: pd.DataFrame) -> str:
    """Return what values are counted in: revenue for all when one margin is unknown, so that sums add up."""
    return "revenue" if context["margin_rate"].isna().any() else "margin"
