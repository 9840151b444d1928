"""Columns that may have told the outcome before a model could: known only after the fact, or the label in disguise.

Rules, on each column alone (its own rates in folds it was not counted in, so that no order or shape is assumed):

* **gives the label away**: alone it ranks with an AUC of ``REFUSED_AUC`` or more. Training refuses.
* **stands out**: alone it ranks with ``OUTSTANDING_AUC`` or more, and its distance from guessing is
  ``OUTSTANDING_TIMES`` that of the next column. Up to ``MOST_OUTSTANDING`` columns may stand out together.
* **decides**: where its value lies in some range, or is missing, one outcome never came though ``DECIDED_ROWS`` or more
  were expected, and leaving the column out costs the model ``IMPLAUSIBLE_STEP`` of AUC or more.

The last two are suspects: they are told, and the `train` command says how to leave them out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.table_churn import Labels
from models.table_columns import Column, Columns, numbers, texts
from training.metrics import Floats, auc

REFUSED_AUC = 0.98
OUTSTANDING_AUC, OUTSTANDING_TIMES, MOST_OUTSTANDING = 0.75, 1.5, 3
DECIDED_ROWS = 20.0
IMPLAUSIBLE_STEP = 0.05
TESTED = 3  # leaving one out means fitting again: only the strongest columns are tried
PARTS = 50
Ranges = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Alone:
    """What one column says of the label without the others; ``decided`` names the range that decides, if any."""

    name: str
    auc: float
    decided: str


def alone(table: pd.DataFrame, columns: Columns, labels: Labels, fold: npt.NDArray[np.intp]) -> list[Alone]:
    """Return every column on its own, the strongest first."""
    found = []
    for column in columns.columns:
        part, names = _parts(column, table[column.name])
        found.append(Alone(column.name, _auc(part, labels, fold), _decided(part, names, labels)))
    return sorted(found, key=lambda one: -one.auc)


def giveaways(ranked: Sequence[Alone]) -> list[Alone]:
    """Return the columns that give the label away."""
    return [one for one in ranked if one.auc >= REFUSED_AUC]


def suspects(ranked: Sequence[Alone], without: Callable[[str], float], whole: float) -> list[str]:
    """Return a sentence for each suspect.

    Parameters
    ----------
    without : the AUC of a model that lacks a column
    whole : the AUC of the same model with every column
    """
    outstanding = _outstanding(ranked)
    told = []
    for one in ranked[:TESTED]:
        reasons = []
        if one.name in outstanding:
            reasons.append(
                f"alone it ranks with an AUC of {one.auc:.3f}, the next column with {outstanding[one.name]:.3f}"
            )
        if one.decided and (step := whole - without(one.name)) >= IMPLAUSIBLE_STEP:
            reasons.append(f"{one.decided}; the model loses {step:.3f} of AUC without it")
        if reasons:
            told.append(f"{one.name} may be known only after the fact: {'; '.join(reasons)}")
    return told


def _outstanding(ranked: Sequence[Alone]) -> dict[str, float]:
    """Return the columns that stand out, with the AUC of the next that does not."""
    above = [one.auc - 0.5 for one in ranked]
    for count in range(min(MOST_OUTSTANDING, len(ranked) - 1), 0, -1):
        if above[count - 1] + 0.5 >= OUTSTANDING_AUC and above[count - 1] >= OUTSTANDING_TIMES * above[count]:
            return {one.name: ranked[count].auc for one in ranked[:count]}
    return {}


def _parts(column: Column, values: pd.Series) -> tuple[Ranges, list[str]]:
    """Return the range of values each row lies in (n,), and the ranges' names; a missing value is a range."""
    if column.kind == "category":
        part, distinct = pd.factorize(texts(values))
        names = [f"where it is {value!r}" for value in distinct]
    else:
        number = numbers(values)
        cuts = np.unique(np.nanquantile(number, np.linspace(0, 1, PARTS + 1)[1:], method="higher"))
        part = np.where(np.isnan(number), -1, np.searchsorted(cuts, number, side="left"))
        edges = ["lowest", *(f"{cut:g}" for cut in cuts)]
        names = [f"where it is from {low} to {high}" for low, high in pairwise(edges)]
    return np.where(part < 0, len(names), part), [*names, "where it is missing"]


def _auc(part: Ranges, labels: Labels, fold: npt.NDArray[np.intp]) -> float:
    """AUC of each range's rate of the label in the other folds."""
    size, base = int(part.max()) + 1, labels.mean()
    rows, came = np.bincount(part, minlength=size), np.bincount(part, labels, minlength=size)
    rate = np.empty(len(labels))
    for number in range(int(fold.max()) + 1):
        held = fold == number
        others = rows - np.bincount(part[held], minlength=size)
        positive = came - np.bincount(part[held], labels[held], minlength=size)
        rate[held] = ((positive + base) / (others + 1))[part[held]]
    return auc(labels.astype(np.float64), rate, np.ones(len(labels)))


def _decided(part: Ranges, names: Sequence[str], labels: Labels) -> str:
    rows, came = np.bincount(part, minlength=len(names)), np.bincount(part, labels, minlength=len(names))
    base = float(labels.mean())
    for never, expected, word in ((came == 0, rows * base, "churned"), (came == rows, rows * (1 - base), "stayed")):
        surprise: Floats = np.where(never, expected, 0.0)
        if surprise.max() >= DECIDED_ROWS:
            at = int(surprise.argmax())
            return f"{names[at]}, none of {rows[at]:,} rows {word}, {surprise[at]:,.0f} were expected"
    return ""
