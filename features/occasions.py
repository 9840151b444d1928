"""Orders and purchase occasions as each cutoff sees them: what most feature groups are computed from."""

from collections.abc import Sequence
from dataclasses import dataclass

import ibis

from features.records import AsOf, Records
from features.windows import KEYS, at_cutoffs, cutoff_table, flag, micro, with_first_cutoff


@dataclass(frozen=True)
class Log:
    """What the feature groups read; every table but ``cutoffs`` and ``customers`` is keyed by customer and cutoff.

    ``orders`` has one row per order, returns included, dated by the order's earliest line that the cutoff sees;
    ``occasions`` one row per local day with a line that is not a return. Money and quantities are in millionths.
    """

    cutoffs: ibis.Table
    orders: ibis.Table
    occasions: ibis.Table
    categories: ibis.Table
    offers: ibis.Table
    outcomes: ibis.Table
    interactions: ibis.Table
    customers: ibis.Table


def view(records: Records, moments: Sequence[AsOf]) -> Log:
    """Return the log as seen from each of ``moments`` (ascending, distinct)."""
    cutoffs = cutoff_table(moments)
    lines = with_first_cutoff(records.tables["orders"], "ordered_at", moments)
    orders = _orders(lines, cutoffs)
    events = {
        name: at_cutoffs(with_first_cutoff(records.tables[name], "occurred_at", moments), cutoffs)
        for name in ("offers", "outcomes", "interactions")
    }
    return Log(
        cutoffs=cutoffs,
        orders=orders,
        occasions=_occasions(orders),
        categories=_categories(lines, cutoffs),
        customers=records.tables["customers"],
        **events,
    )


def _orders(lines: ibis.Table, cutoffs: ibis.Table) -> ibis.Table:
    # Lines are collapsed before they meet the cutoffs: lines of one order that become visible at the same cutoff are
    # one part of it, so k cutoffs multiply the orders, not the lines, and an order whose lines stand on both sides of
    # a cutoff (or were learned late) still shows each cutoff only its own part.
    bought = ~lines.is_return
    parts = lines.group_by("customer_id", "order_id", "first_cutoff").aggregate(
        ordered_at=lines.ordered_at.min(),
        local_at=lines.local_at.min(),
        lines_bought=flag(bought).sum(),
        lines_returned=flag(lines.is_return).sum(),
        lines_discounted=flag(bought & (lines.discount > 0)).sum(),
        lines_discount_known=flag(bought & lines.discount.notnull()).sum(),
        gross=micro(lines.amount).sum(where=bought),
        returned=micro(-lines.amount).sum(where=lines.is_return),
        discount=micro(lines.discount).sum(where=bought),
        quantity=micro(lines.quantity).sum(where=bought),
        channel=lines.channel.min(where=bought),
    )
    seen = at_cutoffs(parts, cutoffs.select("cutoff"))
    sums = ("lines_bought", "lines_returned", "lines_discounted", "lines_discount_known")
    money = ("gross", "returned", "discount", "quantity")
    orders = seen.group_by(*KEYS, "order_id").aggregate(
        ordered_at=seen.ordered_at.min(),
        local_at=seen.local_at.min(),
        channel=seen.channel.min(),
        **{name: seen[name].sum() for name in sums + money},
    )
    filled = orders.mutate(gross=orders.gross.fill_null(0), returned=orders.returned.fill_null(0))
    return filled.mutate(net=filled.gross - filled.returned).join(cutoffs, "cutoff")


def _occasions(orders: ibis.Table) -> ibis.Table:
    """Return one row per customer, cutoff and local day with a purchase; ``gap`` is days since the one before."""
    bought = orders.filter(orders.lines_bought > 0).mutate(day=orders.local_at.date())
    occasions = bought.group_by(*KEYS, "day").aggregate(last_at=bought.ordered_at.max(), gross=bought.gross.sum())
    before = ibis.window(group_by=KEYS, order_by=occasions.day)
    return occasions.mutate(gap=occasions.day.delta(occasions.day.lag().over(before), unit="day"))


def _categories(lines: ibis.Table, cutoffs: ibis.Table) -> ibis.Table:
    """Return gross spend per customer, cutoff and category bought; lines without a category are left out."""
    bought = lines.filter(~lines.is_return, lines.category.notnull())
    parts = bought.group_by("customer_id", "category", "first_cutoff").aggregate(gross=micro(bought.amount).sum())
    seen = at_cutoffs(parts, cutoffs.select("cutoff"))
    return seen.group_by(*KEYS, "category").aggregate(gross=seen.gross.sum())
