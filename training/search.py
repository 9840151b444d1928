"""A time-ordered search for the shape of churn's trees.

Each trial is fitted on cutoffs whose windows had closed when the newest training cutoff came, and judged on that one by
the log loss of its calibrated score. The best trial then meets the shipped shape on the calibration cutoff, later than
every row either has learned from: it is used only when it is better there by more than one standard error of the
paired difference. The hold-out has no say. A number of trials, not of seconds, so that the same rows and settings give
the same shape on any machine.

Reasons must stay cheap (a million customers in a minute): every shape has at most as many leaves in all as the shipped.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from models.calibration import FITTED_MIN_ROWS, cross_validated_losses, simplest_adequate
from models.churn import SHAPE
from models.matrix import Floats
from models.near_horizon import BlendedTrees
from models.silence import SilenceModel
from models.sufficiency import enough_for_trees
from models.trees import Boosting
from perennial.errors import ConvergenceError, InsufficientData

MOST_LEAVES = SHAPE.trees * SHAPE.leaves
TRIALS = 20


@dataclass(frozen=True)
class Search:
    """What a search found: the shape to use, why, and every trial with its log loss (n_trials,)."""

    shape: Boosting
    reason: str
    trials: tuple[Mapping[str, float], ...] = ()

    def to_files(self) -> dict[str, bytes]:
        """Every trial, as a file for the run."""
        body = {"reason": self.reason, "shape": asdict(self.shape), "trials": list(self.trials)}
        return {"search.json": json.dumps(body, indent=2).encode()}


def search(
    learn: pd.DataFrame,
    calibrate: pd.DataFrame,
    features: tuple[str, ...],
    window_days: int,
    *,
    trials: int,
    seed: int,
    num_threads: int,
) -> Search:
    """Look for a better shape than the shipped one; ``learn`` and ``calibrate`` carry ``churned``."""
    newest = learn["as_of"].max()
    judged = learn[learn["as_of"] == newest]
    # a window that spans a change of clocks is an hour short
    closed = learn[learn["as_of"] <= newest - pd.Timedelta(days=window_days, hours=-1)]
    if not (_teaches(closed) and len(judged) >= FITTED_MIN_ROWS and judged["churned"].nunique() == 2):
        return Search(SHAPE, "no search: it needs a second training cutoff whose window closed before the newest one")
    try:
        race = _Race(closed, judged, features, window_days, seed, num_threads)
        final = _Race(learn, calibrate, features, window_days, seed, num_threads)
    except (InsufficientData, ConvergenceError) as error:
        return Search(SHAPE, f"no search: {error}")
    table = _trials(race, trials, seed)
    best = min(table, key=lambda trial: (trial["log_loss"], trial["trial"]))
    found = _shape(best)
    if found == SHAPE:
        return Search(SHAPE, f"the shipped shape was the best of {len(table)} trials", table)
    losses = {shape: final.losses(shape) for shape in (SHAPE, found)}
    won = simplest_adequate(losses) == found
    gain = float((losses[SHAPE] - losses[found]).mean())
    verdict = "used" if won else "not used: less than one standard error"
    return Search(
        found if won else SHAPE,
        f"the best of {len(table)} trials changed log loss on the later window by {-gain:+.4f}; {verdict}",
        table,
    )


class _Race:
    """Shapes fitted on the same rows and judged on the same later ones."""

    def __init__(
        self,
        learn: pd.DataFrame,
        judged: pd.DataFrame,
        features: tuple[str, ...],
        window_days: int,
        seed: int,
        num_threads: int,
    ) -> None:
        self.learn, self.judged, self.features = learn, judged, features
        self.seed, self.num_threads = seed, num_threads
        self.silence = SilenceModel(window_days).fit(learn[learn["as_of"] == learn["as_of"].max()])
        self.churned = learn["churned"].to_numpy(dtype=np.float64)
        self.left = judged["churned"].to_numpy(dtype=np.bool_)

    def losses(self, shape: Boosting) -> Floats:
        """Log loss of each judged row (n,), calibrated across folds of them."""
        trees = BlendedTrees(self.silence, self.num_threads)
        trees.fit(self.learn, self.churned, self.features, shape, self.seed)
        return cross_validated_losses("platt", trees.log_odds(self.judged), self.left, self.seed)


def _trials(race: _Race, trials: int, seed: int) -> tuple[Mapping[str, float], ...]:
    optuna = _optuna()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({name: getattr(SHAPE, name) for name in _SPACE})
    study.optimize(lambda trial: float(race.losses(_asked(trial)).mean()), n_trials=trials)
    return tuple({"trial": t.number, "log_loss": t.value, **asdict(_shape(t.params))} for t in study.trials)


# Around the shipped shape; trees and leaves are held to MOST_LEAVES together.
_SPACE: Mapping[str, tuple[float, float]] = {
    "trees": (40, 240),
    "leaves": (4, 31),
    "learning_rate": (0.015, 0.12),
    "min_leaf_rows": (40, 600),
    "l2": (0.5, 60.0),
    "feature_share": (0.3, 1.0),
    "row_share": (0.5, 0.95),
}


def _asked(trial: Any) -> Boosting:
    asked: dict[str, float] = {}
    for name, (low, high) in _SPACE.items():
        whole = isinstance(getattr(SHAPE, name), int)
        suggest = trial.suggest_int if whole else trial.suggest_float
        asked[name] = suggest(name, low, high, log=not name.endswith("share"))
    return _shape(asked)


def _shape(asked: Mapping[str, float]) -> Boosting:
    chosen = {name: type(getattr(SHAPE, name))(asked[name]) for name in _SPACE}
    trees = min(int(chosen["trees"]), MOST_LEAVES // int(chosen["leaves"]))
    return replace(SHAPE, **{**chosen, "trees": trees})


def _teaches(rows: pd.DataFrame) -> bool:
    left = int(rows["churned"].sum())
    return enough_for_trees(int(rows["customer_id"].nunique()), min(left, len(rows) - left))


def _optuna() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
