"""Logistic regression on columns of any scale: the simple model beside the trees."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController

from models.matrix import Floats

TAILS = (0.01, 0.99)  # an outlier would speak louder than its kind: values end at these quantiles


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@dataclass(frozen=True, slots=True)
class Linear:
    """Log odds that add up over standardised columns; an unknown value counts as the column's middle.

    One entry a column: ``low`` and ``high`` end its values, ``middle`` replaces unknown ones, ``mean`` is taken off
    and ``weight`` is per unit.
    """

    intercept: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    middle: tuple[float, ...]
    mean: tuple[float, ...]
    weight: tuple[float, ...]

    @classmethod
    def fit(cls, matrix: Floats, labels: NDArray[np.bool_]) -> Self:
        """Fit with a ridge prior of standard deviation 1 on standardised columns."""
        low, high = np.nanquantile(matrix, TAILS, axis=0)
        # a mark that few rows carry is no outlier
        marks = np.isin(matrix, (0.0, 1.0)).all(axis=0)
        low, high = np.where(marks, 0.0, low), np.where(marks, 1.0, high)
        middle = np.nanmedian(matrix, axis=0)
        clipped = np.clip(np.where(np.isnan(matrix), middle, matrix), low, high)
        mean, spread = clipped.mean(axis=0), clipped.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        with _libraries().limit(
            limits=1, user_api="blas"
        ):  # threads wait for each other longer than they help, and sum in any order
            fitted = LogisticRegression(C=1.0, max_iter=500).fit((clipped - mean) / spread, labels)
        values = (low, high, middle, mean, fitted.coef_[0] / spread)
        return cls(float(fitted.intercept_[0]), *(tuple(map(float, column)) for column in values))

    def shares(self, matrix: Floats) -> Floats:
        """Additive shares (n, n_columns) of the log odds, measured from the mean row."""
        known = np.where(np.isnan(matrix), self.middle, matrix)
        return np.asarray((np.clip(known, self.low, self.high) - self.mean) * np.array(self.weight))

    def log_odds(self, matrix: Floats) -> Floats:
        """Log odds (n,)."""
        return np.asarray(self.intercept + self.shares(matrix).sum(axis=1))

    def to_json(self) -> dict[str, Any]:
        """Plain values for an artefact."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        columns = {name: tuple(map(float, values[name])) for name in ("low", "high", "middle", "mean", "weight")}
        return cls(intercept=float(values["intercept"]), **columns)
