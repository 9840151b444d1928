"""Snapshot columns as numbers, always found by name so that a column's place can never change a score."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from perennial.errors import SourceError

Floats = NDArray[np.float64]


def require_columns(snapshot: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise SourceError naming every column the snapshot lacks."""
    missing = [name for name in names if name not in snapshot.columns]
    if missing:
        raise SourceError(
            f"the snapshot lacks the columns {', '.join(missing)}; build it with the features the model was trained on"
        )


def columns_of(snapshot: pd.DataFrame, names: Sequence[str]) -> Floats:
    """Return the named columns as a matrix (n, len(names)), NaN where undefined.

    Raises SourceError naming the columns that are missing, hold no numbers, or hold infinite values.
    """
    names = list(names)
    require_columns(snapshot, names)
    try:
        matrix: Floats = snapshot[names].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        wrong = [name for name in names if not pd.api.types.is_numeric_dtype(snapshot[name])]
        raise SourceError(f"the snapshot's columns {', '.join(wrong)} must hold numbers") from None
    if np.isinf(matrix).any():
        infinite = [name for number, name in enumerate(names) if np.isinf(matrix[:, number]).any()]
        raise SourceError(
            f"the snapshot's columns {', '.join(infinite)} hold infinite values; leave unknown values empty"
        )
    return matrix
