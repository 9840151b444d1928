"""What a customer sends back."""

from typing import Any

import ibis

from features.windows import days_since, flag, ratio


def from_orders(orders: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's orders; a return inside an order is dated like the order."""
    recent = orders.ordered_at >= orders.since_90d
    return {
        "returned_total": orders.returned.sum(),
        "returned_90d": orders.returned.sum(where=recent),
        "lines_returned": orders.lines_returned.sum(),
        "lines_returned_90d": (orders.lines_returned * flag(recent)).sum(),
        "latest_return_day": orders.local_at.date().max(where=orders.lines_returned > 0),
    }


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; shares can pass 1 where purchases before the log or the window are returned in it."""
    return {
        "returns_total": row.lines_returned,
        "returns_90d": row.lines_returned_90d,
        "return_amount_share": ratio(row.returned_total, row.gross_total),
        "return_amount_share_90d": ratio(row.returned_90d, row.gross_90d),
        "days_since_last_return": days_since(row.last_day, row.latest_return_day),
    }
