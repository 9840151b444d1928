"""Order lines collapsed once for several cutoffs: k cutoffs then multiply orders and days, not lines.

Cutoffs are numbered from 0 in time order. An order or day is *whole* from the first cutoff that sees all its lines, and
stays as it is from there on. What stands on both sides of a cutoff, or was learned late, is *torn*: such rows are few,
and are written down for each cutoff that sees only some of their lines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ibis

from features.occasions import ORDER, by_category, category_days, days_of, in_categories, orders_of, with_gaps
from features.records import AsOf, Records
from features.windows import KEYS, with_first_cutoff

CATEGORY_DAY = ("customer_id", "category", "day")

Keep = Callable[[str, ibis.Table], ibis.Table]


@dataclass(frozen=True)
class Collapsed:
    """Tables of rows by the cutoff that sees them.

    Those of whole rows say from which cutoff on in ``last_cutoff``, the others at which one in ``number``. A gap
    between days is the same at every later cutoff, unless a customer's days are learned out of order or a part at a
    time: the days of such ``irregular`` customers stand apart, once for every cutoff.
    """

    orders: ibis.Table
    torn_orders: ibis.Table
    days: ibis.Table
    irregular: ibis.Table
    irregular_days: ibis.Table
    category_days: ibis.Table
    torn_category_days: ibis.Table

    def orders_at(self, number: int) -> ibis.Table:
        """Return every order as one cutoff sees it."""
        return _at(number, self.orders, self.torn_orders)

    def days_at(self, number: int) -> ibis.Table:
        """Return every day with a purchase as one cutoff sees it, with the gap before it."""
        return _at(number, self.days.anti_join(self.irregular, KEYS), self.irregular_days)

    def categories_at(self, number: int) -> ibis.Table:
        """Return gross spend and days per customer and category as one cutoff sees them."""
        return by_category(_at(number, self.category_days, self.torn_category_days))


def collapse(records: Records, moments: Sequence[AsOf], keep: Keep = lambda _, table: table) -> Collapsed:
    """Collapse the order lines for cutoffs in time order, each once.

    ``keep`` computes a table, told its name here, once for all that read it.
    """
    lines = with_first_cutoff(records.tables["orders"], "ordered_at", moments)
    numbers = ibis.range(len(moments)).unnest().name("number").as_table()
    numbers = numbers.mutate(number=numbers.number.cast("int16"))
    orders = keep("orders", orders_of(lines, **_cutoffs(lines)))
    torn_orders = keep("torn_orders", orders_of(_partly_seen(lines, orders, ORDER, numbers), "number"))
    days = keep("days", _days(orders))
    irregular = keep("irregular", torn_orders.select(*KEYS).union(days.filter(~days.settled).select(*KEYS)).distinct())
    lines = in_categories(lines)
    kept_days = keep("category_days", category_days(lines, **_cutoffs(lines)))
    torn_days = category_days(_partly_seen(lines, kept_days, CATEGORY_DAY, numbers), "number")
    return Collapsed(
        orders=orders,
        torn_orders=torn_orders,
        days=days,
        irregular=irregular,
        irregular_days=keep("irregular_days", _irregular_days(orders, torn_orders, irregular, numbers)),
        category_days=kept_days,
        torn_category_days=keep("torn_category_days", torn_days),
    )


def _cutoffs(lines: ibis.Table) -> dict[str, Any]:
    return {"first_cutoff": lines.first_cutoff.min(), "last_cutoff": lines.first_cutoff.max()}


def _partly_seen(lines: ibis.Table, whole: ibis.Table, keys: tuple[str, ...], numbers: ibis.Table) -> ibis.Table:
    """Return the lines of torn rows, each once for every cutoff that sees it but not all lines of the row."""
    torn = whole.filter(whole.first_cutoff < whole.last_cutoff).select(*keys, "last_cutoff")
    parts = lines.semi_join(torn, keys).inner_join(torn, keys)  # an engine then sees that few are joined
    return parts.inner_join(numbers, [parts.first_cutoff <= numbers.number, numbers.number < parts.last_cutoff])


def _days(orders: ibis.Table) -> ibis.Table:
    """Return days of purchases; they are ``settled`` where the days before stay the same at every later cutoff."""
    days = days_of(orders, first_cutoff=orders.last_cutoff.min(), last_cutoff=orders.last_cutoff.max())
    before = days.last_cutoff.lag().over(group_by=KEYS, order_by=days.day)
    settled = (days.first_cutoff == days.last_cutoff) & (before.fill_null(0) <= days.first_cutoff)
    return with_gaps(days).mutate(settled=settled)


def _irregular_days(
    orders: ibis.Table, torn_orders: ibis.Table, irregular: ibis.Table, numbers: ibis.Table
) -> ibis.Table:
    """Return the days of irregular customers as every cutoff sees them."""
    some = orders.semi_join(irregular, KEYS)
    whole = some.inner_join(numbers, some.last_cutoff <= numbers.number).drop("first_cutoff", "last_cutoff")
    return with_gaps(days_of(whole.union(torn_orders.select(*whole.columns)), "number"), "number")


def _at(number: int, whole: ibis.Table, torn: ibis.Table) -> ibis.Table:
    shared = [name for name in whole.columns if name in torn.columns]
    return (
        whole.filter(whole.last_cutoff <= number)
        .select(shared)
        .union(torn.filter(torn.number == number).select(shared))
    )
