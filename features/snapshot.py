"""One row of behavioural features per customer at an instant.

A row is customer-local (no other customer can change it) and cutoff-local (nothing that happened or became known at or
after ``as_of`` can), so training, batch and online scoring share this one definition.
"""

from collections.abc import Sequence
from typing import Any

import ibis
import pandas as pd

from features import basket, cadence, engagement, habits, offers, purchase, returns
from features.catalogue import FEATURES
from features.engine import fetch
from features.occasions import Log, view
from features.records import AsOf, Records
from features.windows import KEYS

DERIVED = (purchase, cadence, basket, habits, returns, offers, engagement)


def build_snapshot(records: Records, as_of: AsOf | Sequence[AsOf]) -> pd.DataFrame:
    """Return the features of every customer with a purchase occasion strictly before the cutoff.

    Returns
    -------
    DataFrame, one row per (customer_id, as_of), sorted by as_of then customer_id: ``customer_id`` (str), ``as_of``
    (datetime64[us, UTC]) and the columns of the catalogue in its order (float64, NaN where undefined).
    """
    moments = [as_of] if isinstance(as_of, AsOf) else as_of
    frame = fetch(snapshot_expression(records, moments))
    frame["as_of"] = frame["as_of"].dt.tz_localize("UTC")
    return frame


def snapshot_expression(records: Records, moments: Sequence[AsOf]) -> ibis.Table:
    """Return the snapshot as one expression over the log: k cutoffs are one pass, not k."""
    row = totals(view(records, distinct(moments)))
    derived: dict[str, Any] = {}
    for group in DERIVED:
        derived |= group.derive(row)
    columns = {name: derived.pop(name).cast("float64") for name in FEATURES}
    return row.select("customer_id", "as_of", **columns).order_by("as_of", "customer_id")


def distinct(moments: Sequence[AsOf]) -> list[AsOf]:
    """Return the cutoffs in time order, each once."""
    return sorted(set(moments), key=lambda moment: moment.instant)


def totals(log: Log) -> ibis.Table:
    """Return what the features are derived from: one row per customer and cutoff with a purchase occasion."""
    occasions, orders = log.occasions.join(log.cutoffs, "cutoff"), log.orders
    base = occasions.group_by(*KEYS).aggregate(
        **purchase.from_occasions(occasions), **cadence.from_occasions(occasions)
    )
    over_orders = {
        name: total
        for group in (purchase, basket, habits, returns)
        for name, total in group.from_orders(orders).items()
    }
    groups = (
        orders.group_by(*KEYS).aggregate(**over_orders),
        basket.by_category(log.categories),
        habits.by_channel(habits.channel_orders(orders)),
        offers.by_offer(log.offers, log.outcomes),
        offers.by_redemption(log.outcomes),
        engagement.by_interaction(log.interactions),
        engagement.by_opinion(log.interactions),
    )
    row = base.join(log.cutoffs, "cutoff").left_join(_creation(log.customers), "customer_id", rname="{name}_customer")
    for number, group in enumerate(groups):  # one chain of joins without a projection between: half the SQL
        row = row.left_join(group, list(KEYS), rname=f"{{name}}_{number}")
    return row


def _creation(customers: ibis.Table) -> ibis.Table:
    """Return when the business first knew each customer."""
    return customers.group_by("customer_id").aggregate(created_at=customers.created_at.min())
