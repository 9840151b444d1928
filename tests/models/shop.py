"""A small shop whose customers really leave: its orders, and labelled snapshots at monthly cutoffs."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from features.records import Records
from features.snapshot import build_snapshot
from features.sources import records_from_frames

HORIZON_DAYS = 30
LAST_DAY = date(2024, 3, 1)


@dataclass(frozen=True)
class Rows:
    """Snapshot rows and what came after them."""

    snapshot: pd.DataFrame
    churned: np.ndarray


class Shop:
    """Customers join over a year, buy at their own pace and may leave after each purchase."""

    def __init__(self, customers: int, seed: int = 11) -> None:
        rng = np.random.default_rng(seed)
        lines = []
        for number in range(customers):
            day, gap, leaves = rng.uniform(0, 360), 4 + rng.gamma(2.0, 8.0), rng.beta(1.0, 12.0)
            while day < 420:
                lines.append((f"c{number:05d}", day, rng.lognormal(3.0, 0.6), f"k{rng.integers(6)}"))
                if rng.random() < leaves:
                    break
                day += rng.exponential(gap)
        frame = pd.DataFrame(lines, columns=["customer_id", "day", "amount", "category"])
        start = pd.Timestamp(LAST_DAY) - pd.Timedelta(days=420)
        self.orders = frame.assign(ordered_at=start + pd.to_timedelta(frame.pop("day"), unit="D").dt.round("s"))
        self.records: Records = records_from_frames({"orders": self.orders})

    def rows(self, windows_back: int) -> Rows:
        """Rows at the cutoff ``windows_back`` horizons before the last day."""
        cutoff = LAST_DAY - timedelta(days=HORIZON_DAYS * windows_back)
        snapshot = build_snapshot(self.records, self.records.as_of(cutoff))
        after = self.orders["ordered_at"] - pd.Timestamp(cutoff)
        window = (after >= pd.Timedelta(0)) & (after < pd.Timedelta(days=HORIZON_DAYS))
        buyers = self.orders.loc[window, "customer_id"]
        return Rows(snapshot, ~snapshot["customer_id"].isin(buyers).to_numpy())


def stacked(parts: list[Rows]) -> Rows:
    return Rows(
        pd.concat([part.snapshot for part in parts], ignore_index=True),
        np.concatenate([part.churned for part in parts]),
    )
