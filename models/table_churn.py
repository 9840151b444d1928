"""Contractual churn: the probability that a row of any labelled table carries the label, with reasons.

Gradient-boosted trees and a logistic regression on the same columns (`models.table_columns`). The share of the
regression in the log odds is chosen, and the result is calibrated, on rows left out of the fit, fold by fold; then both
are fitted on every row. Classes are never resampled. Rows of one group stay in one fold. With few rows the regression
stands alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from models.artefact import json_file, read_json_file
from models.calibration import Calibration, cross_validated_losses, fit_calibration, simplest_adequate
from models.linear import Linear
from models.matrix import Floats
from models.openmp import read_booster
from models.shares import TreeShares
from models.table_columns import Columns
from models.trees import Boosting, grow
from perennial.errors import ArtefactError, InsufficientData

Labels = NDArray[np.bool_]
Groups = NDArray[np.intp]

KIND = "table_churn"
FILE, TREES_FILE = "table_churn.json", "trees.txt"
LEAST_RARER = 20  # rows with the rarer label: fewer leave folds without it
BOOSTING_MIN_ROWS, BOOSTING_MIN_RARER = 500, 50
INNER_FOLDS = 3
BLENDS = (0.0, 0.25, 0.5, 0.75, 1.0)


# Small trees until rows are many: by log loss on other folds neither is far from the best anywhere between.
FEW = Boosting(trees=300, leaves=6, learning_rate=0.03, min_leaf_rows=30, feature_share=0.5, bins=63)
MANY = replace(FEW, leaves=15, learning_rate=0.05)
MANY_ROWS = 20_000


def stratified_folds(labels: Labels, groups: Groups, folds: int, seed: int) -> NDArray[np.intp]:
    """Return each row's fold (n,): groups whole, and the groups that hold the label spread evenly."""
    _, group, size = np.unique(groups, return_inverse=True, return_counts=True)
    positive = np.bincount(group, labels) / size
    shuffled = np.random.default_rng(seed).permutation(len(size))
    order = shuffled[np.argsort(positive[shuffled], kind="stable")]
    fold = np.empty(len(size), dtype=np.intp)
    fold[order] = np.arange(len(size)) % folds
    return fold[group]


class TableChurnModel:
    """P(label) for each row of a table.

    Learned: ``columns_`` (`models.table_columns.Columns`), ``notes_`` on them, ``shape_``, ``blend_`` (share of the
    regression in the log odds), ``linear_``, ``calibration_``, ``base_log_odds_``.
    """

    def __init__(self, *, num_threads: int = 1, seed: int = 7) -> None:
        self.num_threads = num_threads
        self.seed = seed
        self._use(None)

    def fit(self, X: pd.DataFrame, y: ArrayLike, *, groups: ArrayLike | None = None) -> Self:
        """Fit on labelled rows.

        Parameters
        ----------
        X : rows (n,) of any columns, without the label and without identifiers
        y : the label, 0 or 1 (n,)
        groups : rows that must share a fold, because one tells the other's label (n,)

        Raises
        ------
        InsufficientData
            Fewer than ``LEAST_RARER`` rows with either label, or no usable column.
        """
        labels = np.asarray(y).astype(np.bool_)
        require_both(labels)
        self.columns_, self.notes_ = Columns.learn(X)
        if not self.columns_.columns:
            raise InsufficientData(f"no column can be used: {'; '.join(self.notes_)}")
        matrix = self.columns_.encode(X)
        group = np.arange(len(X)) if groups is None else np.asarray(groups)
        fold = stratified_folds(labels, group, INNER_FOLDS, self.seed)
        left_out = self._choose(matrix, labels, fold)
        self.calibration_ = fit_calibration(left_out, labels, seed=self.seed)
        self.linear_ = Linear.fit(matrix, labels)
        self._use(self._grow(self.shape_, matrix, labels) if self.shape_ else None)
        self.base_log_odds_ = float(self._log_odds(matrix[:1])[0] - self._shares(matrix[:1]).sum())
        return self

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Probability of the label (n,), strictly between 0 and 1."""
        return self.calibration_.apply(self._log_odds(self.columns_.encode(X)))

    def predict_log_odds(self, X: pd.DataFrame) -> Floats:
        """Log odds (n,) before calibration: what `contributions` add up to."""
        return self._log_odds(self.columns_.encode(X))

    def contributions(self, X: pd.DataFrame) -> Floats:
        """Exact additive shares (n, n_columns) of the log odds; a row sums to its log odds − ``base_log_odds_``."""
        places = self._shares(self.columns_.encode(X))
        return np.column_stack([places[:, span].sum(axis=1) for span in self.columns_.spans])

    def to_files(self) -> dict[str, bytes]:
        """Artefact files: JSON and, where trees were grown, LightGBM's model text."""
        state = {
            "seed": self.seed,
            "columns": self.columns_.to_json(),
            "notes": list(self.notes_),
            "shape": asdict(self.shape_) if self.shape_ else None,
            "blend": self.blend_,
            "linear": self.linear_.to_json(),
            "calibration": self.calibration_.to_json(),
            "base_log_odds": self.base_log_odds_,
        }
        files = {FILE: json_file(state)}
        return files if self._booster is None else {**files, TREES_FILE: self._booster.model_to_string().encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], *, num_threads: int = 1) -> Self:
        """Read what `to_files` wrote."""
        state = read_json_file(files, FILE)
        try:
            model = cls(num_threads=num_threads, seed=int(state["seed"]))
            model.columns_ = Columns.from_json(state["columns"])
            model.notes_ = tuple(state["notes"])
            model.shape_ = Boosting(**state["shape"]) if state["shape"] else None
            model.blend_ = float(state["blend"])
            model.linear_ = Linear.from_json(state["linear"])
            model.calibration_ = Calibration.from_json(state["calibration"])
            model.base_log_odds_ = float(state["base_log_odds"])
            model._use(read_booster(files[TREES_FILE].decode()) if model.shape_ else None)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"table churn model: {FILE} or {TREES_FILE} is from another format ({error!r}); train it again"
            ) from error
        return model

    def _use(self, booster: Any) -> None:
        self._booster = booster
        self._tree_shares = TreeShares(booster, self.num_threads)

    def _choose(self, matrix: Floats, labels: Labels, fold: NDArray[np.intp]) -> Floats:
        """Choose the blend by the log loss of rows left out; return their log odds (n,)."""
        linear = self._left_out(lambda rows, y: Linear.fit(rows, y).log_odds, matrix, labels, fold)
        self.shape_, self.blend_ = None, 1.0
        if len(labels) < BOOSTING_MIN_ROWS or min(labels.sum(), (~labels).sum()) < BOOSTING_MIN_RARER:
            return linear
        shape = FEW if len(labels) < MANY_ROWS else MANY
        trees = self._left_out(lambda rows, y: self._raw(self._grow(shape, rows, y)), matrix, labels, fold)
        mixed = {share: (1 - share) * trees + share * linear for share in BLENDS}
        self.blend_ = simplest_adequate(
            {share: cross_validated_losses("platt", mixed[share], labels, self.seed) for share in BLENDS}
        )
        self.shape_ = shape if self.blend_ < 1 else None
        return mixed[self.blend_]

    def _left_out(self, fit: Any, matrix: Floats, labels: Labels, fold: NDArray[np.intp]) -> Floats:
        log_odds = np.empty(len(labels))
        for number in range(INNER_FOLDS):
            held = fold == number
            log_odds[held] = fit(matrix[~held], labels[~held])(matrix[held])
        return log_odds

    def _grow(self, shape: Boosting, matrix: Floats, labels: Labels) -> Any:
        return grow(matrix, labels, shape, objective="binary", seed=self.seed, num_threads=self.num_threads)

    def _raw(self, booster: Any) -> Any:
        return lambda matrix: np.asarray(
            booster.predict(matrix, raw_score=True, num_threads=self.num_threads), dtype=np.float64
        )

    def _log_odds(self, matrix: Floats) -> Floats:
        if self._booster is None:
            return self.linear_.log_odds(matrix)
        trees: Floats = self._raw(self._booster)(matrix)
        return (1 - self.blend_) * trees + self.blend_ * self.linear_.log_odds(matrix) if self.blend_ else trees

    def _shares(self, matrix: Floats) -> Floats:
        if self._booster is None:
            return self.linear_.shares(matrix)
        trees = self._tree_shares(matrix)
        return (1 - self.blend_) * trees + self.blend_ * self.linear_.shares(matrix) if self.blend_ else trees


def require_both(labels: Labels) -> None:
    """Raise InsufficientData where either label stands in too few rows to be learned."""
    rarer = min(int(labels.sum()), int((~labels).sum()))
    if rarer < LEAST_RARER:
        raise InsufficientData(
            f"{len(labels):,} labelled rows, {int(labels.sum()):,} of them churned: at least {LEAST_RARER} that did "
            f"and {LEAST_RARER} that did not are needed"
        )
