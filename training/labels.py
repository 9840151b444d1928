"""What happened after a cutoff: the only place that looks at a customer's future.

A label window is ``[cutoff, cutoff + horizon)`` on the wall clock of the source's zone: it opens with the
cutoff's instant and closes, not included, at the same local time ``horizon_days`` calendar days later.

Who a customer is, is what was known at the cutoff: ids that were one person's by then are one customer throughout the
window, and a link learned later changes no label. So a snapshot and its labels always speak of the same customers.
"""

from datetime import timedelta
from zoneinfo import ZoneInfo

import ibis
import pandas as pd

from features.engine import fetch
from features.identities import as_known
from features.records import AsOf, Records
from features.windows import micro, units
from perennial.errors import InsufficientData

LABEL_COLUMNS = ("customer_id", "churned", "actual_orders", "actual_spend")


def window_end(records: Records, cutoff: AsOf, horizon_days: int) -> AsOf:
    """Return the first instant no longer in the label window."""
    if cutoff == cutoff.earlier(0, records.timezone):  # a whole day, though one may begin at 01:00
        return cutoff.earlier(-horizon_days, records.timezone)
    local = cutoff.instant.astimezone(ZoneInfo(records.timezone)).replace(tzinfo=None)
    return AsOf.parse(local + timedelta(days=horizon_days), records.timezone)


def observed_until(records: Records, as_of: AsOf | None = None) -> AsOf:
    """Return the instant up to which everything that happened is in the log and may be used."""
    end = records.as_of()
    return end if as_of is None or end.instant <= as_of.instant else as_of


def label(records: Records, cutoff: AsOf, horizon_days: int, as_of: AsOf | None = None) -> pd.DataFrame:
    """Say for every customer in the snapshot at ``cutoff`` what followed.

    Parameters
    ----------
    as_of
        The instant of training: the window must have closed by then, and lines not known before it are
        not used. Default: the day after the last order.

    Returns
    -------
    DataFrame
        ``customer_id``, ``churned`` (bool: no purchase occasion in the window), ``actual_orders``
        (occasions, local customer-days, float) and ``actual_spend`` (net of returns, source currency),
        sorted by customer. Returns are never purchases. An order begun before the cutoff is no new
        occasion, but what its later lines cost counts as spend.
    """
    return fetch(_outcomes(_lines_until_closed(records, cutoff, horizon_days, as_of), cutoff))


def return_days(records: Records, cutoff: AsOf, horizon_days: int, as_of: AsOf | None = None) -> pd.DataFrame:
    """Say after how many days every customer who came back within the window did so.

    Returns
    -------
    DataFrame
        ``customer_id`` and ``return_days`` (float, 0 for an order on the cutoff's own day), sorted by customer;
        who did not come back is absent. The arguments are those of `label`.
    """
    lines = _lines_until_closed(records, cutoff, horizon_days, as_of)
    orders = _orders(lines, cutoff)
    came = orders.filter(orders.is_new, orders.bought_within)
    first = fetch(came.group_by("customer_id").agg(day=came.day.min()).order_by("customer_id"))
    days = (pd.to_datetime(first["day"]) - pd.Timestamp(cutoff.day)) / pd.Timedelta(days=1)
    return first[["customer_id"]].assign(return_days=days.astype("float64"))


def silence_at_end(records: Records, cutoff: AsOf, horizon_days: int, as_of: AsOf | None = None) -> pd.DataFrame:
    """Say for every customer in the snapshot at ``cutoff`` how long they are silent when the window ends.

    Returns
    -------
    DataFrame
        ``customer_id`` and ``silent_days`` (float: whole days from the last purchase occasion to the window's last
        day), sorted by customer. The arguments are those of `label`.
    """
    orders = _orders(_lines_until_closed(records, cutoff, horizon_days, as_of), cutoff)
    customers = orders.group_by("customer_id").agg(
        known=orders.bought_before.any(), day=orders.day.max(where=orders.bought_before | orders.bought_within)
    )
    last = fetch(customers.filter(customers.known).select("customer_id", "day").order_by("customer_id"))
    end = pd.Timestamp(window_end(records, cutoff, horizon_days).day) - pd.Timedelta(days=1)
    days = (end - pd.to_datetime(last["day"])) / pd.Timedelta(days=1)
    return last[["customer_id"]].assign(silent_days=days.astype("float64"))


def _lines_until_closed(records: Records, cutoff: AsOf, horizon_days: int, as_of: AsOf | None) -> ibis.Table:
    """Return the order lines before the window's end, which must have closed, as known by then."""
    known_until, end = observed_until(records, as_of), window_end(records, cutoff, horizon_days)
    if end.instant > known_until.instant:
        raise InsufficientData(
            f"{records.name}: the {horizon_days} days after {cutoff.day} end on {end.day}, but what happened is only "
            f"known until {known_until.day}; choose a cutoff {(end.day - known_until.day).days} days earlier"
        )
    lines = as_known(records, cutoff).tables["orders"]
    return lines.filter(lines.ordered_at < end.naive_utc, lines.known_at < known_until.naive_utc)


def _orders(lines: ibis.Table, cutoff: AsOf) -> ibis.Table:
    """Collapse lines before the window's end to one row per order."""
    start = ibis.literal(cutoff.naive_utc, type="timestamp(6)")
    before = (lines.ordered_at < start) & (lines.known_at < start)
    within = lines.ordered_at >= start
    return lines.group_by("customer_id", "order_id").agg(
        day=lines.local_at.min().date(),
        is_new=lines.ordered_at.min() >= start,
        bought_before=(before & ~lines.is_return).any(),
        bought_within=(within & ~lines.is_return).any(),
        spend=micro(lines.amount).sum(where=within),
    )


def _outcomes(lines: ibis.Table, cutoff: AsOf) -> ibis.Table:
    """Collapse lines before the window's end to one row per customer known at the cutoff."""
    orders = _orders(lines, cutoff)
    customers = orders.group_by("customer_id").agg(
        known=orders.bought_before.any(),
        actual_orders=orders.day.nunique(where=orders.is_new & orders.bought_within).cast("float64"),
        actual_spend=units(orders.spend.sum().fill_null(0)),
    )
    return (
        customers.filter(customers.known)
        .mutate(churned=customers.actual_orders == 0)
        .select(*LABEL_COLUMNS)
        .order_by("customer_id")
    )
