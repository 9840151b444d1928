"""Scores from the records a caller sends along: the same snapshot, models and playbook as the score files."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson
import pandas as pd
import pyarrow as pa

from perennial.errors import InsufficientData
from serving.problems import INVALID_REQUEST, Problem
from serving.requests import OwnRecords

if TYPE_CHECKING:
    from features.records import AsOf, Records
    from perennial.settings import Settings
    from serving.rows import Champions


def score_own(
    customers: Sequence[OwnRecords],
    as_of: datetime | None,
    champions: "Champions",
    facts: Mapping[str, Any],
    settings: "Settings",
) -> dict[str, dict[str, Any]]:
    """Return rows like the store's, by customer id; who has no order before ``as_of`` (default: now) is absent.

    ``facts`` is the manifest of the run being served: zone, currency and language of the business. No margin and no
    consent came along, so values are revenue and marketing is not proposed.
    """
    from serving.decisions.playbook import load_playbook
    from serving.scoring import score

    records = _records(customers, facts)
    playbook = load_playbook(settings.playbook)
    try:
        run = score(
            records,
            _instant(as_of or datetime.now(UTC), facts["timezone"]),
            champions,
            language=facts["language"],
            playbook=playbook,
            num_threads=1,
        )
    except InsufficientData:
        return {}
    written = orjson.dumps(
        run.scores.to_dict("records"), default=_plain, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z
    )
    return {row["customer_id"]: row for row in orjson.loads(written)}


def _plain(value: object) -> object:
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else None  # pandas' NaT and NA are no value


def _records(customers: Sequence[OwnRecords], facts: Mapping[str, Any]) -> "Records":
    from features.sent import SENT, records_from_rows

    records = records_from_rows(
        {table: _rows(customers, table) for table in SENT},
        timezone=facts["timezone"],
        currency=facts["currency"],
        consent_default="refuse",
    )
    refused = [
        (f"/customers/*/{report.table}", f"{count} rows refused: {reason}")
        for report in records.reports
        for reason, count in report.reasons.items()
    ]
    if refused:
        raise Problem(INVALID_REQUEST, "Correct or leave out the rows that were refused; nothing was scored.", refused)
    return records


def _rows(customers: Sequence[OwnRecords], table: str) -> pa.Table:
    from features.sent import given_schema

    rows = [(customer.customer_id, row) for customer in customers for row in getattr(customer, table)]
    columns = {"customer_id": [customer_id for customer_id, _ in rows]}
    schema = given_schema(table)
    columns |= {name: [getattr(row, name) for _, row in rows] for name in schema.names if name not in columns}
    return pa.table(columns, schema)


def _instant(value: datetime, timezone: str) -> "AsOf":
    from features.records import AsOf

    return AsOf(value.astimezone(UTC), value.astimezone(ZoneInfo(timezone)).date())
