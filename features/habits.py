"""When and where a customer buys, on the wall clock of the source's zone."""

from typing import Any

import ibis

from features.windows import KEYS, flag, ratio

EVENING_HOUR, MORNING_HOURS, SATURDAY = 18, (5, 11), 5  # evening 18:00 to midnight, morning 5:00 to 11:00


def from_orders(orders: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's orders with a purchase."""
    bought, hour = orders.lines_bought > 0, orders.local_at.hour()
    morning = (hour >= MORNING_HOURS[0]) & (hour < MORNING_HOURS[1])
    return {
        "weekend_orders": flag(bought & (orders.local_at.day_of_week.index() >= SATURDAY)).sum(),
        "evening_orders": flag(bought & (hour >= EVENING_HOUR)).sum(),
        "morning_orders": flag(bought & morning).sum(),
    }


def channel_orders(orders: ibis.Table) -> ibis.Table:
    """Return purchase orders per customer, cutoff and channel; orders without a channel are left out."""
    known = orders.filter(orders.lines_bought > 0, orders.channel.notnull())
    return known.group_by(*KEYS, "channel").aggregate(orders=known.count())


def by_channel(channels: ibis.Table) -> ibis.Table:
    """Return the channel mix per customer and cutoff."""
    return channels.group_by(*KEYS).aggregate(
        channel_count=channels.count(), channel_orders=channels.orders.sum(), favourite_orders=channels.orders.max()
    )


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group: shares of orders."""
    return {
        "weekend_share": ratio(row.weekend_orders, row.baskets),
        "evening_share": ratio(row.evening_orders, row.baskets),
        "morning_share": ratio(row.morning_orders, row.baskets),
        "channel_count": row.channel_count,
        "favourite_channel_share": ratio(row.favourite_orders, row.channel_orders),
    }
