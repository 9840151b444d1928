"""Whom a customer brings.

Who was brought by whom (``customers.referred_by``) is not used: the table does not say when that became known.
"""

from typing import Any

import ibis

from features.windows import count, days_since


def from_interactions(interactions: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's interactions."""
    referral = interactions.kind == "referral"
    return {
        "referrals_total": count(referral),
        "latest_referral_day": interactions.local_at.date().max(where=referral),
    }


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group."""
    return {
        "referrals_total": row.referrals_total.fill_null(0),
        "days_since_last_referral": days_since(row.last_day, row.latest_referral_day),
    }
