"""What goes into a customer's baskets: size, breadth and price."""

from typing import Any

import ibis

from features.windows import KEYS, flag, ratio, units

SHARE_STEPS = 1e9  # squares of shares in whole billionths still fit 64 bits, and add up exactly


def from_orders(orders: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's orders."""
    return {
        "baskets": flag(orders.lines_bought > 0).sum(),
        "lines_bought": orders.lines_bought.sum(),
        "quantity": orders.quantity.sum(),
        "baskets_with_quantity": orders.quantity.count(),
        "discount": orders.discount.sum(),
        "lines_discounted": orders.lines_discounted.sum(),
        "lines_discount_known": orders.lines_discount_known.sum(),
    }


def by_category(categories: ibis.Table) -> ibis.Table:
    """Return breadth and concentration of spend per customer and cutoff; null where no line has a category."""
    total = categories.gross.sum().over(group_by=KEYS)
    share = (ratio(categories.gross, total) * SHARE_STEPS).round().cast("int64")
    shares = categories.mutate(square=share * share)
    return shares.group_by(*KEYS).aggregate(category_breadth=shares.count(), square_sum=shares.square.sum())


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group; a price before discount is the net amount plus the discount."""
    return {
        "basket_lines_mean": ratio(row.lines_bought, row.baskets),
        "basket_quantity_mean": ratio(units(row.quantity), row.baskets_with_quantity),
        "category_breadth": row.category_breadth,
        "category_concentration": row.square_sum.cast("float64") / (SHARE_STEPS * SHARE_STEPS),
        "discount_share": ratio(row.discount, row.discount + row.gross_total),
        "discounted_line_share": ratio(row.lines_discounted, row.lines_discount_known),
    }
