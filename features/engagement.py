"""Contacts other than orders: how often, how lately and in which rhythm."""

from typing import Any

import ibis

from features.windows import count, days_since, ratio, stretches

COUNTS = (
    *("interactions_30d", "interactions_90d", "visits_90d", "clicks_90d", "email_opens_90d"),
    *("contact_weeks_91d", "contact_months_360d"),
)


def from_interactions(interactions: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's interactions."""
    kind, at, day = interactions.kind, interactions.occurred_at, interactions.local_at.date()
    recent = at >= interactions.since_90d
    opened = (kind == "open") & (interactions.channel == "email")
    return {
        "interactions_30d": count(at >= interactions.since_30d),
        "interactions_90d": count(recent),
        "interactions_180d": count(at >= interactions.since_180d),
        "latest_interaction_day": day.max(),
        "visits_90d": count(recent & (kind == "visit")),
        "clicks_90d": count(recent & (kind == "click")),
        "email_opens_90d": count(recent & opened),
        "contact_weeks_91d": stretches(interactions.last_day, day, days=7, latest=13),
        "contact_months_360d": stretches(interactions.last_day, day, days=30, latest=12),
    }


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; counts are 0 for a customer without interactions."""
    recent, both = row.interactions_90d, row.interactions_180d
    return {
        **{name: row[name].fill_null(0) for name in COUNTS},
        "interactions_trend_90d": ratio(2 * recent - both, both),
        "days_since_last_interaction": days_since(row.last_day, row.latest_interaction_day),
    }
