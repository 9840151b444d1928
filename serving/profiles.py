"""What a customer's page shows beyond scores, features and months: the latest orders one by one."""

import ibis
import pandas as pd

from features.engine import fetch
from features.occasions import view
from features.records import AsOf, Records
from features.windows import units

LAST_ORDERS = 5


def last_orders(records: Records, as_of: AsOf) -> pd.DataFrame:
    """Return each customer's latest orders as seen at ``as_of``, newest first.

    Returns
    -------
    DataFrame with ``customer_id, order_id, channel`` (str), ``ordered_at`` (datetime64[us, UTC]), ``lines`` (int64, of
    goods bought or returned), ``spend`` (float64, net: negative for a return), at most LAST_ORDERS rows a customer.
    """
    orders = view(records, as_of).orders
    latest = (orders.ordered_at.desc(), orders.order_id.desc())
    ranked = orders.mutate(place=ibis.row_number().over(group_by="customer_id", order_by=latest))
    kept = ranked.filter(ranked.place < LAST_ORDERS)
    lines = kept.lines_bought + kept.lines_returned
    chosen = kept.select("customer_id", "order_id", "channel", "ordered_at", lines=lines, spend=units(kept.net))
    frame = fetch(chosen.order_by("customer_id", ibis.desc("ordered_at"), ibis.desc("order_id")))
    return frame.assign(ordered_at=frame["ordered_at"].dt.tz_localize("UTC"))
