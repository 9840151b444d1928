"""Contacts other than orders: visits, opened messages, complaints, opinions, recommendations."""

from typing import Any

import ibis

from features.windows import KEYS, days_since, flag

COUNTS = ("interactions_30d", "interactions_90d", "email_opens_90d", "complaints_90d", "referrals_total")


def by_interaction(interactions: ibis.Table) -> ibis.Table:
    """Return totals over interactions per customer and cutoff."""
    kind = interactions.kind
    recent = interactions.occurred_at >= interactions.since_90d
    opened = (kind == "open") & (interactions.channel == "email")
    return interactions.group_by(*KEYS).aggregate(
        interactions_30d=flag(interactions.occurred_at >= interactions.since_30d).sum(),
        interactions_90d=flag(recent).sum(),
        latest_interaction_day=interactions.local_at.date().max(),
        email_opens_90d=flag(recent & opened).sum(),
        complaints_opened=flag(kind == "complaint_opened").sum(),
        complaints_closed=flag(kind == "complaint_closed").sum(),
        complaints_90d=flag(recent & (kind == "complaint_opened")).sum(),
        referrals_total=flag(kind == "referral").sum(),
    )


def by_opinion(interactions: ibis.Table) -> ibis.Table:
    """Return the latest satisfaction and NPS answer per customer and cutoff; of two at one instant, the worse."""
    answers = interactions.filter(interactions.kind.isin(("satisfaction", "nps")), interactions.value.notnull())
    rank = ibis.row_number().over(
        group_by=(*KEYS, "kind"), order_by=(answers.occurred_at.desc(), answers["value"].asc())
    )
    latest = answers.mutate(rank=rank).filter(lambda table: table.rank == 0)
    return latest.group_by(*KEYS).aggregate(
        satisfaction_last=latest["value"].max(where=latest.kind == "satisfaction"),
        nps_last=latest["value"].max(where=latest.kind == "nps"),
    )


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; counts are 0 for a customer without interactions."""
    still_open = row.complaints_opened.fill_null(0) - row.complaints_closed.fill_null(0)
    return {
        **{name: row[name].fill_null(0) for name in COUNTS},
        "days_since_last_interaction": days_since(row.last_day, row.latest_interaction_day),
        "complaints_open": ibis.greatest(still_open, 0),
        "satisfaction_last": row.satisfaction_last,
        "nps_last": row.nps_last,
    }
