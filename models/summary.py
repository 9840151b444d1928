"""Reading the columns models are fitted on out of a summary, refusing values no purchase history can have."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.matrix import Floats, columns_of
from perennial.errors import SourceError


def read_columns(summary: pd.DataFrame, names: Sequence[str]) -> tuple[Floats, ...]:
    """Return the named columns as arrays (n,) of their own; see `columns_of`."""
    return tuple(np.ascontiguousarray(columns_of(summary, names).T))


def read_history(summary: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Return frequency, recency and T, each (n_customers,), with 0 <= recency <= T and whole frequency >= 0."""
    x, t_x, age = read_columns(summary, ("frequency", "recency", "T"))
    for name, values in (("frequency", x), ("recency", t_x), ("T", age)):
        _refuse(summary, name, values, ~np.isfinite(values) | (values < 0), "finite and at least 0")
    _refuse(summary, "frequency", x, x != np.floor(x), "a whole number of repeat purchases")
    _refuse(summary, "recency", t_x, t_x > age, "at most T")
    _refuse(summary, "recency", t_x, (x == 0) & (t_x > 0), "0 where frequency is 0")
    return x, t_x, age


def _refuse(summary: pd.DataFrame, name: str, values: Floats, wrong: npt.NDArray[np.bool_], expected: str) -> None:
    if wrong.any():
        at = int(np.argmax(wrong))
        raise SourceError(
            f"summary column {name} must be {expected}: row {summary.index[at]!r} has {values[at]:g}"
            f" ({int(wrong.sum())} such rows)"
        )
