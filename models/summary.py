"""Reading the columns models are fitted on out of a summary, refusing values no purchase history can have."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.matrix import Floats, columns_of, require_columns
from perennial.errors import SourceError

Numbers = npt.NDArray[Any]
"""Whole numbers as they are stored, or float64."""

HISTORY = ("frequency", "recency", "T")


def read_columns(summary: pd.DataFrame, names: Sequence[str]) -> tuple[Floats, ...]:
    """Return the named columns as arrays (n,) of their own; see `columns_of`."""
    return tuple(np.ascontiguousarray(columns_of(summary, names).T))


def read_history(summary: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Return frequency, recency and T, each (n_customers,), with 0 <= recency <= T and whole frequency >= 0."""
    x, t_x, age = (column.astype(np.float64, copy=False) for column in read_stored_history(summary))
    return x, t_x, age


def read_stored_history(summary: pd.DataFrame) -> tuple[Numbers, Numbers, Numbers]:
    """Return the same as `read_history`, whole-number columns in the type and place they are stored in."""
    require_columns(summary, HISTORY)
    x, t_x, age = (_stored(summary, name) for name in HISTORY)
    for name, values in zip(HISTORY, (x, t_x, age), strict=True):
        if len(values) and not (values.min() >= 0 and np.isfinite(values.max())):
            _refuse(summary, name, values, ~np.isfinite(values) | (values < 0), "finite and at least 0")
    if x.dtype.kind == "f":
        _refuse(summary, "frequency", x, x != np.floor(x), "a whole number of repeat purchases")
    _refuse(summary, "recency", t_x, t_x > age, "at most T")
    _refuse(summary, "recency", t_x, (x == 0) & (t_x > 0), "0 where frequency is 0")
    return x, t_x, age


def _stored(summary: pd.DataFrame, name: str) -> Numbers:
    column = summary[name]
    if isinstance(column.dtype, np.dtype) and (column.dtype.kind in "iu" or column.dtype == np.float64):
        return column.to_numpy()
    return columns_of(summary, [name])[:, 0]


def _refuse(summary: pd.DataFrame, name: str, values: Numbers, wrong: npt.NDArray[np.bool_], expected: str) -> None:
    if wrong.any():
        at = int(np.argmax(wrong))
        raise SourceError(
            f"summary column {name} must be {expected}: row {summary.index[at]!r} has {values[at]:g}"
            f" ({int(wrong.sum())} such rows)"
        )
