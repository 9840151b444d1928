"""How far inputs and scores have moved since the training, in effect sizes that do not grow with the number of rows.

A feature has moved when its population stability index (PSI) is at least 0.1 (Siddiqi 2006: moderate; from 0.25
large) and clearly more than it moved between the training's own cutoffs over as many days: an age grows by a day a day,
and campaigns come and go. How urgent that is depends on how much the model leans on what moved.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from models.churn import ChurnModel
from models.matrix import columns_of
from models.reference import Distribution, Reference, Shift
from models.silence import BTYD_FEATURES, DRIVERS
from training.health import Limits, Status
from training.metrics import Floats

Predict = Callable[[pd.DataFrame], Floats]

PSI = Limits(warn=0.1, alert=0.25)
CLEARLY = 1.5  # times the usual movement
WEIGHT = Limits(warn=0.01, alert=0.10)  # of what moves the predictions
SAMPLE = 5_000  # rows of a cutoff that say how far it is from another
EXPLAINED = 1_000  # rows that say what the model leans on


@dataclass(frozen=True, slots=True)
class Moved:
    """One feature or score against its reference; ``usual`` is the PSI that its training saw over as many days."""

    name: str
    shift: Shift
    usual: float
    weight: float
    status: Status

    @property
    def size(self) -> float:
        """PSI."""
        return self.shift.psi


def reference(
    latest: pd.DataFrame, earlier: pd.DataFrame, features: Sequence[str], score: str, predict: Predict
) -> Reference:
    """Describe the latest snapshot's features and the score of its rows; ``earlier`` are the training's cutoffs."""

    def scored(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[["as_of", *features]].assign(**{score: predict(rows)})

    past = [scored(_some(rows, SAMPLE)) for _, rows in earlier.groupby("as_of", sort=True)]
    whole = scored(latest)
    usual = _usual([*past, _some(whole, SAMPLE)], [*features, score])
    own = {name: replace(Distribution.of(_values(whole, name)), usual=usual[name]) for name in (*features, score)}
    return Reference({name: own[name] for name in features}, {score: own[score]})


def leant_on(found: Reference, model: ChurnModel, rows: pd.DataFrame) -> Reference:
    """Return the reference with every feature's weight: its mean absolute share in the log odds of some rows."""
    moves = np.abs(model.contributions(_some(rows, EXPLAINED))).mean(axis=0)
    weight = dict(zip(model.feature_names_, (moves / max(moves.sum(), 1e-12)).tolist(), strict=True))
    for driver in DRIVERS:  # what the purchases model says is made of these
        weight[driver] += sum(weight.get(name, 0.0) for name in BTYD_FEATURES) / len(DRIVERS)
    features = {name: replace(kept, weight=weight.get(name, 0.0)) for name, kept in found.features.items()}
    return replace(found, features=features)


def features_moved(found: Reference, snapshot: pd.DataFrame, days: int) -> tuple[Moved, ...]:
    """Compare a snapshot so many days after the training's, the largest movement first."""
    compared = [_moved(name, kept, _values(snapshot, name), days) for name, kept in found.features.items()]
    return tuple(sorted(compared, key=lambda moved: (-moved.status, -moved.size)))


def score_moved(name: str, kept: Distribution, values: Floats, days: int) -> Moved:
    """Compare scores (n,) with those of the training's day; nothing weighs more."""
    return _moved(name, replace(kept, weight=1.0), values, days)


def features_status(moved: tuple[Moved, ...]) -> Status:
    """Grade what moved by how much of the model leans on it; what moved moderately is never more than worth a look."""
    weight = {status: sum(found.weight for found in moved if found.status >= status) for status in Status}
    far, any_far = WEIGHT.grade(weight[Status.ALERT]), WEIGHT.grade(weight[Status.WARN])
    return max(far, min(any_far, Status.WARN))


def _moved(name: str, kept: Distribution, values: Floats, days: int) -> Moved:
    shift, usual = kept.shift(values), kept.usual_over(days)
    status = PSI.grade(shift.psi) if shift.psi > CLEARLY * usual else Status.OK
    return Moved(name, shift, usual, kept.weight, status)


def _usual(cutoffs: Sequence[pd.DataFrame], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the largest PSI by days apart: of neighbouring cutoffs, and of each cutoff and the latest."""
    pairs = [*pairwise(cutoffs), *((rows, cutoffs[-1]) for rows in cutoffs[:-2])]
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for before, after in pairs:
        days = str(round((after["as_of"].iloc[0] - before["as_of"].iloc[0]) / pd.Timedelta(days=1)))
        for name in names:
            psi = Distribution.of(_values(before, name)).shift(_values(after, name)).psi
            found[name][days] = max(psi, found[name].get(days, 0.0))
    return found


def _some(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    return rows if len(rows) <= most else rows.sample(most, random_state=0)


def _values(rows: pd.DataFrame, name: str) -> Floats:
    return columns_of(rows, (name,))[:, 0]
