"""A customer's purchases over time, for people to look at."""

import pandas as pd

from features.engine import fetch
from features.occasions import view
from features.records import AsOf, Records
from features.windows import units


def monthly_history(records: Records, as_of: AsOf) -> pd.DataFrame:
    """Return purchase occasions and net spend per customer and local calendar month before ``as_of``.

    Returns
    -------
    DataFrame with ``customer_id`` (str), ``month`` (date, its first day), ``orders`` (int64),
    ``spend`` (float64), sorted by customer and month; months without an order or return are left out.
    """
    orders = view(records, as_of).orders
    day = orders.local_at.date()
    days = orders.mutate(day=day, month=day.truncate("month"))
    months = days.group_by("customer_id", "month").aggregate(
        orders=days.day.nunique(where=days.lines_bought > 0), spend=units(days.net.sum())
    )
    return fetch(months.order_by("customer_id", "month"))
