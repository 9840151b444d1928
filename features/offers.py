"""What was offered to a customer and what the customer took up."""

from typing import Any

import ibis

from features.windows import KEYS, days_since, flag, ratio


def received(offers: ibis.Table) -> ibis.Table:
    """Return offers that were sent: a control group's held-out offers reach nobody."""
    return offers.filter(~offers.control.fill_null(False))


def by_offer(offers: ibis.Table, outcomes: ibis.Table) -> ibis.Table:
    """Return offers received per customer and cutoff, and how many of the last year's were redeemed by then."""
    taken = _redemptions(outcomes).filter(lambda table: table.offer_id.notnull())
    taken = taken.select(*KEYS, "offer_id").distinct().mutate(redeemed=ibis.literal(True))
    sent = received(offers).left_join(taken, [*KEYS, "offer_id"]).select(received(offers), "redeemed")
    last_year = sent.offer_id.notnull() & (sent.occurred_at >= sent.since_365d)
    windows = {
        f"offers_received_{days}d": flag(sent.occurred_at >= sent[f"since_{days}d"]).sum() for days in (30, 90, 365)
    }
    return sent.group_by(*KEYS).aggregate(
        latest_offer_day=sent.local_at.date().max(),
        offers_known=flag(last_year).sum(),
        offers_taken=flag(last_year & sent.redeemed).sum(),
        **windows,
    )


def by_redemption(outcomes: ibis.Table) -> ibis.Table:
    """Return redemptions per customer and cutoff."""
    taken = _redemptions(outcomes)
    return taken.group_by(*KEYS).aggregate(offers_redeemed_365d=flag(taken.occurred_at >= taken.since_365d).sum())


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; counts are 0 for a customer who was never offered anything."""
    counts = ("offers_received_30d", "offers_received_90d", "offers_received_365d", "offers_redeemed_365d")
    return {
        **{name: row[name].fill_null(0) for name in counts},
        "days_since_last_offer": days_since(row.last_day, row.latest_offer_day),
        "offer_redemption_rate": ratio(row.offers_taken, row.offers_known),
    }


def _redemptions(outcomes: ibis.Table) -> ibis.Table:
    return outcomes.filter(outcomes.kind == "redeemed")
