"""Churn over a horizon longer than any closed window: learned over the longest, reached by extrapolation.

As in `models.demand`, two boosted heads learn P(no purchase) over the window from the snapshot and what a purchases
model says of the same customer: one outright, one on top of the purchases model's own log odds. The first is carried to
the horizon by the difference that the purchases model sees between the two, the second starts from its log odds at the
horizon; the mean of both is predicted. Which is better differs by business, and on inner origins of CDNOW, Online
Retail and Complete Journey the mean ranked as well as the better one (`python -m benchmarks.far_horizon`). Nothing is
calibrated, for no window of that length has closed: in CDNOW's growing cohort calibrating over the window and carrying
the result further ranked worse (AUC .706 against .713).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from models.matrix import Floats, columns_of
from models.openmp import read_booster
from models.shares import TreeShares
from models.silence import BTYD_FEATURES, DRIVERS, SilenceModel
from models.trees import Boosting, grow
from perennial.errors import ConvergenceError, InsufficientData

LEVEL_FILE, FACTOR_FILE = "far_level.txt", "far_factor.txt"
HEADS = (LEVEL_FILE, FACTOR_FILE)


class FarHeads:
    """Log odds of no purchase within ``horizon_days`` from what followed over ``window_days``.

    Learned: ``feature_names_`` and one booster per file of `HEADS`. ``silence`` is the purchases model fitted on the
    latest histories known.
    """

    def __init__(self, silence: SilenceModel, horizon_days: int, num_threads: int) -> None:
        self.silence = silence
        self.horizon_days = horizon_days
        self.num_threads = num_threads

    def fit(self, learned: pd.DataFrame, churned: Floats, names: Sequence[str], shape: Boosting, seed: int) -> Self:
        """Fit on labelled rows of one or more cutoffs; ``names`` are the columns that the trees may use.

        Raises
        ------
        InsufficientData
            When at no cutoff a purchases model could be fitted.
        """
        at, said = self._said_at_each_cutoff(learned)
        matrix = np.column_stack([columns_of(learned.iloc[at], names), said])
        self.feature_names_ = (*names, *BTYD_FEATURES)
        boosters = {
            file: grow(
                matrix,
                churned[at],
                shape,
                objective="binary",
                seed=seed,
                num_threads=self.num_threads,
                names=self.feature_names_,
                offset=self.silence.to_log_odds(said[:, 0]) if file == FACTOR_FILE else None,
            )
            for file in HEADS
        }
        return self._use(boosters)

    def log_odds(self, X: pd.DataFrame) -> Floats:
        """Log odds (n,) of no purchase within the horizon."""
        return np.asarray(np.mean(list(self.log_odds_of_heads(X).values()), axis=0), dtype=np.float64)

    def log_odds_of_heads(self, X: pd.DataFrame) -> dict[str, Floats]:
        """Log odds (n,) by each of `HEADS` alone."""
        matrix, near, far = self._matrix(X), self.silence.log_odds(X), self.silence.log_odds(X, self.horizon_days)
        carried = {LEVEL_FILE: far - near, FACTOR_FILE: far}
        return {
            file: booster.predict(matrix, raw_score=True, num_threads=self.num_threads) + carried[file]
            for file, booster in self._boosters.items()
        }

    def contributions(self, X: pd.DataFrame) -> Floats:
        """Exact additive shares (n, n_features) of the log odds: trees by SHAP, the carried part by Shapley values."""
        matrix = self._matrix(X)
        level, factor = (self._shares[file](matrix) for file in HEADS)
        shares = (level + factor) / 2
        drivers = [self.feature_names_.index(name) for name in DRIVERS]
        far, near = self.silence.contributions(X, self.horizon_days), self.silence.contributions(X)
        shares[:, drivers] += far - near / 2
        return np.asarray(shares, dtype=np.float64)

    def to_files(self) -> dict[str, bytes]:
        """LightGBM's model texts."""
        return {file: self._boosters[file].model_to_string().encode() for file in HEADS}

    def restored(self, feature_names: Sequence[str], files: Mapping[str, bytes]) -> Self:
        """Read what `to_files` wrote."""
        self.feature_names_ = tuple(feature_names)
        return self._use({file: read_booster(files[file].decode()) for file in HEADS})

    def _use(self, boosters: Mapping[str, Any]) -> Self:
        self._boosters = boosters
        self._shares = {file: TreeShares(booster, self.num_threads) for file, booster in boosters.items()}
        return self

    def _said_at_each_cutoff(self, learned: pd.DataFrame) -> tuple[np.ndarray, Floats]:
        """Return places of the rows whose histories can be judged, and `BTYD_FEATURES` fitted at each cutoff alone."""
        at, said = [], []
        for places in learned.groupby("as_of").indices.values():
            rows = learned.iloc[places]
            try:
                said.append(SilenceModel(self.silence.horizon_days).fit(rows).features(rows))
            except (InsufficientData, ConvergenceError):
                continue
            at.append(places)
        if not at:
            raise InsufficientData("churn: at no cutoff were there repeat buyers enough to extrapolate from")
        return np.concatenate(at), np.vstack(said)

    def _matrix(self, X: pd.DataFrame) -> Floats:
        own = self.feature_names_[: -len(BTYD_FEATURES)]
        return np.column_stack([columns_of(X, own), self.silence.features(X)])
