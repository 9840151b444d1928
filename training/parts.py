"""Parts of the judged customers, large enough to be judged alone: kinds of customers, and groups for fairness."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.context import attributes_of
from models.segments import SegmentModel
from perennial.errors import InsufficientData
from training.dataset import Data
from training.level import LEAST_CUSTOMERS
from training.slices import SLICES

Mask = npt.NDArray[np.bool_]
POOLED = "other or unknown"


def standing(rows: pd.DataFrame) -> pd.DataFrame:
    """Return value tier and lifecycle stage of snapshot rows (n, `SLICES`), by thresholds learned from them.

    No column is there when the rows teach no thresholds.
    """
    try:
        return SegmentModel().fit(rows).predict(rows)[list(SLICES)]
    except InsufficientData:
        return rows[[]]


def groups(data: Data) -> pd.DataFrame:
    """Return the word of each judged customer for every attribute named for fairness (n, attributes).

    Words that fewer than `LEAST_CUSTOMERS` share, and customers of whom none is known, are `POOLED`.
    """
    named = data.records.fairness
    if not named:
        return data.heldout[[]]
    known = attributes_of(data.records, data.holdout, named)
    words = data.heldout[["customer_id"]].merge(known, on="customer_id", how="left")[list(named)]
    return pd.DataFrame({name: _pooled(words[name]) for name in named})


def parts_of(data: Data) -> dict[str, Mask]:
    """Return who belongs to each large part (n,), by what people call it; a customer belongs to several."""
    kinds = standing(data.heldout)
    tiers = kinds.agg(", ".join, axis=1).str.replace("_", " ") if len(kinds.columns) else pd.Series(dtype="str")
    words = {name: f"{name} " + word for name, word in groups(data).items()}
    return dict(part for column in (tiers, *words.values()) for part in large(column))


def large(words: pd.Series) -> Iterator[tuple[str, Mask]]:
    """Yield every word that enough rows share, in order, with who has it."""
    for word, count in words.value_counts().sort_index().items():
        if count >= LEAST_CUSTOMERS:
            yield str(word), (words == word).to_numpy(dtype=bool)


def _pooled(words: pd.Series) -> pd.Series:
    often = words.map(words.value_counts()).fillna(0) >= LEAST_CUSTOMERS
    return words.where(often, POOLED)
