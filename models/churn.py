"""Churn: the probability of no purchase within a horizon, with the share each feature has in it.

Gradient-boosted trees on snapshots, with what a purchases model (MBG/NBD) says about the same customer among the
features; the two log odds are averaged where the calibration rows show that this helps, and the result is
calibrated on a snapshot later than every one it was fitted on (`models.near_horizon`). A horizon that no closed window
reaches is extrapolated to (`models.far_horizon`). Classes are never resampled, so the base rate stays true. With too
few customers the purchases model stands alone, and the grade says so.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from features.catalogue import MODEL_FEATURES
from models.artefact import json_file, read_json_file
from models.calibration import Calibration, fit_calibration
from models.churn_rows import Labels, check_labels, check_rows, labels_of
from models.definition import Definition
from models.far_horizon import FarHeads
from models.leave_interval import LeaveInterval, fit_interval, pace_steps
from models.matrix import Floats, columns_of
from models.near_horizon import BlendedTrees
from models.silence import BTYD_FEATURES, DRIVERS, SUMMARY, SilenceModel
from models.sufficiency import (
    BOOSTING_MIN_CUSTOMERS,
    BOOSTING_MIN_RARER,
    EXTRAPOLATED_GRADE,
    Facts,
    enough_for_trees,
    grade,
)
from models.trees import Boosting
from perennial.errors import ArtefactError, InsufficientData

FILE = "churn.json"


# Chosen by AUC and log loss on windows before the last one of Complete Journey (28 days) and Online Retail (90 days),
# never on the last: smaller leaves and faster learning were worse on both.
SHAPE = Boosting(trees=120, leaves=15, learning_rate=0.03)


class ChurnModel:
    """P(no purchase within ``horizon_days`` after the snapshot), per customer.

    ``window_days`` is the length of the windows the labels stand for, ``horizon_days`` unless given. A longer horizon
    is reached by extrapolation, and the grade is C at best.
    ``definition`` is what the labels mean.
    ``features`` are the catalogue's columns that the trees may use, among them `DRIVERS`: those it marks as inputs.

    Learned: ``feature_names_`` (columns of `contributions`), ``typical_`` (their training medians),
    ``base_log_odds_``, ``trees_`` (None where the purchases model ``silence_`` stands alone), ``calibration_``,
    ``interval_`` (see `models.leave_interval`), ``facts_``, ``grade_`` (A to D, see `models.sufficiency`).
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
        definition: Definition = Definition.NO_PURCHASE,
    ) -> None:
        self.horizon_days = horizon_days
        self.window_days = horizon_days if window_days is None else window_days
        self.num_threads = num_threads
        self.seed = seed
        self.boosting = boosting or SHAPE
        self.features = features
        self.definition = definition
        self.trees_: BlendedTrees | FarHeads | None = None

    @property
    def far(self) -> bool:
        """Whether the horizon is longer than the windows learned from."""
        return self.horizon_days != self.window_days

    def fit(
        self,
        X: pd.DataFrame,
        y: ArrayLike,
        *,
        calibration: tuple[pd.DataFrame, ArrayLike],
        today: pd.DataFrame | None = None,
    ) -> Self:
        """Fit on snapshots stacked from one or more cutoffs, calibrate on a later one.

        Parameters
        ----------
        X : snapshot rows (n,) with ``customer_id``, ``as_of`` and the catalogue's columns
        y : whether the customer bought nothing in the window after the row's ``as_of`` (n,)
        calibration : the same for a cutoff after every one in ``X``
        today : the snapshot at which the last of these windows closed; a far horizon is extrapolated from its
            histories, from those at the calibration cutoff where it is not given

        Raises
        ------
        InsufficientData
            One customer, one outcome or one-time buyers only: nothing to tell apart.
        """
        later, labels, later_labels = calibration[0], labels_of(X, y), labels_of(*calibration)
        check_rows(X, later)
        check_labels(np.concatenate([labels, later_labels]))
        newest = X[X["as_of"] == X["as_of"].max()]
        self.facts_ = self._facts(X, labels, later)
        self.grade_ = grade(self.facts_, self.horizon_days)
        self._check_definition()
        if self.far:
            self.grade_ = max(self.grade_, EXTRAPOLATED_GRADE)
            self._fit_far(X, labels, later, later_labels, later if today is None else today)
        else:
            self._fit_near(X, labels, newest, later, later_labels)
        self.interval_ = self._measure(pd.concat([X, later], ignore_index=True), labels, later, later_labels)
        self.base_log_odds_ = float(self.predict_log_odds(newest[:1])[0] - self.contributions(newest[:1]).sum())
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """Snapshot columns that scoring reads, once fitted."""
        own = (name for name in self.feature_names_ if name not in BTYD_FEATURES)
        return tuple(dict.fromkeys((*own, *DRIVERS, *SUMMARY)))

    @property
    def feature_names_(self) -> tuple[str, ...]:
        """Names of the columns of `contributions`."""
        return DRIVERS if self.trees_ is None else self.trees_.feature_names_

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Churn probability (n,), strictly between 0 and 1."""
        return self.calibration_.apply(self.predict_log_odds(X))

    def predict_with_interval(self, X: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
        """Churn probability and its lower and upper end, (n,) each.

        Of a hundred customers with this probability so many leave in nine cases of ten, the base rate's own movements
        from window to window, the calibration's few rows and chance included.
        """
        log_odds = self.predict_log_odds(X)
        probability = self.calibration_.apply(log_odds)
        return (probability, *self.interval_.around(probability, log_odds))

    def predict_log_odds(self, X: pd.DataFrame) -> Floats:
        """Log odds (n,) of no purchase in the horizon, before calibration: what `contributions` add up to."""
        return self.silence_.log_odds(X, self.horizon_days) if self.trees_ is None else self.trees_.log_odds(X)

    def contributions(self, X: pd.DataFrame) -> Floats:
        """Exact additive shares (n, n_features) of the log odds; a row sums to its log odds − ``base_log_odds_``.

        Trees: SHAP values (Lundberg et al. 2020). Purchases model: Shapley values against the median customer.
        """
        if self.trees_ is None:
            return self.silence_.contributions(X, self.horizon_days)
        return self.trees_.contributions(X)

    def to_files(self) -> dict[str, bytes]:
        """Artefact files: JSON and, where trees were grown, LightGBM's model text."""
        state = {
            "horizon_days": self.horizon_days,
            "window_days": self.window_days,
            "definition": self.definition.value,
            "seed": self.seed,
            "boosting": asdict(self.boosting),
            "features": list(self.feature_names_),
            "typical": self.typical_,
            "silence": self.silence_.to_json(),
            "blend": self.trees_.blend_ if isinstance(self.trees_, BlendedTrees) else None,
            "base_log_odds": self.base_log_odds_,
            "calibration": self.calibration_.to_json(),
            "interval": self.interval_.to_json(),
            "facts": asdict(self.facts_),
            "grade": self.grade_,
        }
        return {FILE: json_file(state), **(self.trees_.to_files() if self.trees_ else {})}

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
                definition=Definition(state["definition"]),
            )
            model._restore(state, files)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"churn model: {FILE} or its trees are from another format ({error!r}); train it again"
            ) from error
        return model

    def _restore(self, state: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        self.typical_ = dict(state["typical"])
        self.silence_ = SilenceModel.from_json(state["silence"])
        self.base_log_odds_ = float(state["base_log_odds"])
        self.calibration_ = Calibration.from_json(state["calibration"])
        self.interval_ = LeaveInterval.from_json(state["interval"])
        self.facts_ = Facts(**state["facts"])
        self.grade_ = str(state["grade"])
        if not self.facts_.boosted:
            return
        if self.far:
            self.trees_ = FarHeads(self.silence_, self.horizon_days, self.num_threads).restored(
                state["features"], files
            )
        else:
            self.trees_ = BlendedTrees(self.silence_, self.num_threads).restored(
                state["features"], float(state["blend"]), files
            )

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

    def _fit_near(
        self, X: pd.DataFrame, labels: Labels, newest: pd.DataFrame, later: pd.DataFrame, later_labels: Labels
    ) -> None:
        self.silence_ = SilenceModel(self.window_days).fit(newest)
        names = self._usable(X)
        if self.facts_.boosted:
            trees = BlendedTrees(self.silence_, self.num_threads)
            trees.fit(X, labels.astype(np.float64), names, self.boosting, self.seed)
            trees.choose_blend(later, later_labels, self.seed)
            self.trees_ = trees
        self.calibration_ = fit_calibration(self.predict_log_odds(later), later_labels, seed=self.seed)

    def _fit_far(
        self, X: pd.DataFrame, labels: Labels, later: pd.DataFrame, later_labels: Labels, today: pd.DataFrame
    ) -> None:
        """Learn from every closed window; there is none as long as the horizon to calibrate on."""
        self.silence_ = SilenceModel(self.window_days).fit(today)
        learned = pd.concat([X, later], ignore_index=True)
        names = self._usable(learned)
        if self.facts_.boosted:
            churned = np.concatenate([labels, later_labels]).astype(np.float64)
            heads = FarHeads(self.silence_, self.horizon_days, self.num_threads)
            self.trees_ = heads.fit(learned, churned, names, self.boosting, self.seed)
        self.calibration_ = Calibration("identity", rows=len(later))

    def _check_definition(self) -> None:
        """Raise where the purchases model, which knows no rhythms, would have to stand in for what was not learned."""
        if self.definition is Definition.NO_PURCHASE or (self.facts_.boosted and not self.far):
            return
        lack = (
            f"closed windows of {self.horizon_days} days, and the history has room for {self.window_days}"
            if self.far
            else f"at least {BOOSTING_MIN_CUSTOMERS} customers and {BOOSTING_MIN_RARER} of either outcome"
        )
        raise InsufficientData(f"churn: {self.definition} needs {lack}; use {Definition.NO_PURCHASE}")

    def _measure(self, known: pd.DataFrame, labels: Labels, later: pd.DataFrame, later_labels: Labels) -> LeaveInterval:
        """Measure how far apart what was expected and what came may lie."""
        churned = np.concatenate([labels, later_labels])
        return fit_interval(
            self.calibration_,
            self.silence_.log_odds(later) if self.far else self.predict_log_odds(later),
            later_labels,
            pace_steps(known, churned, self.window_days),
            windows=self.horizon_days / self.window_days,
            history_days=self.facts_.history_days,
            seed=self.seed,
        )

    def _usable(self, X: pd.DataFrame) -> tuple[str, ...]:
        """Return the columns that varied and note what is usual; one that never did can split nothing."""
        matrix = columns_of(X, self.features)
        varies = [len(np.unique(column)) > 1 for column in matrix.T]
        names = tuple(name for name, keep in zip(self.features, varies, strict=True) if keep)
        medians = np.nanmedian(matrix[:, varies], axis=0)
        self.typical_ = dict(zip(names, medians.tolist(), strict=True))
        return names
