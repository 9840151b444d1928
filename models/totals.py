"""Sums over groups of customers, with the interval that each sum will lie in."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.matrix import Floats
from models.outlook import Common

# What is summed, by the column that holds what is expected of a customer.
AMOUNTS: Mapping[str, str] = MappingProxyType({"orders": "expected_orders", "spend": "expected_spend", "clv": "clv"})
# How far each may be off, one customer apart from all others: `ClvModel.predict` says how that adds up.
DEVIATIONS: tuple[str, ...] = tuple(f"{amount}_deviation" for amount in AMOUNTS)


def total_by(groups: npt.ArrayLike, predicted: pd.DataFrame, commons: Mapping[str, Common]) -> pd.DataFrame:
    """Return one row per group, sorted: ``customers``, and every amount with its 5th and 95th percentile.

    ``groups`` (n_customers,) names the group of each row of ``predicted``, which holds the columns of `AMOUNTS` and
    `DEVIATIONS`; ``commons`` says how far each amount may be off for all customers at once.
    """
    names, codes = np.unique(np.asarray(groups), return_inverse=True)

    def sums(values: Floats) -> list[float]:
        return [float(total) for total in np.bincount(codes, values, len(names))]

    columns: dict[str, npt.ArrayLike] = {"customers": np.bincount(codes, minlength=len(names))}
    for amount, column in AMOUNTS.items():
        means, deviations = (predicted[name].to_numpy(dtype=np.float64) for name in (column, f"{amount}_deviation"))
        expected = sums(means)
        ranges = map(commons[amount].range, expected, sums(deviations**2))
        low, high = np.array(list(ranges)).reshape(-1, 2).T
        columns |= {amount: expected, f"{amount}_low": low, f"{amount}_high": high}
    return pd.DataFrame(columns, index=pd.Index(names, name="group"))
