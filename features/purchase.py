"""How often, how recently and for how much a customer buys: the sufficient statistics of BTYD models and windows."""

from typing import Any

import ibis

from features.windows import count, days_between, days_since, flag, ratio, stretches, units

SPEND_DAYS = (7, 30, 90, 365)


def from_occasions(occasions: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's purchase occasions."""
    recent = {f"orders_{days}d": count(occasions.last_at >= occasions[f"since_{days}d"]) for days in SPEND_DAYS}
    return {
        "occasions": occasions.count(),
        "paid_occasions": count(occasions.gross > 0),
        "first_day": occasions.day.min(),
        "latest_day": occasions.day.max(),
        "gross_total": occasions.gross.sum(),
        "gross_first": occasions.gross.argmin(occasions.day),
        "gross_latest": occasions.gross.argmax(occasions.day),
        "active_months_360d": stretches(occasions.last_day, occasions.day, days=30, latest=12),
        **recent,
    }


def from_orders(orders: ibis.Table) -> dict[str, Any]:
    """Totals over a customer's orders, returns included."""
    windows = {
        f"spend_{days}d": orders.net.sum(where=orders.ordered_at >= orders[f"since_{days}d"]).fill_null(0)
        for days in SPEND_DAYS
    }
    return {"spend_total": orders.net.sum(), **windows}


def derive(row: ibis.Table) -> dict[str, Any]:
    """Features of the group from the customer's totals.

    ``T`` ends at the last whole day before the cutoff; an occasion on the cutoff's own, unfinished day extends it, so
    ``0 <= recency <= T`` at any hour. ``monetary_value`` is the mean gross value of repeat occasions that cost
    anything, times the share of gross spend that was not returned (occasions cannot be told which return is theirs).
    """
    since = days_since(row.last_day, row.latest_day)
    repeats = row.paid_occasions - flag(row.gross_first > 0)
    kept = ibis.greatest(1.0 - ratio(row.returned_total, row.gross_total), 0.0)
    tenure = days_since(row.last_day, row.created_at.date()).fill_null(0.0)  # 0 for a creation still to come
    recency, mean = days_between(row.latest_day, row.first_day), ratio(units(row.gross_total), row.occasions)
    age = age_days(row)
    spends = {f"spend_{days}d": units(row[f"spend_{days}d"]) for days in SPEND_DAYS}
    return {
        "frequency": row.occasions - 1,
        "recency": recency,
        "T": age,
        "monetary_value": ratio(units(row.gross_total - row.gross_first), repeats) * kept,
        "days_since_last_order": since,
        "tenure_days": ibis.greatest(age, tenure),
        **{f"orders_{days}d": row[f"orders_{days}d"] for days in SPEND_DAYS},
        **spends,
        "spend_total": units(row.spend_total),
        "order_value_mean": mean,
        "order_value_last": units(row.gross_latest),
        "order_value_last_ratio": ratio(units(row.gross_latest), mean),
        "first_order_value": units(row.gross_first),
        "active_months_360d": row.active_months_360d,
    }


def age_days(row: ibis.Table) -> Any:
    """Return ``T``: whole days from the first purchase to the cutoff's last whole day."""
    return days_between(row.latest_day, row.first_day).cast("float64") + days_since(row.last_day, row.latest_day)
