"""What a customer complained about and thinks of the business."""

from typing import Any

import ibis

from features.windows import KEYS, count, days_since, micro, ratio, units


def from_interactions(interactions: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's interactions."""
    opened, closed = interactions.kind == "complaint_opened", interactions.kind == "complaint_closed"
    day = interactions.local_at.date()
    age = days_since(interactions.last_day, day).cast("int64")
    return {
        "complaints_total": count(opened),
        "complaints_closed": count(closed),
        "complaints_90d": count(opened & (interactions.occurred_at >= interactions.since_90d)),
        "complaint_age_sum": age.sum(where=opened),
        "closure_age_sum": age.sum(where=closed).fill_null(0),
        "latest_complaint_day": day.max(where=opened),
    }


def by_opinion(interactions: ibis.Table) -> ibis.Table:
    """Return satisfaction and NPS answers per customer; of two at one instant, the worse is the latest."""
    answers = interactions.filter(interactions.kind.isin(("satisfaction", "nps")), interactions.value.notnull())
    moments = answers.group_by(*KEYS, "kind", "occurred_at").aggregate(
        worst=answers["value"].min(), answers=answers.count(), total=micro(answers["value"]).sum()
    )
    satisfaction, nps = moments.kind == "satisfaction", moments.kind == "nps"
    return moments.group_by(*KEYS).aggregate(
        satisfaction_last=moments.worst.argmax(moments.occurred_at, where=satisfaction),
        satisfaction_answers=moments.answers.sum(where=satisfaction),
        satisfaction_total=moments.total.sum(where=satisfaction),
        nps_last=moments.worst.argmax(moments.occurred_at, where=nps),
    )


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; counts are 0 for a customer without complaints.

    ``complaint_days_mean`` counts an open complaint's days so far. Days from opening to closing add up to the same
    whichever closing belongs to which opening, so none has to be matched; with more closings than openings it is null.
    """
    opened, closed = row.complaints_total.fill_null(0), row.complaints_closed.fill_null(0)
    waited = ibis.greatest(row.complaint_age_sum - row.closure_age_sum, 0)
    mean = ratio(units(row.satisfaction_total), row.satisfaction_answers)
    earlier = ratio(units(row.satisfaction_total - micro(row.satisfaction_last)), row.satisfaction_answers - 1)
    return {
        "complaints_open": ibis.greatest(opened - closed, 0),
        "complaints_90d": row.complaints_90d.fill_null(0),
        "complaints_total": opened,
        "days_since_last_complaint": days_since(row.last_day, row.latest_complaint_day),
        "complaint_days_mean": ibis.ifelse(closed <= opened, ratio(waited, opened), None),
        "satisfaction_last": row.satisfaction_last,
        "satisfaction_mean": mean,
        "satisfaction_change": row.satisfaction_last - earlier,
        "nps_last": row.nps_last,
    }
