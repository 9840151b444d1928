"""What a customer pays for: discounts, and the price level against the customer's own.

A price before discount is the net amount plus the discount.
"""

from typing import Any

import ibis

from features.windows import count, ratio, units


def from_orders(orders: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's orders."""
    recent, reduced = orders.ordered_at >= orders.since_90d, orders.lines_discounted > 0
    return {
        "discount": orders.discount.sum(),
        "gross_90d": orders.gross.sum(where=recent),
        "gross_reduced": orders.gross.sum(where=reduced),
        "lines_bought_90d": orders.lines_bought.sum(where=recent),
        "lines_discounted": orders.lines_discounted.sum(),
        "lines_discount_known": orders.lines_discount_known.sum(),
        "baskets_discounted": count(reduced),
        "baskets_discount_known": count(orders.lines_discount_known > 0),
    }


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; depth counts whole orders with a discount in them."""
    line_value = ratio(units(row.gross_total), row.lines_bought)
    return {
        "discount_share": ratio(row.discount, row.discount + row.gross_total),
        "discounted_line_share": ratio(row.lines_discounted, row.lines_discount_known),
        "discounted_order_share": ratio(row.baskets_discounted, row.baskets_discount_known),
        "discount_depth_share": ratio(row.discount, row.discount + row.gross_reduced),
        "line_value_ratio_90d": ratio(ratio(units(row.gross_90d), row.lines_bought_90d), line_value),
    }
