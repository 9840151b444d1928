"""The probability integral transform: at which ranks of what was foretold outcomes came.

Ranks are spread evenly over 0 to 1 where distributions hold. A count takes up a step of its distribution; the
randomised transform draws one rank from it, and here every rank of the step counts in part, which is that draw's mean
(Czado, Gneiting & Held 2009).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from models.clv import ClvModel
from models.matrix import Floats

BINS = 20  # so that a 90 % interval leaves out the first and the last


def transform(model: ClvModel, rows: pd.DataFrame, horizon_days: float) -> Mapping[str, Floats]:
    """Return the share of customers by twentieth of their ranks, (20,) each, of ``orders`` and of ``spend``."""
    outlook, spread = model.outlook(rows, horizon_days=horizon_days), model.spread_.over(horizon_days)
    orders, spend = (rows[f"actual_{amount}"].to_numpy(dtype=np.float64) for amount in ("orders", "spend"))
    paid = np.where(spend > 0, spend, -1.0)  # who paid nothing takes up the whole step of nothing
    return {
        "orders": shares(spread.order_probability(outlook, orders - 1), spread.order_probability(outlook, orders)),
        "spend": shares(
            spread.value_probability(outlook, paid), spread.value_probability(outlook, np.maximum(spend, 0.0))
        ),
    }


def shares(below: Floats, upto: Floats) -> Floats:
    """Return the share of ranks in each twentieth, (20,); an outcome's ranks run from ``below`` to ``upto``."""
    step = upto - below
    whole = np.where(step > 0, step, 1.0)
    reached = [
        float(np.where(step > 0, np.clip((edge - below) / whole, 0, 1), edge >= upto).mean())
        for edge in np.linspace(0, 1, BINS + 1)
    ]
    return np.diff([0.0, *reached[1:-1], 1.0])
