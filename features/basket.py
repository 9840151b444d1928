"""What goes into a customer's baskets: size, breadth and the categories' own rhythms."""

from typing import Any

import ibis

from features.windows import KEYS, count, days_between, days_since, ratio, units

SHARE_STEPS = 1e9  # squares of shares in whole billionths still fit 64 bits, and add up exactly


def from_orders(orders: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's orders."""
    return {
        "baskets": count(orders.lines_bought > 0),
        "lines_bought": orders.lines_bought.sum(),
        "quantity": orders.quantity.sum(),
        "baskets_with_quantity": orders.quantity.count(),
    }


def by_category(categories: ibis.Table) -> ibis.Table:
    """Return breadth and concentration of spend, and what is due, per customer.

    Null where no line has a category. A category bought on two days or more is due when its silence is longer than
    the mean gap between those days. The favourite is the one most spent on; of several, the one bought last.
    """
    total = categories.gross.sum().over(group_by=KEYS)
    share = (ratio(categories.gross, total) * SHARE_STEPS).round().cast("int64")
    gap = ratio(days_between(categories.latest_day, categories.first_day), categories.days - 1)
    silence = days_since(categories.last_day, categories.latest_day)
    known = categories.mutate(square=share * share, overdue=ratio(silence, gap), silence=silence)
    # categories of equal spend are one, so that the favourite is found without ranking
    levels = known.group_by(*KEYS, "gross").aggregate(
        categories=known.count(),
        square_sum=known.square.sum(),
        recent=count(known.latest_at >= known.since_90d),
        rhythmic=known.overdue.count(),
        due=count(known.overdue > 1.0),
        silence=known.silence.min(),
        overdue=known.overdue.min(),
    )
    return levels.group_by(*KEYS).aggregate(
        category_breadth=levels.categories.sum(),
        square_sum=levels.square_sum.sum(),
        category_breadth_90d=levels.recent.sum(),
        categories_rhythmic=levels.rhythmic.sum(),
        categories_due=levels.due.sum(),
        favourite_silence=levels.silence.argmax(levels.gross),
        favourite_overdue=levels.overdue.argmax(levels.gross),
    )


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group."""
    return {
        "basket_lines_mean": ratio(row.lines_bought, row.baskets),
        "basket_quantity_mean": ratio(units(row.quantity), row.baskets_with_quantity),
        "category_breadth": row.category_breadth,
        "category_breadth_90d": row.category_breadth_90d,
        "category_concentration": row.square_sum.cast("float64") / (SHARE_STEPS * SHARE_STEPS),
        "days_since_favourite_category": row.favourite_silence,
        "favourite_category_overdue_ratio": row.favourite_overdue,
        "categories_due_share": ratio(row.categories_due, row.categories_rhythmic),
    }
