"""The ledger: every committed decision with what it takes to judge it later; rows are added, never changed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from perennial.errors import StoreError
from serving.store import Store

_COPIED = (
    "action_id",
    "action_channel",
    "content_kind",
    "action_reason",
    "propensity",
    "control_group",
    "suppressed_by",
    "evidence",
    "expected_incremental_value",
    "human_task",
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the proposals were made from. ``draw_id`` names the control draw (see Playbook)."""

    as_of: datetime
    model_versions: Mapping[str, str]
    playbook_sha256: str
    draw_id: str


def commit(
    store: Store,
    proposals: Mapping[str, Mapping[str, Any]],
    provenance: Provenance,
    *,
    idempotency_key: str,
    decided_at: datetime,
) -> dict[str, dict[str, Any]]:
    """Write proposals (by customer id) to the ledger and return what now stands there for each customer.

    A customer is decided on once for each ``as_of`` and once for each ``idempotency_key``, so a repeated call, under
    the same key or another, changes nothing and gets the first decision back. A customer without a subject key is a
    StoreError and nothing is written.
    """
    subjects = store.subject_keys(proposals)
    unknown = [customer_id for customer_id in proposals if customer_id not in subjects]
    if unknown:
        raise StoreError(
            f"{len(unknown)} of {len(proposals)} customers are not in the store; run `perennial score` first"
        )
    store.record_decisions(
        [
            _row(proposal, provenance, subjects[customer_id], idempotency_key, decided_at)
            for customer_id, proposal in proposals.items()
        ]
    )
    return store.decided(proposals, idempotency_key, provenance.as_of)


def _row(
    proposal: Mapping[str, Any], provenance: Provenance, subject_key: str, idempotency_key: str, decided_at: datetime
) -> dict[str, Any]:
    return {
        **{name: _known(proposal[name]) for name in _COPIED},
        "decision_id": hashlib.sha256(f"{idempotency_key}\n{subject_key}".encode()).hexdigest()[:32],
        "idempotency_key": idempotency_key,
        "subject_key": subject_key,
        "decided_at": decided_at,
        "as_of": provenance.as_of,
        "eligible_actions": list(proposal["eligible_actions"]),
        "due_by": _instant(proposal["due_by"]),
        "model_versions": dict(provenance.model_versions),
        "playbook_sha256": provenance.playbook_sha256,
        "draw_id": provenance.draw_id,
    }


def _known(value: Any) -> Any:
    return None if value is None or pd.isna(value) else value


def _instant(value: Any) -> datetime | None:
    return None if _known(value) is None else pd.Timestamp(value).to_pydatetime()
