"""From customers' rows to their scores: predictions, reasons, and a proposed action.

A customer's scores depend on the customer's own rows and on what all share (models, terms), never on who else is
scored with them, so an engine may score its customers in any parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from math import floor, isfinite
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.catalogue import FEATURES
from features.records import AsOf
from models.artefact import Artefact
from models.churn import ChurnModel
from models.clv import ClvModel
from models.definition import Definition
from models.reasons import sentence_columns, top_reasons
from models.segments import SegmentModel
from models.totals import DEVIATIONS
from serving.codes import Language, churn_band
from serving.columns import COLUMN_NAMES, COLUMNS, PENDING
from serving.decisions.arbitration import columns_read, propose
from serving.decisions.playbook import Playbook

Floats = npt.NDArray[np.float64]

MODELS = ("churn", "clv", "segments")
# Features that score files repeat as columns, or turn into one.
SHOWN_FEATURES = ("days_since_last_order", "orders_365d", "spend_365d")
PROPOSED = (
    *("action_id", "action_channel", "action_reason", "expected_incremental_value", "evidence", "human_task", "due_by"),
    *("suppressed_by", "control_group", "propensity", "eligible_actions", "content_kind"),
)
# A median further away than this says "not in sight", and dates beyond the calendar's end cannot be written.
FARTHEST_ORDER_DAYS = 3650


@dataclass(frozen=True)
class Champions:
    """The three models that score together, and the versions they came in."""

    churn: ChurnModel
    clv: ClvModel
    segments: SegmentModel
    versions: Mapping[str, str]

    @property
    def written(self) -> str:
        """Versions as one text, like ``churn=3;clv=2``."""
        return ";".join(f"{name}={version}" for name, version in sorted(self.versions.items()))


def champions_from(found: Mapping[str, Artefact], num_threads: int = 1) -> Champions:
    """Build the models from verified artefacts, one for each of MODELS."""
    return Champions(
        churn=ChurnModel.from_files(found["churn"].files, num_threads=num_threads),
        clv=ClvModel.from_files(found["clv"].files, num_threads=num_threads),
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


@dataclass(frozen=True)
class Terms:
    """What all customers of a run share: beside it, a customer's scores depend on that customer's rows alone."""

    as_of: AsOf
    horizon_days: int
    clv_basis: str
    currency: str
    language: Language
    playbook: Playbook
    history: pd.DataFrame | None


def score_rows(models: Champions, terms: Terms, snapshot: pd.DataFrame, context: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of SCORE_COLUMNS, `DEVIATIONS` and ``eligible_actions`` (lists) for a snapshot's customers.

    ``context`` holds the same customers in the same order.
    """
    rates = context["margin_rate"].to_numpy(dtype=np.float64)
    margin = rates if terms.clv_basis == "margin" else None
    scores = _predictions(models, terms, snapshot, margin).assign(
        clv_basis=terms.clv_basis,
        currency=terms.currency,
        horizon_days=terms.horizon_days,
        data_grade=models.churn.grade_,
        consented_channels=_joined(context["consented_channels"]),
    )
    frame = _frame(scores, snapshot, context)
    proposals = propose(frame, terms.playbook, terms.as_of, terms.language, terms.history)
    return _finished(scores, proposals, models.written)


def _predictions(models: Champions, terms: Terms, snapshot: pd.DataFrame, margin: Floats | None) -> pd.DataFrame:
    churn, churn_low, churn_high = models.churn.predict_with_interval(snapshot)
    clv = models.clv.predict(
        snapshot,
        margin_rate=margin,
        horizon_days=terms.horizon_days,
        # silence beyond a rhythm is another question than whether anything is bought
        churn_probability=churn if models.churn.definition is Definition.NO_PURCHASE else None,
    ).reset_index(drop=True)
    segments = models.segments.predict(snapshot).reset_index(drop=True)
    reasons = top_reasons(
        snapshot,
        models.churn.contributions(snapshot),
        models.churn.feature_names_,
        terms.language,
        typical=models.churn.typical_,
        base_log_odds=models.churn.base_log_odds_,
    )
    own = pd.DataFrame(
        {
            "customer_id": snapshot["customer_id"].to_numpy(),
            "as_of": snapshot["as_of"].array,
            "churn_probability": churn,
            "churn_probability_low": churn_low,
            "churn_probability_high": churn_high,
            "churn_band": churn_band(churn).array,
            "money_at_risk": churn * (clv["clv_if_buys"] - clv["clv_if_not"]),
            "next_order_expected_on": _days_after(terms.as_of, clv["next_order_days"].to_numpy(dtype=np.float64)),
            "last_order_on": _days_after(
                terms.as_of, -1.0 - snapshot["days_since_last_order"].to_numpy(dtype=np.float64)
            ),
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


def _finished(scores: pd.DataFrame, proposals: pd.DataFrame, versions: str) -> pd.DataFrame:
    decided = [name for name in PROPOSED if name not in scores]
    whole = scores.assign(
        **{name: proposals[name].array for name in decided}, model_versions=versions, **dict.fromkeys(PENDING)
    )[[*COLUMN_NAMES, *DEVIATIONS, "eligible_actions"]]
    texts = [name for name in COLUMN_NAMES if COLUMNS[name].is_text]
    return whole.astype(dict.fromkeys(texts, "str"))
