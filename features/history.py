"""A customer's purchases over time, for people to look at."""

import ibis
import pandas as pd

from features.occasions import view
from features.records import AsOf, Records


def monthly_history(records: Records, as_of: AsOf) -> pd.DataFrame:
    """Return purchase occasions and net spend per customer and local calendar month before ``as_of``.

    Returns
    -------
    DataFrame with ``customer_id`` (str), ``month`` (datetime64[us], first day of the month), ``orders`` (int64),
    ``spend`` (float64), sorted by customer and month; months without an order or return are left out.
    """
    orders = view(records, [as_of]).orders
    days = orders.mutate(day=orders.local_at.date())
    days = days.mutate(month=days.day.truncate("month"))
    months = days.group_by("customer_id", "month").aggregate(
        orders=days.day.nunique(where=days.lines_bought > 0), spend=days.net.sum().cast("float64") / 1e6
    )
    frame: pd.DataFrame = months.order_by("customer_id", ibis.asc("month")).execute()
    frame["month"] = pd.to_datetime(frame["month"]).astype("datetime64[us]")
    return frame
