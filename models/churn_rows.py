"""What a churn fit asks of its rows before it learns from them."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from models.matrix import require_columns
from models.silence import DRIVERS, SUMMARY
from perennial.errors import InsufficientData

Labels = NDArray[np.bool_]


def labels_of(X: pd.DataFrame, y: ArrayLike) -> Labels:
    """Return the labels (n,) of rows; ValueError unless each row has one."""
    values = np.asarray(y)
    if values.shape != (len(X),) or not np.isin(values, (0, 1)).all():
        raise ValueError(f"labels must be {len(X)} values of 0 or 1, one a snapshot row; got shape {values.shape}")
    return values.astype(np.bool_)


def check_rows(X: pd.DataFrame, later: pd.DataFrame) -> None:
    """Raise unless there is something to learn from, and later rows to calibrate on."""
    for rows in (X, later):
        require_columns(rows, ("customer_id", "as_of", *DRIVERS, *SUMMARY))
    if X["customer_id"].nunique() < 2 or later.empty:
        raise InsufficientData(
            f"churn: {X['customer_id'].nunique()} customers to learn from and {len(later)} to calibrate on; "
            "more customers or more history are needed"
        )
    if X["frequency"].max() == 0:
        raise InsufficientData(
            "churn: every customer has bought on one day only, so nothing shows how often they return; add history"
        )
    if later["as_of"].min() <= X["as_of"].max():
        raise ValueError(
            f"calibration rows start at {later['as_of'].min():%Y-%m-%d}, training rows end at "
            f"{X['as_of'].max():%Y-%m-%d}; calibrate on a later snapshot"
        )


def check_labels(labels: Labels) -> None:
    """Raise where everybody did the same."""
    if labels.all() or not labels.any():
        who = "nobody" if labels.all() else "everybody"
        raise InsufficientData(f"churn: {who} bought within the horizon, nothing to tell apart; try another horizon")
