"""What a customer sends back."""

from typing import Any

import ibis

from features.windows import days_since, ratio


def from_orders(orders: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's orders; a return inside an order is dated like the order."""
    return {
        "returned_total": orders.returned.sum(),
        "returned_90d": orders.returned.sum(where=orders.ordered_at >= orders.since_90d),
        "lines_returned": orders.lines_returned.sum(),
        "latest_return_day": orders.local_at.date().max(where=orders.lines_returned > 0),
    }


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; the share can pass 1 where purchases before the window are returned in it."""
    return {
        "returns_total": row.lines_returned,
        "return_amount_share_90d": ratio(row.returned_90d, row.gross_90d),
        "days_since_last_return": days_since(row.last_day, row.latest_return_day),
    }
