"""Tables of the serving store. Instants are UTC; JSON is text, so that both databases hold the same bytes."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class Instant(sa.types.TypeDecorator[datetime]):
    """An instant in UTC with its zone, also on databases that keep none."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Write in UTC; refuse an instant without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no zone; the store keeps instants in UTC")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Read in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData()


def _key(name: str) -> "sa.Column[Any]":
    return sa.Column(name, sa.Text, primary_key=True)


def _needed(name: str, kind: Any) -> "sa.Column[Any]":
    return sa.Column(name, kind, nullable=False)


subjects = sa.Table(
    "subjects",
    metadata,
    _key("subject_key"),
    sa.Column("customer_id", sa.Text, nullable=False, unique=True),
)

runs = sa.Table(
    "runs",
    metadata,
    _key("run_id"),
    _needed("as_of", Instant),
    _needed("created_at", Instant),
    _needed("manifest", sa.Text),
    _needed("row_count", sa.Integer),
    _needed("current", sa.Boolean),
)
sa.Index("one_current_run", runs.c.current, unique=True, sqlite_where=runs.c.current, postgresql_where=runs.c.current)

scores = sa.Table("scores", metadata, _key("run_id"), _key("subject_key"), _needed("payload", sa.Text))
# Ids that the records unite with another: whose scores answer for them.
merges = sa.Table("merges", metadata, _key("run_id"), _key("subject_key"), _needed("master_key", sa.Text))
profiles = sa.Table("profiles", metadata, _key("run_id"), _key("subject_key"), _needed("payload", sa.Text))

ledger = sa.Table(
    "ledger",
    metadata,
    _key("decision_id"),
    _needed("subject_key", sa.Text),
    _needed("decided_at", Instant),
    _needed("as_of", Instant),
    _needed("idempotency_key", sa.Text),
    _needed("action_id", sa.Text),
    sa.Column("action_channel", sa.Text),
    sa.Column("content_kind", sa.Text),
    _needed("action_reason", sa.Text),
    _needed("eligible_actions", sa.Text),
    _needed("propensity", sa.Float),
    _needed("control_group", sa.Boolean),
    sa.Column("suppressed_by", sa.Text),
    sa.Column("evidence", sa.Text),
    _needed("expected_incremental_value", sa.Float),
    _needed("human_task", sa.Boolean),
    sa.Column("due_by", Instant),
    _needed("model_versions", sa.Text),
    _needed("playbook_sha256", sa.Text),
    _needed("draw_id", sa.Text),
    sa.CheckConstraint("propensity > 0 AND propensity <= 1", name="propensity_is_a_probability"),
    sa.UniqueConstraint("subject_key", "as_of", name="one_decision_per_instant"),
    sa.UniqueConstraint("subject_key", "idempotency_key", name="one_decision_per_key"),
    sa.Index("ledger_by_time", "decided_at"),
)

outcomes = sa.Table(
    "outcomes",
    metadata,
    _key("outcome_id"),
    _needed("subject_key", sa.Text),
    sa.Column("decision_id", sa.Text),
    _needed("occurred_at", Instant),
    _needed("known_at", Instant),
    _needed("kind", sa.Text),
    sa.Column("amount", sa.Float),
    sa.Index("outcomes_of_subject", "subject_key"),
)

consents = sa.Table(
    "consents",
    metadata,
    _key("consent_id"),
    _needed("subject_key", sa.Text),
    _needed("occurred_at", Instant),
    _needed("known_at", Instant),
    sa.Column("channel", sa.Text),
    _needed("purpose", sa.Text),
    _needed("granted", sa.Boolean),
    sa.Index("consents_of_subject", "subject_key"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _key("key_hash"),
    _needed("name", sa.Text),
    _needed("scopes", sa.Text),
    _needed("created_at", Instant),
)

tombstones = sa.Table("tombstones", metadata, _key("keyed_hash"), _needed("erased_at", Instant))
