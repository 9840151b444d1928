"""Orders and purchase occasions as a cutoff sees them: what most feature groups are computed from."""

from dataclasses import dataclass
from typing import Any

import ibis

from features.identities import as_known
from features.records import AsOf, Records
from features.windows import KEYS, Columns, count, cutoff_columns, micro, seen, total

ORDER = ("customer_id", "order_id")


@dataclass(frozen=True)
class Log:
    """What the feature groups read; every table but ``customers`` also has the cutoff's columns.

    ``orders`` has one row per order, returns included, dated by the order's earliest line that the cutoff sees;
    ``occasions`` one row per local day with a line that is not a return. Money and quantities are in millionths.
    """

    cutoff: Columns
    orders: ibis.Table
    occasions: ibis.Table
    categories: ibis.Table
    offers: ibis.Table
    outcomes: ibis.Table
    interactions: ibis.Table
    customers: ibis.Table


def view(records: Records, moment: AsOf) -> Log:
    """Return the log as seen from one instant, ids that were known to be one person's by then under one."""
    records = as_known(records, moment)
    lines = seen(records.tables["orders"], "ordered_at", moment)
    orders = orders_of(lines)
    return log_of(records, moment, orders, with_gaps(days_of(orders)), by_category(category_days(in_categories(lines))))


def log_of(records: Records, moment: AsOf, orders: ibis.Table, occasions: ibis.Table, categories: ibis.Table) -> Log:
    """Return the log as seen from the instant that orders, occasions and categories were collapsed for."""
    cutoff = cutoff_columns(moment)
    events = {
        name: seen(records.tables[name], "occurred_at", moment).mutate(**cutoff)
        for name in ("offers", "outcomes", "interactions")
    }
    return Log(
        cutoff=cutoff,
        orders=orders.mutate(net=orders.gross - orders.returned, **cutoff),
        occasions=occasions.mutate(**cutoff),
        categories=categories.mutate(**cutoff),
        customers=records.tables["customers"],
        **events,
    )


def orders_of(lines: ibis.Table, *also_by: str, **totals: Any) -> ibis.Table:
    """Return one row per order."""
    bought = ~lines.is_return
    return lines.group_by(*ORDER, *also_by).aggregate(
        ordered_at=lines.ordered_at.min(),
        local_at=lines.local_at.min(),
        lines_bought=count(bought),
        lines_returned=count(lines.is_return),
        lines_discounted=count(bought & (lines.discount > 0)),
        lines_discount_known=count(bought & lines.discount.notnull()),
        gross=total(micro(lines.amount), where=bought).fill_null(0),
        returned=total(micro(-lines.amount), where=lines.is_return).fill_null(0),
        discount=total(micro(lines.discount), where=bought),
        quantity=total(micro(lines.quantity), where=bought),
        channel=lines.channel.min(where=bought),
        **totals,
    )


def days_of(orders: ibis.Table, *also_by: str, **totals: Any) -> ibis.Table:
    """Return one row per customer and local day with a purchase."""
    bought = orders.filter(orders.lines_bought > 0).mutate(day=orders.local_at.date())
    return bought.group_by(*KEYS, *also_by, "day").aggregate(
        last_at=bought.ordered_at.max(), gross=total(bought.gross), **totals
    )


def with_gaps(days: ibis.Table, *also_by: str) -> ibis.Table:
    """Return days with how many lie between each and the customer's one before; null for the first."""
    before = days.day.lag().over(group_by=(*KEYS, *also_by), order_by=days.day)
    return days.mutate(gap=days.day.delta(before, unit="day"))


def in_categories(lines: ibis.Table) -> ibis.Table:
    """Return the lines bought in a category, with their local day."""
    return lines.filter(~lines.is_return, lines.category.notnull()).mutate(day=lines.local_at.date())


def category_days(bought: ibis.Table, *also_by: str, **totals: Any) -> ibis.Table:
    """Return one row per customer, category and local day of lines `in_categories`."""
    return bought.group_by(*KEYS, "category", "day", *also_by).aggregate(
        gross=total(micro(bought.amount)), latest_at=bought.ordered_at.max(), **totals
    )


def by_category(days: ibis.Table) -> ibis.Table:
    """Return gross spend and days per customer and category."""
    return days.group_by(*KEYS, "category").aggregate(
        gross=total(days.gross).fill_null(0),
        latest_at=days.latest_at.max(),
        first_day=days.day.min(),
        latest_day=days.day.max(),
        days=days.count(),
    )
