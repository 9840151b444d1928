"""Where a customer's purchases are heading: short windows against long ones, and against the same weeks a year before.

A year is 364 days here, 52 whole weeks, so that weekdays meet.
"""

from typing import Any

import ibis

from features.purchase import age_days
from features.windows import count, ratio


def from_occasions(occasions: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's purchase occasions."""
    earlier = {f"orders_before_{days}d": count(occasions.last_at < occasions[f"since_{days}d"]) for days in (274, 364)}
    return {"orders_180d": count(occasions.last_at >= occasions.since_180d), **earlier}


def from_orders(orders: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's orders, returns included."""
    return {"spend_180d": orders.net.sum(where=orders.ordered_at >= orders.since_180d).fill_null(0)}


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; what compares with a year before is null for who was no customer yet."""
    age = age_days(row) + 1.0
    return {
        "orders_trend_30d": _trend(2 * row.orders_30d, row.orders_90d - row.orders_30d),
        "spend_trend_30d": _trend(2 * row.spend_30d, row.spend_90d - row.spend_30d),
        "orders_trend_90d": _trend(row.orders_90d, row.orders_180d - row.orders_90d),
        "spend_trend_90d": _trend(row.spend_90d, row.spend_180d - row.spend_90d),
        "orders_pace_90d": ratio(row.orders_90d * age, row.occasions * ibis.least(age, 90.0)),
        "orders_next_90d_year_ago": ibis.ifelse(
            row.orders_before_364d > 0, row.orders_before_274d - row.orders_before_364d, None
        ),
    }


def _trend(new: Any, old: Any) -> Any:
    """(new - old) / (new + old), in [-1, 1] when neither is negative; null when the sum is 0."""
    return ratio(new - old, new + old)
