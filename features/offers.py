"""What was offered to a customer and what the customer took up."""

from typing import Any

import ibis

from features.windows import KEYS, count, days_since, ratio

COUNTS = ("offers_received_30d", "offers_received_90d", "offers_received_365d", "offers_since_redemption")


def received(offers: ibis.Table) -> ibis.Table:
    """Return offers that were sent: a control group's held-out offers reach nobody."""
    return offers.filter(~offers.control.fill_null(False))


def by_offer(offers: ibis.Table, outcomes: ibis.Table) -> ibis.Table:
    """Return offers received per customer, the last year's taken ones, and those since the last taken."""
    taken = _redemptions(outcomes)
    named = taken.filter(taken.offer_id.notnull()).select(*KEYS, "offer_id").distinct()
    latest = taken.group_by(*KEYS).aggregate(redeemed_at=taken.occurred_at.max())
    sent = received(offers)
    sent = sent.left_join(named.mutate(redeemed=ibis.literal(True)), [*KEYS, "offer_id"]).select(sent, "redeemed")
    sent = sent.left_join(latest, list(KEYS)).select(sent, "redeemed_at")
    last_year = sent.offer_id.notnull() & (sent.occurred_at >= sent.since_365d)
    windows = {f"offers_received_{days}d": count(sent.occurred_at >= sent[f"since_{days}d"]) for days in (30, 90, 365)}
    return sent.group_by(*KEYS).aggregate(
        latest_offer_day=sent.local_at.date().max(),
        offers_known=count(last_year),
        offers_taken=count(last_year & sent.redeemed),
        offers_since_redemption=count(sent.redeemed_at.isnull() | (sent.occurred_at > sent.redeemed_at)),
        **windows,
    )


def by_redemption(outcomes: ibis.Table) -> ibis.Table:
    """Return redemptions per customer."""
    taken = _redemptions(outcomes)
    windows = {f"offers_redeemed_{days}d": count(taken.occurred_at >= taken[f"since_{days}d"]) for days in (90, 365)}
    return taken.group_by(*KEYS).aggregate(latest_redemption_day=taken.local_at.date().max(), **windows)


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; counts are 0 for a customer who was never offered anything."""
    counts = (*COUNTS, "offers_redeemed_90d", "offers_redeemed_365d")
    return {
        **{name: row[name].fill_null(0) for name in counts},
        "days_since_last_offer": days_since(row.last_day, row.latest_offer_day),
        "days_since_last_redemption": days_since(row.last_day, row.latest_redemption_day),
        "offer_redemption_rate": ratio(row.offers_taken, row.offers_known),
    }


def _redemptions(outcomes: ibis.Table) -> ibis.Table:
    return outcomes.filter(outcomes.kind == "redeemed")
