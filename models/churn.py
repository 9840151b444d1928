"""Churn: the probability of no purchase within a horizon, with the share each feature has in it.

Gradient-boosted trees on snapshots, with what a purchases model (MBG/NBD) says about the same customer among the
features; the two log odds are averaged where the calibration rows show that this helps, and the result is
calibrated on a snapshot later than every one it was fitted on. Classes are never resampled, so the base rate
stays true. With too few customers the purchases model stands alone, and the grade says so.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from features.catalogue import MODEL_FEATURES
from models.artefact import json_file, read_json_file
from models.calibration import (
    FITTED_MIN_ROWS,
    Calibration,
    cross_validated_losses,
    fit_calibration,
    simplest_adequate,
)
from models.matrix import Floats, columns_of, require_columns
from models.openmp import read_booster
from models.shares import TreeShares
from models.silence import BTYD_FEATURES, DRIVERS, SUMMARY, SilenceModel
from models.sufficiency import EXTRAPOLATED_GRADE, Facts, enough_for_trees, grade
from models.trees import Boosting, grow
from perennial.errors import ArtefactError, InsufficientData

Labels = NDArray[np.bool_]

BLENDS = (0.0, 0.25, 0.5, 0.75)
FILE, TREES_FILE = "churn.json", "trees.txt"


# Chosen by AUC and log loss on windows before the last one of Complete Journey (28 days) and Online Retail (90 days),
# never on the last: smaller leaves and faster learning were worse on both.
SHAPE = Boosting(trees=120, leaves=15, learning_rate=0.03)


class ChurnModel:
    """P(no purchase within ``horizon_days`` after the snapshot), per customer.

    ``window_days`` is the length of the windows the labels stand for, ``horizon_days`` unless given. A longer horizon
    is reached by what the purchases model says of the difference, in log odds, and the grade is C at best.
    ``features`` are the catalogue's columns that the trees may use, among them `DRIVERS`: those it marks as inputs.

    Learned: ``feature_names_`` (columns of `contributions`), ``typical_`` (their training medians),
    ``base_log_odds_``, ``blend_`` (share of the purchases model in the log odds), ``calibration_``, ``facts_``,
    ``grade_`` (A to D, see `models.sufficiency`).
    """

    def __init__(
        self,
        horizon_days: int = 90,
        *,
        window_days: int | None = None,
        num_threads: int = 2,
        seed: int = 7,
        boosting: Boosting | None = None,
        features: tuple[str, ...] = MODEL_FEATURES,
    ) -> None:
        self.horizon_days = horizon_days
        self.window_days = horizon_days if window_days is None else window_days
        self.num_threads = num_threads
        self.seed = seed
        self.boosting = boosting or SHAPE
        self.features = features
        self._use(None)

    def fit(self, X: pd.DataFrame, y: ArrayLike, *, calibration: tuple[pd.DataFrame, ArrayLike]) -> Self:
        """Fit on snapshots stacked from one or more cutoffs, calibrate on a later one.

        Parameters
        ----------
        X : snapshot rows (n,) with ``customer_id``, ``as_of`` and the catalogue's columns
        y : whether the customer bought nothing in the window after the row's ``as_of`` (n,)
        calibration : the same for a cutoff after every one in ``X``

        Raises
        ------
        InsufficientData
            One customer, one outcome or one-time buyers only: nothing to tell apart.
        """
        later, labels, later_labels = calibration[0], _labels(X, y), _labels(*calibration)
        _check_rows(X, later)
        _check_labels(np.concatenate([labels, later_labels]))
        newest = X[X["as_of"] == X["as_of"].max()]
        self.silence_ = SilenceModel(self.window_days).fit(newest)
        self.facts_ = self._facts(X, labels, later)
        self.grade_ = grade(self.facts_, self.horizon_days)
        if self.horizon_days != self.window_days:
            self.grade_ = max(self.grade_, EXTRAPOLATED_GRADE)
        self._fit_trees(X, labels)
        self.blend_ = self._choose_blend(later, later_labels)
        self.calibration_ = fit_calibration(self.predict_log_odds(later), later_labels, seed=self.seed)
        self.base_log_odds_ = float(self.predict_log_odds(newest[:1])[0] - self.contributions(newest[:1]).sum())
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """Snapshot columns that scoring reads, once fitted."""
        own = (name for name in self.feature_names_ if name not in BTYD_FEATURES)
        return tuple(dict.fromkeys((*own, *DRIVERS, *SUMMARY)))

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Churn probability (n,), strictly between 0 and 1."""
        probability = self.calibration_.apply(self.predict_log_odds(X))
        if self.horizon_days == self.window_days:
            return probability
        further = self.silence_.log_odds(X, self.horizon_days) - self.silence_.log_odds(X)
        return np.asarray(expit(logit(probability) + further), dtype=np.float64)

    def predict_log_odds(self, X: pd.DataFrame) -> Floats:
        """Log odds (n,) of no purchase in the window, before calibration: what `contributions` add up to."""
        if self._booster is None:
            return self.silence_.log_odds(X)
        trees = self._tree_log_odds(X)
        return self._mixed(trees, X, self.blend_) if self.blend_ else trees

    def contributions(self, X: pd.DataFrame) -> Floats:
        """Exact additive shares (n, n_features) of the log odds; a row sums to its log odds − ``base_log_odds_``.

        Trees: SHAP values (Lundberg et al. 2020). Purchases model: Shapley values against the median customer.
        """
        if self._booster is None:
            return self.silence_.contributions(X)
        shares = self._tree_shares(self._matrix(X))
        if self.blend_:
            shares = (1.0 - self.blend_) * shares
            drivers = [self.feature_names_.index(name) for name in DRIVERS]
            shares[:, drivers] += self.blend_ * self.silence_.contributions(X)
        return shares

    def to_files(self) -> dict[str, bytes]:
        """Artefact files: JSON and, where trees were grown, LightGBM's model text."""
        state = {
            "horizon_days": self.horizon_days,
            "window_days": self.window_days,
            "seed": self.seed,
            "boosting": asdict(self.boosting),
            "features": list(self.feature_names_),
            "typical": self.typical_,
            "silence": self.silence_.to_json(),
            "blend": self.blend_,
            "base_log_odds": self.base_log_odds_,
            "calibration": self.calibration_.to_json(),
            "facts": asdict(self.facts_),
            "grade": self.grade_,
        }
        files = {FILE: json_file(state)}
        return files if self._booster is None else {**files, TREES_FILE: self._booster.model_to_string().encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], *, num_threads: int = 1) -> Self:
        """Read what `to_files` wrote; one thread unless said, because a service scores few rows at a time."""
        state = read_json_file(files, FILE)
        try:
            boosting = Boosting(**state["boosting"])
            model = cls(
                state["horizon_days"],
                window_days=state["window_days"],
                num_threads=num_threads,
                seed=state["seed"],
                boosting=boosting,
            )
            model._restore(state, files)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"churn model: {FILE} or {TREES_FILE} is from another format ({error!r}); train it again"
            ) from error
        return model

    def _restore(self, state: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        self.feature_names_ = tuple(state["features"])
        self.typical_ = dict(state["typical"])
        self.silence_ = SilenceModel.from_json(state["silence"])
        self.blend_ = float(state["blend"])
        self.base_log_odds_ = float(state["base_log_odds"])
        self.calibration_ = Calibration.from_json(state["calibration"])
        self.facts_ = Facts(**state["facts"])
        self.grade_ = str(state["grade"])
        if self.facts_.boosted:
            self._use(read_booster(files[TREES_FILE].decode()))

    def _use(self, booster: Any) -> None:
        self._booster = booster
        self._tree_shares = TreeShares(booster, self.num_threads)

    def _facts(self, X: pd.DataFrame, labels: Labels, later: pd.DataFrame) -> Facts:
        customers = int(X["customer_id"].nunique())
        rarer = min(int(labels.sum()), int((~labels).sum()))
        return Facts(
            customers=customers,
            rows=len(X),
            rarer_labels=rarer,
            calibration_rows=len(later),
            history_days=float(later["T"].max()) + 1.0 + self.window_days,
            boosted=enough_for_trees(customers, rarer),
        )

    def _fit_trees(self, X: pd.DataFrame, labels: Labels) -> None:
        matrix = columns_of(X, self.features)
        # a column that never varied can split nothing: scoring need not ask for it
        varies = [len(np.unique(column)) > 1 for column in matrix.T]
        names = [name for name, keep in zip(self.features, varies, strict=True) if keep]
        medians = (float(np.nanmedian(matrix[:, self.features.index(name)])) for name in names)
        self.typical_ = dict(zip(names, medians, strict=True))
        self._use(None)
        self.feature_names_ = DRIVERS
        if self.facts_.boosted:
            self.feature_names_ = (*names, *BTYD_FEATURES)
            booster = grow(
                np.column_stack([matrix[:, varies], self.silence_.features(X)]),
                labels,
                self.boosting,
                objective="binary",
                seed=self.seed,
                num_threads=self.num_threads,
                names=self.feature_names_,
            )
            self._use(booster)

    def _choose_blend(self, X: pd.DataFrame, labels: Labels) -> float:
        if self._booster is None:
            return 1.0
        if len(labels) < FITTED_MIN_ROWS or labels.all() or not labels.any():
            return 0.0
        trees = self._tree_log_odds(X)
        return simplest_adequate(
            {
                share: cross_validated_losses("platt", self._mixed(trees, X, share), labels, self.seed)
                for share in BLENDS
            }
        )

    def _mixed(self, trees: Floats, X: pd.DataFrame, share: float) -> Floats:
        return (1.0 - share) * trees + share * self.silence_.log_odds(X)

    def _tree_log_odds(self, X: pd.DataFrame) -> Floats:
        raw = self._booster.predict(self._matrix(X), raw_score=True, num_threads=self.num_threads)
        return np.asarray(raw, dtype=np.float64)

    def _matrix(self, X: pd.DataFrame) -> Floats:
        own = self.feature_names_[: -len(BTYD_FEATURES)]
        return np.column_stack([columns_of(X, own), self.silence_.features(X)])


def _labels(X: pd.DataFrame, y: ArrayLike) -> Labels:
    values = np.asarray(y)
    if values.shape != (len(X),) or not np.isin(values, (0, 1)).all():
        raise ValueError(f"labels must be {len(X)} values of 0 or 1, one a snapshot row; got shape {values.shape}")
    return values.astype(np.bool_)


def _check_rows(X: pd.DataFrame, later: pd.DataFrame) -> None:
    for rows in (X, later):
        require_columns(rows, ("customer_id", "as_of", *DRIVERS, *SUMMARY))
    if X["customer_id"].nunique() < 2 or later.empty:
        raise InsufficientData(
            f"churn: {X['customer_id'].nunique()} customers to learn from and {len(later)} to calibrate on; "
            "more customers or more history are needed"
        )
    if X["frequency"].max() == 0:
        raise InsufficientData(
            "churn: every customer has bought on one day only, so nothing shows how often they return; add history"
        )
    if later["as_of"].min() <= X["as_of"].max():
        raise ValueError(
            f"calibration rows start at {later['as_of'].min():%Y-%m-%d}, training rows end at "
            f"{X['as_of'].max():%Y-%m-%d}; calibrate on a later snapshot"
        )


def _check_labels(labels: Labels) -> None:
    if labels.all() or not labels.any():
        who = "nobody" if labels.all() else "everybody"
        raise InsufficientData(f"churn: {who} bought within the horizon, nothing to tell apart; try another horizon")
