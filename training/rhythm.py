"""Churn by each customer's own rhythm: silent at the window's end for longer than nine in ten of the own gaps."""

import numpy as np
import pandas as pd

from models.definition import LEAST_GAPS, Definition
from models.matrix import Floats, columns_of
from perennial.errors import InsufficientData

LEAST_RHYTHMS = 50  # customers with gaps enough, so that a typical rhythm can be lent to the others


def label_by_rhythm(rows: pd.DataFrame, silences: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with ``churned``: whether the customer was gone at the end of the row's window.

    ``rows`` are snapshot rows of one or more cutoffs; ``silences`` say ``silent_days`` by ``as_of`` and ``customer_id``
    (`training.labels.silence_at_end`). Each cutoff lends its own typical rhythm; early cutoffs at which too few
    customers show one are left out.

    Raises
    ------
    InsufficientData
        When at no cutoff enough customers show a rhythm.
    """
    labelled, refusals = [], []
    for _, at_cutoff in rows.merge(silences, on=["as_of", "customer_id"], validate="one_to_one").groupby("as_of"):
        try:
            gone = at_cutoff["silent_days"].to_numpy(dtype=np.float64) > rhythm_days(at_cutoff)
        except InsufficientData as refusal:
            refusals.append(refusal)
            continue
        labelled.append(at_cutoff.drop(columns="silent_days").assign(churned=gone))
    if not labelled:
        raise refusals[-1]
    return pd.concat(labelled, ignore_index=True)


def rhythm_days(rows: pd.DataFrame) -> Floats:
    """Return the silence (n,) beyond which each customer of one cutoff counts as gone.

    The customer's own 90th percentile of gaps, or the median of the others' where there are fewer than `LEAST_GAPS`.

    Raises
    ------
    InsufficientData
        When fewer than `LEAST_RHYTHMS` customers have a rhythm of their own.
    """
    gaps, own = columns_of(rows, ("frequency", "gap_p90_days")).T
    known = gaps >= LEAST_GAPS
    if known.sum() < LEAST_RHYTHMS:
        raise InsufficientData(
            f"{Definition.PERSONAL}: {known.sum()} customers have bought on more than {LEAST_GAPS} days and show a "
            f"rhythm, {LEAST_RHYTHMS} are needed; use {Definition.NO_PURCHASE} or add history"
        )
    return np.asarray(np.where(known, own, np.median(own[known])), dtype=np.float64)
