"""An honest interval around a churn probability: of 100 customers with that probability, how many may leave.

Three things part what is predicted from what comes, and each has its share in the width:

* the calibration map was fitted on so many rows (bootstrap over customers);
* windows differ: how far the pace of buying moved from one closed window to the next is measured, by MBG/NBD calibrated
  on one and judged on the next, so that nothing a tree has learned by heart counts. Where history is shorter than a
  year, the coming season has not been seen, and the pace may move further;
* chance: a hundred customers are no average (Wilson 1927).

The first two act on the pace: with all customers buying ``f`` times as fast, who stays silent with probability ``p``
does so with ``p ** f`` (exact for Poisson purchases). So nobody is given less than 0 or more than 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

from models.calibration import Calibration, fit_map
from models.matrix import Floats
from models.silence import SilenceModel
from perennial.errors import ConvergenceError, InsufficientData

Labels = NDArray[np.bool_]

COVERAGE = 0.90
GROUP = 100  # customers in whose share of leavers the interval is to hold
WHOLE_YEAR_DAYS = 365
# Counts as much as two measured steps. On windows before the hold-outs of Complete Journey, Online Retail and CDNOW the
# pace moved by 6, 12 and 13 % from one to the next; a business with few closed windows is taken to be livelier.
USUAL_STEP, USUAL_WEIGHT = 0.15, 2.0
# House rule: a season never seen moves the pace by 20 % either way at most, in nine cases of ten.
UNSEEN_SEASON = 0.12

_Z = 1.6449  # half of what lies outside COVERAGE, on each side of a normal distribution
_RESAMPLES, _PLACES = 40, 21
_FARTHEST = 3.0  # log pace; twenty times as fast


@dataclass(frozen=True)
class LeaveInterval:
    """Standard deviations of the logarithm of the pace.

    ``windows`` is that of all customers together, ``knots`` are (log odds, that of the map there).
    """

    windows: float
    season_seen: bool
    knots: tuple[tuple[float, float], ...]

    def around(self, probability: Floats, log_odds: Floats) -> tuple[Floats, Floats]:
        """Return lower and upper ends (n,) around calibrated probabilities of log odds (n,)."""
        at, spread = np.array(self.knots).T
        variance = np.interp(log_odds, at, spread) ** 2 + self.windows**2
        faster = np.exp(_Z * np.sqrt(variance))
        few, many = _wilson(probability)
        low = probability - np.hypot(probability - probability**faster, probability - few)
        high = probability + np.hypot(probability ** (1.0 / faster) - probability, many - probability)
        half = 0.5 / GROUP  # customers come whole
        return np.maximum(low - half, 0.0), np.minimum(high + half, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Plain values for an artefact."""
        return {"windows": self.windows, "season_seen": self.season_seen, "knots": [list(knot) for knot in self.knots]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        knots = tuple((float(x), float(spread)) for x, spread in values["knots"])
        return cls(float(values["windows"]), bool(values["season_seen"]), knots)


def fit_interval(
    calibration: Calibration,
    log_odds: Floats,
    labels: Labels,
    steps: Sequence[float],
    *,
    windows: float,
    history_days: float,
    seed: int,
) -> LeaveInterval:
    """Measure the spread of the map on its calibration rows, and of the windows by their steps in log pace.

    ``windows`` is how many windows the horizon takes; steps of a random walk add up.
    """
    squares = USUAL_WEIGHT * USUAL_STEP**2 + float(np.square(steps).sum())
    variance = windows * squares / (USUAL_WEIGHT + len(steps))
    season_seen = history_days >= WHOLE_YEAR_DAYS
    variance += 0.0 if season_seen else UNSEEN_SEASON**2
    return LeaveInterval(float(np.sqrt(variance)), season_seen, _map_spread(calibration, log_odds, labels, seed))


def pace_steps(rows: pd.DataFrame, churned: Labels, window_days: int) -> list[float]:
    """Return by how much, in logs, the pace of each closed window differed from the last one closed before it."""
    labels = pd.Series(churned, index=rows.index)
    cutoffs = {moment: rows.index[rows["as_of"] == moment] for moment in sorted(rows["as_of"].unique())}
    steps = []
    for moment, places in cutoffs.items():
        # a window that spans a change of clocks is an hour short
        closed = [earlier for earlier in cutoffs if moment - earlier >= pd.Timedelta(days=window_days, hours=-1)]
        if not closed:
            continue
        before = cutoffs[closed[-1]]
        try:
            silence = SilenceModel(window_days).fit(rows.loc[before])
        except (InsufficientData, ConvergenceError):
            continue
        fitted = fit_map("platt", silence.log_odds(rows.loc[before]), labels[before].to_numpy())
        expected = fitted.apply(silence.log_odds(rows.loc[places]))
        steps.append(log_pace(expected, labels[places].to_numpy()))
    return steps


def log_pace(expected: Floats, churned: Labels) -> float:
    """Return the log of the pace at which as many as really left would have been expected to."""
    logs = np.log(expected)

    def excess(step: float) -> float:
        return float(np.exp(logs * np.exp(step)).sum() - churned.sum())

    if excess(_FARTHEST) >= 0 or excess(-_FARTHEST) <= 0:
        return float(np.copysign(_FARTHEST, excess(0.0)))
    return float(brentq(excess, -_FARTHEST, _FARTHEST, xtol=1e-9))


def _map_spread(
    calibration: Calibration, log_odds: Floats, labels: Labels, seed: int
) -> tuple[tuple[float, float], ...]:
    rng = np.random.default_rng(seed)
    at = np.unique(np.quantile(log_odds, np.linspace(0.0, 1.0, _PLACES)))
    curves = []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(len(labels), size=len(labels))
        if calibration.method == "identity":  # nothing was fitted: the level alone is uncertain
            expected = calibration.apply(log_odds)
            curves.append(np.full(len(at), log_pace(expected[drawn], labels[drawn])))
        else:
            curves.append(np.log(-np.log(fit_map(calibration.method, log_odds[drawn], labels[drawn]).apply(at))))
    return tuple(zip(at.tolist(), np.std(curves, axis=0).tolist(), strict=True))


def _wilson(probability: Floats) -> tuple[Floats, Floats]:
    """Return between which shares a group of GROUP lies, with the chance of COVERAGE."""
    z2 = _Z**2 / GROUP
    middle = probability + z2 / 2
    width = np.sqrt(z2 * probability * (1.0 - probability) + z2**2 / 4)
    return (middle - width) / (1.0 + z2), (middle + width) / (1.0 + z2)
