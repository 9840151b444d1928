"""Sums over groups of customers, added up part by part, with the interval that each sum will lie in."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.matrix import Floats
from models.outlook import Common


class Sums:
    """Means and variances of independent customers, summed by group; ``groups`` (n_customers,) are their names."""

    def __init__(self, groups: npt.NDArray[np.generic]) -> None:
        self._names, self._codes = np.unique(groups, return_inverse=True)
        self._means: dict[str, Floats] = {}
        self._variances: dict[str, Floats] = {}

    def add(self, rows: slice, amount: str, means: Floats, variances: Floats) -> None:
        """Add what the customers of ``rows`` are expected to bring, (n_rows,) each."""
        for sums, values in ((self._means, means), (self._variances, variances)):
            part = np.asarray(np.bincount(self._codes[rows], values, len(self._names)), dtype=np.float64)
            sums[amount] = sums[amount] + part if amount in sums else part

    def ranges(self, commons: Mapping[str, Common]) -> pd.DataFrame:
        """Return one row per group: ``customers``, and every amount with its 5th and 95th percentile."""
        columns: dict[str, npt.NDArray[np.generic]] = {
            "customers": np.bincount(self._codes, minlength=len(self._names))
        }
        for amount, means in self._means.items():
            ranges = [
                commons[amount].range(mean, variance)
                for mean, variance in zip(means.tolist(), self._variances[amount].tolist(), strict=True)
            ]
            low, high = np.array(ranges).reshape(-1, 2).T
            columns |= {amount: means, f"{amount}_low": low, f"{amount}_high": high}
        return pd.DataFrame(columns, index=pd.Index(self._names, name="group"))
