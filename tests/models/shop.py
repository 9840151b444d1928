"""A small shop whose customers really leave: its orders, and labelled snapshots at monthly cutoffs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import numpy as np
import pandas as pd

from features.snapshot import build_snapshot
from features.sources import records_from_frames

HORIZON_DAYS = 30
LAST_DAY = date(2024, 3, 1)


MONTHS_BACK = range(1, 7)
CUSTOMERS = 1000


@dataclass(frozen=True)
class Rows:
    """Snapshot rows and what came after them."""

    snapshot: pd.DataFrame
    churned: np.ndarray


def order_log() -> pd.DataFrame:
    """Customers join over a year, buy at their own pace and may leave after each purchase."""
    rng = np.random.default_rng(11)
    lines = []
    for number in range(CUSTOMERS):
        day, gap, leaves = rng.uniform(0, 360), 4 + rng.gamma(2.0, 8.0), rng.beta(1.0, 12.0)
        while day < 420:
            lines.append((f"c{number:05d}", day, rng.lognormal(3.0, 0.6), f"k{rng.integers(6)}"))
            if rng.random() < leaves:
                break
            day += rng.exponential(gap)
    frame = pd.DataFrame(lines, columns=["customer_id", "day", "amount", "category"])
    start = pd.Timestamp(LAST_DAY) - pd.Timedelta(days=420)
    return frame.assign(ordered_at=start + pd.to_timedelta(frame.pop("day"), unit="D").dt.round("s"))


@cache
def every_month() -> dict[int, Rows]:
    """Rows at each cutoff, by months before the last day; one pass over the log, once a test run."""
    orders = order_log()
    records = records_from_frames({"orders": orders})
    days = {back: LAST_DAY - timedelta(days=HORIZON_DAYS * back) for back in MONTHS_BACK}
    stacked_rows = build_snapshot(records, [records.as_of(day) for day in days.values()])
    months = {}
    for back, day in days.items():
        snapshot = stacked_rows[stacked_rows["as_of"] == pd.Timestamp(day, tz="UTC")].reset_index(drop=True)
        after = orders["ordered_at"] - pd.Timestamp(day)
        window = (after >= pd.Timedelta(0)) & (after < pd.Timedelta(days=HORIZON_DAYS))
        buyers = orders.loc[window, "customer_id"]
        months[back] = Rows(snapshot, ~snapshot["customer_id"].isin(buyers).to_numpy())
    return months


def month(back: int, customers: int = CUSTOMERS) -> Rows:
    """Rows of the first ``customers`` customers at the cutoff ``back`` months before the last day."""
    rows = every_month()[back]
    chosen = (rows.snapshot["customer_id"] < f"c{customers:05d}").to_numpy()
    return Rows(rows.snapshot[chosen].reset_index(drop=True), rows.churned[chosen])


def months(backs: Sequence[int], customers: int = CUSTOMERS) -> Rows:
    """Rows of several cutoffs, stacked."""
    parts = [month(back, customers) for back in backs]
    return Rows(
        pd.concat([part.snapshot for part in parts], ignore_index=True),
        np.concatenate([part.churned for part in parts]),
    )
