"""Churn over a horizon whose windows have closed: trees, with the purchases model mixed in where that helps."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.calibration import FITTED_MIN_ROWS, cross_validated_losses, simplest_adequate
from models.matrix import Floats, columns_of
from models.openmp import read_booster
from models.shares import TreeShares
from models.silence import BTYD_FEATURES, DRIVERS, SilenceModel
from models.trees import Boosting, grow

BLENDS = (0.0, 0.25, 0.5, 0.75)
TREES_FILE = "trees.txt"


class BlendedTrees:
    """Log odds of no purchase within the window, before calibration.

    Learned: ``feature_names_`` and ``blend_``, the share of the purchases model ``silence`` in the log odds.
    """

    def __init__(self, silence: SilenceModel, num_threads: int) -> None:
        self.silence = silence
        self.num_threads = num_threads

    def fit(self, X: pd.DataFrame, churned: Floats, names: Sequence[str], shape: Boosting, seed: int) -> Self:
        """Grow trees on labelled rows; ``names`` are the columns that they may use."""
        self.feature_names_ = (*names, *BTYD_FEATURES)
        self.blend_ = 0.0
        booster = grow(
            self.matrix(X),
            churned,
            shape,
            objective="binary",
            seed=seed,
            num_threads=self.num_threads,
            names=self.feature_names_,
        )
        return self._use(booster)

    def choose_blend(self, X: pd.DataFrame, labels: NDArray[np.bool_], seed: int) -> None:
        """Take the share that the rows of a later cutoff support."""
        if len(labels) < FITTED_MIN_ROWS or labels.all() or not labels.any():
            return
        trees, silence = self._tree_log_odds(X), self.silence.log_odds(X)
        self.blend_ = simplest_adequate(
            {
                share: cross_validated_losses("platt", (1.0 - share) * trees + share * silence, labels, seed)
                for share in BLENDS
            }
        )

    def log_odds(self, X: pd.DataFrame) -> Floats:
        """Log odds (n,) of no purchase within the window."""
        trees = self._tree_log_odds(X)
        return (1.0 - self.blend_) * trees + self.blend_ * self.silence.log_odds(X) if self.blend_ else trees

    def contributions(self, X: pd.DataFrame) -> Floats:
        """Exact additive shares (n, n_features): SHAP values of the trees, Shapley values of the purchases model."""
        shares = self._shares(self.matrix(X))
        if self.blend_:
            shares = (1.0 - self.blend_) * shares
            drivers = [self.feature_names_.index(name) for name in DRIVERS]
            shares[:, drivers] += self.blend_ * self.silence.contributions(X)
        return shares

    def matrix(self, X: pd.DataFrame) -> Floats:
        """Return what the trees read, (n, n_features)."""
        own = self.feature_names_[: -len(BTYD_FEATURES)]
        return np.column_stack([columns_of(X, own), self.silence.features(X)])

    def to_files(self) -> dict[str, bytes]:
        """LightGBM's model text."""
        return {TREES_FILE: self.booster.model_to_string().encode()}

    def restored(self, feature_names: Sequence[str], blend: float, files: Mapping[str, bytes]) -> Self:
        """Read what `to_files` wrote."""
        self.feature_names_, self.blend_ = tuple(feature_names), blend
        return self._use(read_booster(files[TREES_FILE].decode()))

    def _use(self, booster: Any) -> Self:
        self.booster = booster
        self._shares = TreeShares(booster, self.num_threads)
        return self

    def _tree_log_odds(self, X: pd.DataFrame) -> Floats:
        raw = self.booster.predict(self.matrix(X), raw_score=True, num_threads=self.num_threads)
        return np.asarray(raw, dtype=np.float64)
