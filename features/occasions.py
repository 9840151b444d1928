"""Orders and purchase occasions as a cutoff sees them: what most feature groups are computed from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ibis

from features.identities import as_known
from features.records import AsOf, Records
from features.windows import KEYS, Columns, count, cutoff_columns, micro, seen, total, with_first_cutoff

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


@dataclass(frozen=True)
class Collapsed:
    """Order lines collapsed once for several cutoffs, numbered from 0 in time order.

    ``orders`` has one row per order, all its lines together, with the first cutoff that sees one of them and the first
    that sees all. ``torn`` are the lines of orders for which those differ: they stand on both sides of a cutoff, or
    were learned late. ``categories`` has one row per customer, category and first cutoff.
    """

    orders: ibis.Table
    torn: ibis.Table
    categories: ibis.Table

    def orders_at(self, number: int) -> ibis.Table:
        """Return every order as one cutoff sees it."""
        orders = self.orders
        whole = orders.filter(orders.first_cutoff == orders.last_cutoff, orders.first_cutoff <= number)
        whole = whole.drop("first_cutoff", "last_cutoff")
        return whole.union(_orders(self.torn.filter(self.torn.first_cutoff <= number)))

    def categories_at(self, number: int) -> ibis.Table:
        """Return gross spend and days per customer and category as one cutoff sees them."""
        parts = self.categories.filter(self.categories.first_cutoff <= number)
        return _by_category(parts, days=parts.days.sum())


def collapse(
    records: Records,
    moments: Sequence[AsOf],
    keep: Callable[[str, ibis.Table], ibis.Table] = lambda _, table: table,
) -> Collapsed:
    """Collapse the order lines for cutoffs in time order, each once: k cutoffs then multiply orders, not lines.

    ``keep`` computes a table, told its name here, once for all that read it.
    """
    lines = with_first_cutoff(records.tables["orders"], "ordered_at", moments)
    orders = keep("orders", _orders(lines, first_cutoff=lines.first_cutoff.min(), last_cutoff=lines.first_cutoff.max()))
    torn = orders.filter(orders.first_cutoff < orders.last_cutoff)
    return Collapsed(
        orders=orders,
        torn=keep("torn", lines.semi_join(torn, ORDER)),
        categories=keep("categories", _category_parts(lines)),
    )


def view(records: Records, moment: AsOf) -> Log:
    """Return the log as seen from one instant, ids that were known to be one person's by then under one."""
    records = as_known(records, moment)
    lines = seen(records.tables["orders"], "ordered_at", moment)
    days = _category_days(lines)
    return log_of(records, moment, _orders(lines), _by_category(days, days=days.count()))


def log_of(records: Records, moment: AsOf, orders: ibis.Table, categories: ibis.Table) -> Log:
    """Return the log as seen from the instant that ``orders`` and ``categories`` were collapsed for."""
    cutoff = cutoff_columns(moment)
    filled = orders.mutate(gross=orders.gross.fill_null(0), returned=orders.returned.fill_null(0))
    orders = filled.mutate(net=filled.gross - filled.returned, **cutoff)
    events = {
        name: seen(records.tables[name], "occurred_at", moment).mutate(**cutoff)
        for name in ("offers", "outcomes", "interactions")
    }
    return Log(
        cutoff=cutoff,
        orders=orders,
        occasions=_occasions(orders).mutate(**cutoff),
        categories=categories.mutate(**cutoff),
        customers=records.tables["customers"],
        **events,
    )


def _orders(lines: ibis.Table, **totals: Any) -> ibis.Table:
    bought = ~lines.is_return
    return lines.group_by(*ORDER).aggregate(
        ordered_at=lines.ordered_at.min(),
        local_at=lines.local_at.min(),
        lines_bought=count(bought),
        lines_returned=count(lines.is_return),
        lines_discounted=count(bought & (lines.discount > 0)),
        lines_discount_known=count(bought & lines.discount.notnull()),
        gross=total(micro(lines.amount), where=bought),
        returned=total(micro(-lines.amount), where=lines.is_return),
        discount=total(micro(lines.discount), where=bought),
        quantity=total(micro(lines.quantity), where=bought),
        channel=lines.channel.min(where=bought),
        **totals,
    )


def _occasions(orders: ibis.Table) -> ibis.Table:
    """Return one row per customer and local day with a purchase; ``gap`` is days since the one before."""
    bought = orders.filter(orders.lines_bought > 0).mutate(day=orders.local_at.date())
    occasions = bought.group_by(*KEYS, "day").aggregate(last_at=bought.ordered_at.max(), gross=total(bought.gross))
    before = ibis.window(group_by=KEYS, order_by=occasions.day)
    return occasions.mutate(gap=occasions.day.delta(occasions.day.lag().over(before), unit="day"))


def _category_days(lines: ibis.Table, *also_by: str) -> ibis.Table:
    """Return one row per customer, category and local day bought; lines without a category are left out."""
    bought = lines.filter(~lines.is_return, lines.category.notnull()).mutate(day=lines.local_at.date())
    days = bought.group_by(*KEYS, "category", "day", *also_by).aggregate(
        gross=total(micro(bought.amount)), latest_at=bought.ordered_at.max()
    )
    return days.mutate(first_day=days.day, latest_day=days.day)


def _category_parts(lines: ibis.Table) -> ibis.Table:
    """Return one row per customer, category and first cutoff; a day counts from the first that sees a line of it."""
    days = _category_days(lines, "first_cutoff")
    begun = days.group_by(*KEYS, "category", "day").aggregate(first_cutoff=days.first_cutoff.min())
    parts = _by_category(days, "first_cutoff")
    keys = [*KEYS, "category", "first_cutoff"]
    return parts.left_join(begun.group_by(keys).aggregate(days=begun.count()), keys).select(parts, "days")


def _by_category(parts: ibis.Table, *also_by: str, **totals: Any) -> ibis.Table:
    return parts.group_by(*KEYS, "category", *also_by).aggregate(
        gross=total(parts.gross).fill_null(0),
        latest_at=parts.latest_at.max(),
        first_day=parts.first_day.min(),
        latest_day=parts.latest_day.max(),
        **totals,
    )
