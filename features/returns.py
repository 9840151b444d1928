"""What a customer sends back."""

from typing import Any

import ibis

from features.windows import ratio


def from_orders(orders: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's orders."""
    return {"lines_returned": orders.lines_returned.sum()}


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; the share can pass 1 where purchases before the log are returned in it."""
    return {"returns_total": row.lines_returned, "return_amount_share": ratio(row.returned_total, row.gross_total)}
