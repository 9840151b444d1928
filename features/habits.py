"""When and where a customer buys, on the wall clock of the source's zone."""

from math import pi
from typing import Any

import ibis

from features.windows import KEYS, MICRO, count, micro, ratio

EVENING_HOUR, MORNING_HOURS, SATURDAY = 18, (5, 11), 5  # evening 18:00 to midnight, morning 5:00 to 11:00


def from_orders(orders: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's orders with a purchase."""
    bought, hour, weekday = orders.lines_bought > 0, orders.local_at.hour(), orders.local_at.day_of_week.index()
    morning = (hour >= MORNING_HOURS[0]) & (hour < MORNING_HOURS[1])
    return {
        "weekend_orders": count(bought & (weekday >= SATURDAY)),
        "evening_orders": count(bought & (hour >= EVENING_HOUR)),
        "morning_orders": count(bought & morning),
        **_on_circle("hour", hour, 24, bought),
        **_on_circle("weekday", weekday, 7, bought),
    }


def _on_circle(name: str, step: Any, steps: int, bought: Any) -> dict[str, Any]:
    """Sum the points of a clock face on which ``steps`` make a round, in whole millionths."""
    angle = step.cast("float64") * (2 * pi / steps)
    return {f"{name}_x": micro(angle.cos()).sum(where=bought), f"{name}_y": micro(angle.sin()).sum(where=bought)}


def channel_orders(orders: ibis.Table) -> ibis.Table:
    """Return purchase orders per customer and channel; orders without a channel are left out."""
    known = orders.filter(orders.lines_bought > 0, orders.channel.notnull())
    return known.group_by(*KEYS, "channel").aggregate(orders=known.count())


def by_channel(channels: ibis.Table) -> ibis.Table:
    """Return the purchase orders per customer, and those of the most used channel."""
    return channels.group_by(*KEYS).aggregate(
        channel_orders=channels.orders.sum(), favourite_orders=channels.orders.max()
    )


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group: shares of orders, and mean resultant lengths (Mardia & Jupp 2000, section 2.3)."""
    return {
        "weekend_share": ratio(row.weekend_orders, row.baskets),
        "evening_share": ratio(row.evening_orders, row.baskets),
        "morning_share": ratio(row.morning_orders, row.baskets),
        "hour_concentration": _resultant(row.hour_x, row.hour_y, row.baskets),
        "weekday_concentration": _resultant(row.weekday_x, row.weekday_y, row.baskets),
        "favourite_channel_share": ratio(row.favourite_orders, row.channel_orders),
    }


def _resultant(x: Any, y: Any, orders: Any) -> Any:
    """Return how closely points on a circle lie together: 1 all at one place, 0 all around; rounding never passes 1."""
    x, y = x.cast("float64") / MICRO, y.cast("float64") / MICRO
    return ibis.least(ratio((x * x + y * y).sqrt(), orders), 1.0)
