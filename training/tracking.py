"""Does the purchase model keep track: repeat purchases expected and come, in the past it learned from and after it."""

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.engine import fetch
from features.occasions import view
from models.purchase_model import PurchaseModel
from models.purchases import ModifiedBetaGeoModel
from training import value_plots
from training.dataset import Data

Floats = npt.NDArray[np.float64]

FEWEST_BINS, MOST_BINS = 7, 20


def pictures(model: PurchaseModel, data: Data) -> dict[str, bytes]:
    """Draw what came against what the model expects, day by day, week by week and customer by customer."""
    day, came, expected, cutoff_day = _by_day(model, data)
    return {
        "cumulative_tracking.png": value_plots.cumulative_tracking(
            day, np.cumsum(came), np.cumsum(expected), cutoff_day
        ),
        "incremental_tracking.png": value_plots.incremental_tracking(came, expected, cutoff_day),
        "frequency_bins.png": _bins(model, data.heldout, data.horizon_days),
    }


def past_purchases(model: PurchaseModel, served: Floats, data: Data) -> bytes:
    """Draw what came by how often customers had bought again, beside what model and scores expected."""
    rows = data.heldout
    before = rows["frequency"].clip(upper=FEWEST_BINS).to_numpy(dtype=np.int64)
    columns = {
        "came": rows["actual_orders"].to_numpy(dtype=np.float64),
        "expected": model.predict_purchases(rows, horizon_days=data.horizon_days),
        "served": served,
    }
    means = pd.DataFrame(columns).groupby(before).mean()
    label = [f"{number}+" if number == FEWEST_BINS else str(number) for number in means.index]
    came, expected, told = (means[name].to_numpy() for name in columns)
    return value_plots.past_purchases(label, came, expected, told, data.horizon_days)


def alive_grid(model: ModifiedBetaGeoModel, rows: pd.DataFrame) -> tuple[Floats, Floats, Floats, float]:
    """Return recency (days), frequency, P(alive) for each of both, (n_frequency, n_recency), and the age in days.

    The age is the greatest among the rows, the frequency runs to its 95th percentile.
    """
    age = float(rows["T"].max())
    frequency = np.arange(1 + max(int(rows["frequency"].quantile(0.95)), 10), dtype=np.float64)
    recency = np.linspace(0, age, 121)
    x, t_x = (grid.ravel() for grid in np.meshgrid(frequency, recency, indexing="ij"))
    possible = np.where(x > 0, t_x, 0.0)
    grid = pd.DataFrame({"frequency": x, "recency": possible, "T": age})
    alive = model.predict_alive(grid).reshape(len(frequency), len(recency))
    return recency, frequency, alive, age


def _bins(model: PurchaseModel, rows: pd.DataFrame, horizon_days: int) -> bytes:
    orders = rows["actual_orders"].to_numpy(dtype=np.float64)
    last = int(np.clip(np.quantile(orders, 0.95), FEWEST_BINS, MOST_BINS))
    below = model.predict_purchase_distribution(rows, horizon_days=horizon_days, max_count=last - 1).sum(axis=0)
    came = np.bincount(np.minimum(orders, last).astype(np.int64), minlength=last + 1).astype(np.float64)
    return value_plots.frequency_bins(came, np.append(below, len(rows) - below.sum()), horizon_days)


def _by_day(model: PurchaseModel, data: Data) -> tuple[Floats, Floats, Floats, float]:
    """Return days since the log's first purchase, repeat occasions that came and that were expected, and the cutoff.

    Only customers known at the cutoff count.
    """
    births, repeats = _births_and_repeats(data)
    first, last = births.index[0], pd.Timestamp(data.end.day - timedelta(days=1))
    days = (last - first).days + 1
    born, again = (_daily(counts, first, days) for counts in (births, repeats))
    newborn = pd.DataFrame({"frequency": [0.0], "recency": [0.0], "T": [0.0]})
    by_age = [float(model.predict_purchases(newborn, horizon_days=age)[0]) for age in range(days)]
    expected = np.convolve(born, np.diff(by_age, prepend=0.0))[:days]
    return np.arange(days, dtype=np.float64), again, expected, float((pd.Timestamp(data.holdout.day) - first).days)


def _births_and_repeats(data: Data) -> tuple["pd.Series[int]", "pd.Series[int]"]:
    occasions = view(data.records, data.end).occasions
    first = occasions.group_by("customer_id").agg(first=occasions.day.min())
    known = first.filter(first["first"] < data.holdout.day)
    later = occasions.join(known, "customer_id").filter(lambda table: table.day > table["first"])
    births = fetch(known.group_by(day="first").agg(count=known.count()))
    repeats = fetch(later.group_by("day").agg(count=later.count()))
    return _series(births), _series(repeats)


def _series(counts: pd.DataFrame) -> "pd.Series[int]":
    days = pd.DatetimeIndex(pd.to_datetime(counts["day"]))
    return pd.Series(counts["count"].to_numpy(), index=days).sort_index()


def _daily(counts: "pd.Series[int]", first: pd.Timestamp, days: int) -> Floats:
    place = (pd.DatetimeIndex(counts.index) - first).days.to_numpy()
    daily = np.zeros(days)
    daily[place] = counts.to_numpy()
    return daily
