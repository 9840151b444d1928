"""Churn: trees on many cutoffs, calibrated on a later window, judged on the last one."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from features.catalogue import FEATURES, MODEL_FEATURES
from models.artefact import Artefact
from models.churn import SHAPE, ChurnModel
from models.definition import Definition
from models.leave_interval import COVERAGE, GROUP
from models.reference import Reference
from models.sufficiency import BOOSTING_MIN_CUSTOMERS, BOOSTING_MIN_RARER, Sufficiency, churn_sufficiency
from models.trees import Boosting
from perennial.settings import Settings
from training import plots
from training.baselines import RECENCY_RULE, RecencyRule, recency_score
from training.dataset import ROWS_WORTH_THREADS, Data, Fit, Plan, days_for_a_fit
from training.drift import leant_on, reference
from training.fairness import judge_groups
from training.metrics import CHURN_MEASURES, Floats, compare, evaluate
from training.parts import groups, standing
from training.recipes import RecordsRecipe, Report
from training.search import Search, search
from training.slices import Slice, slices_of, spoken_slices

MOST_GROUPS = 20


class ChurnRecipe(RecordsRecipe[ChurnModel]):
    """Probability of no purchase occasion within the horizon."""

    name = "churn"
    ranking = "auc"
    chance = 0.5
    says = "churn_probability"
    gated_by = ("log_loss", "calibration_error")
    parts_gated_by = "log_loss"
    labels = "needed"

    def __init__(self, settings: Settings, trials: int = 0) -> None:
        super().__init__(settings)
        self.trials = trials
        self._found = Search(SHAPE, "not searched yet")

    def fit(self, data: Data, *, final: bool) -> ChurnModel:
        """Fit on the training cutoffs and calibrate on the next closed window."""
        fit = _fit_of(data, final)
        today = data.latest if final else data.heldout
        if not final:
            self._found = self._search(data, fit)
        return fit_churn(
            *data.learned(fit),
            today,
            fit.window_days,
            data.horizon_days,
            self.settings,
            shape=self._found.shape,
            definition=data.definition,
        )

    def _search(self, data: Data, fit: Fit) -> Search:
        """Look for trees with what the judged fit may know; the final fit takes what it found."""
        if not self.trials:
            return Search(SHAPE, "no search was asked for")
        if fit.window_days != data.horizon_days:
            return Search(SHAPE, "no search: no window as long as the horizon has closed")
        learn, calibrate = data.learned(fit)
        return search(
            learn,
            calibrate,
            MODEL_FEATURES,
            fit.window_days,
            trials=self.trials,
            seed=self.settings.seed,
            num_threads=_threads(learn, self.settings),
        )

    def trail(self) -> Mapping[str, bytes]:
        """Return every trial of the search."""
        return self._found.to_files() if self._found.trials else {}

    def files(self, model: ChurnModel) -> dict[str, bytes]:
        """Return the fitted model as an artefact's files."""
        return model.to_files()

    def load(self, files: Mapping[str, bytes]) -> ChurnModel:
        """Read a fitted model."""
        return ChurnModel.from_files(files, num_threads=self.settings.threads)

    def predict(self, model: ChurnModel, rows: pd.DataFrame, data: Data) -> Floats:
        """Return churn probabilities; the horizon is the model's own."""
        return model.predict_proba(rows)

    def outcome(self, data: Data) -> Floats:
        """Return 1 for customers who did not buy in the window, else 0."""
        return data.heldout["churned"].to_numpy(dtype=np.float64)

    def report(self, model: ChurnModel, data: Data, prediction: Floats) -> Report:
        """Judge against the recency rule, whose probabilities come from the calibration window."""
        heldout = data.heldout
        outcome, silence = self.outcome(data), recency_score(heldout)
        fit = _fit_of(data, final=False)
        rule = RecencyRule.fit(data.learned(fit)[1]).predict_proba(heldout, data.horizon_days / fit.window_days)
        seed = self.settings.seed
        slices = _slices(heldout, outcome, prediction)
        fairness = judge_groups(groups(data), outcome, prediction, seed)
        return Report(
            metrics=evaluate(CHURN_MEASURES, outcome, prediction, seed=seed),
            comparisons=(
                compare("auc", outcome, prediction, silence, RECENCY_RULE, seed=seed),
                compare("log_loss", outcome, prediction, rule, RECENCY_RULE, seed=seed),
            ),
            pictures={
                "calibration.png": plots.calibration(outcome, prediction, data.horizon_days),
                "decile_lift.png": plots.decile_lift(outcome, prediction, silence, "days since the last order"),
            },
            notes=(
                _graded(model),
                _kept(model, heldout, outcome),
                *_season(model),
                *((self._found.reason,) if self.trials else ()),
                *spoken_slices(slices),
                *(fairness.findings() if fairness else ()),
            ),
            slices=slices,
            fairness=fairness,
        )

    def reference(self, model: ChurnModel, data: Data) -> Reference:
        """Describe every input, how far the model leans on it, and the churn probability."""
        features = [name for name in model.inputs if name in FEATURES]
        return leant_on(
            reference(data.latest, data.final, features, "churn_probability", model.predict_proba), model, data.latest
        )

    def sufficiency(self, model: ChurnModel, data: Data) -> Sufficiency:
        """Grade what the trees and the purchases model had to learn from."""
        return churn_sufficiency(asdict(model.facts_), data.horizon_days, whole_days=days_for_a_fit(data.horizon_days))

    def facts(self, model: ChurnModel, data: Data) -> dict[str, Any]:
        """Return the definition, the grade and the cutoffs."""
        fit = _fit_of(data, final=True)
        return {
            "definition": data.definition.words(data.horizon_days, "en"),
            "churn_definition": data.definition.value,
            "boosting": json.dumps(asdict(model.boosting)),
            "search": self._found.reason,
            "data_grade": model.grade_,
            "calibration": model.calibration_.method,
            "season_seen": model.interval_.season_seen,
            "features": len(model.feature_names_),
            "training_cutoffs": [cutoff.day.isoformat() for cutoff in fit.training],
            "calibration_cutoff": fit.calibration.day.isoformat(),
            "step_days": fit.step_days,
            "window_days": fit.window_days,
        }

    def objection(self, champion: Artefact, data: Data) -> str | None:
        """Refuse to compare probabilities of different questions."""
        theirs = champion.meta.get("horizon_days")
        if theirs != data.horizon_days:
            return f"the champion predicts {theirs} days, this version {data.horizon_days}, so they cannot be compared"
        meant = champion.meta.get("churn_definition", Definition.NO_PURCHASE)
        if meant != data.definition:
            return f"the champion means {meant}, this version {data.definition}, so they cannot be compared"
        return None


def fit_churn(
    learn: pd.DataFrame,
    calibrate: pd.DataFrame,
    today: pd.DataFrame,
    window_days: int,
    horizon_days: int,
    settings: Settings,
    *,
    shape: Boosting = SHAPE,
    definition: Definition = Definition.NO_PURCHASE,
) -> ChurnModel:
    """Fit on rows of training cutoffs, labelled over ``window_days``, and calibrate on those of a later one.

    Of ``today``, the snapshot at which the last window closed, only histories are read.
    """
    model = ChurnModel(
        horizon_days,
        window_days=window_days,
        num_threads=_threads(learn, settings),
        seed=settings.seed,
        boosting=shape,
        definition=definition,
    )
    later = (calibrate, calibrate["churned"].to_numpy())
    return model.fit(learn, learn["churned"].to_numpy(), calibration=later, today=today)


def _slices(heldout: pd.DataFrame, outcome: Floats, prediction: Floats) -> tuple[Slice, ...]:
    kinds = standing(heldout)
    if not len(kinds.columns):
        return ()
    return slices_of(kinds.assign(churned=outcome, churn_probability=prediction))


def _threads(learn: pd.DataFrame, settings: Settings) -> int:
    return settings.threads if len(learn) >= ROWS_WORTH_THREADS else 1


def _kept(model: ChurnModel, heldout: pd.DataFrame, outcome: Floats) -> str:
    """Say in how many groups of customers, by rising probability, the share of leavers lay inside the interval."""
    probability, low, high = model.predict_with_interval(heldout)
    groups = np.array_split(np.argsort(probability, kind="stable"), min(MOST_GROUPS, max(1, len(heldout) // GROUP)))
    inside = sum(low[group].mean() <= outcome[group].mean() <= high[group].mean() for group in groups)
    return (
        f"in {inside} of {len(groups)} groups by rising probability, each of {len(groups[-1])} customers or more, "
        f"the share that left lay inside the {COVERAGE:.0%} interval"
    )


def _graded(model: ChurnModel) -> str:
    """Say how far the records support the scores, and by what they are made."""
    facts = model.facts_
    learned = f"data grade {model.grade_}: {facts.customers:,} customers over {facts.history_days:.0f} days"
    if facts.boosted:
        return learned
    return (
        f"{learned} are too few for trees ({BOOSTING_MIN_CUSTOMERS} customers and {BOOSTING_MIN_RARER} of either "
        "outcome are needed at the training cutoffs), so MBG/NBD stands alone"
    )


def _season(model: ChurnModel) -> tuple[str, ...]:
    """Warn where the coming season has never been seen."""
    if model.interval_.season_seen:
        return ()
    return (
        f"{model.facts_.history_days:.0f} days of history are less than a year: the coming season has not been seen, "
        "and the intervals of churn_probability are wider for it",
    )


def _fit_of(data: Data, final: bool) -> Fit:
    plan: Plan | None = data.plan
    if plan is None:
        raise ValueError("churn is fitted on labels; gather the data with needs_labels=True")
    return plan.final if final else plan.judged
