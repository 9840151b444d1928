"""Contractual churn from a labelled table: judged on rows left out, against a rule of two columns and a regression."""

import io
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.linear import Linear
from models.reference import Reference
from models.retention_offer import RetentionOffer
from models.table_churn import KIND, TableChurnModel
from models.table_columns import Columns
from perennial.errors import SourceError
from perennial.settings import Settings
from training import plots
from training.drift import EXPLAINED
from training.labelled import LabelledTable
from training.leaks import Alone, alone, giveaways, suspects
from training.metrics import CHURN_MEASURES, Floats, Measure, auc, compare, evaluate
from training.profit import empc
from training.recipes import Reader, Recipe, Report

REGRESSION = "logistic regression on every column"
RULE_COLUMNS = 2
IN_PICTURES = "the rule of two columns"  # names of columns may be in signs that the pictures' font lacks
LEFT_OUT, DRAW = "left_out.parquet", "draw_"
DEFAULT_CLV = 200.0  # Verbraken et al. (2013), in whatever currency the costs are
COMPARABLE_ROWS = 100


@dataclass(frozen=True)
class LeftOut:
    """What fits that had not seen a row said of it (repeats, n): the model, the rule and the regression."""

    table: LabelledTable
    probability: Floats
    rule: Floats
    regression: Floats
    rule_columns: tuple[str, ...]


class TableChurnRecipe(Recipe[TableChurnModel | LeftOut, LabelledTable]):
    """Probability of the label, for rows of one table; ``offer`` says what keeping somebody costs."""

    ranking = "auc"
    chance = 0.5
    says = "churn_probability"
    gated_by = ("log_loss", "calibration_error")
    labels = "needed"

    def __init__(self, settings: Settings, name: str, offer: RetentionOffer) -> None:
        super().__init__(settings)
        self.name = name
        self.offer = offer

    @property
    def kind(self) -> str:
        """Kind of the artefact, whatever the model's name."""
        return KIND

    def fit(self, data: LabelledTable, *, final: bool) -> TableChurnModel | LeftOut:
        """Fit on every row, or on all but a fold for each fold."""
        if final:
            return self._fit(data, np.ones(data.customers, dtype=bool))
        self._refuse_giveaways(data)
        shape = data.folds.shape
        probability, rule, regression = np.empty(shape), np.empty(shape), np.empty(shape)
        for draw, fold in enumerate(data.folds):
            for number in np.unique(fold):
                held = fold == number
                rows = data.latest[held]
                probability[draw, held] = self._fit(data, ~held).predict_proba(rows)
                rule[draw, held], regression[draw, held] = _simple(data, held)
        return LeftOut(data, probability, rule, regression, _rule_columns(self._alone(data)))

    def predict(self, model: TableChurnModel | LeftOut, rows: pd.DataFrame, data: LabelledTable) -> Floats:
        """Return probabilities: of every row once for each draw of the folds, or of the rows given."""
        return model.probability.ravel() if isinstance(model, LeftOut) else model.predict_proba(rows)

    def outcome(self, data: LabelledTable) -> Floats:
        """Return 1 where the row carries the label, once for each draw of the folds."""
        return np.tile(data.labels.astype(np.float64), len(data.folds))

    def customer(self, data: LabelledTable) -> Sequence[Hashable]:
        """Return which group each judged row is of."""
        return list(np.tile(data.group, len(data.folds)))

    def files(self, model: TableChurnModel | LeftOut) -> dict[str, bytes]:
        """Return the fitted model, or what was said of rows left out, as an artefact's files."""
        if isinstance(model, TableChurnModel):
            return model.to_files()
        buffer = io.BytesIO()
        said = pd.DataFrame(model.probability.T).add_prefix(DRAW)
        said.assign(key=model.table.key, identity=model.table.identity).to_parquet(buffer, index=False)
        return {LEFT_OUT: buffer.getvalue()}

    def load(self, files: Mapping[str, bytes]) -> TableChurnModel:
        """Read a fitted model."""
        return TableChurnModel.from_files(files, num_threads=1)

    def report(self, model: TableChurnModel | LeftOut, data: LabelledTable, prediction: Floats) -> Report:
        """Judge against the rule and the regression, by ranking, probability and money."""
        assert isinstance(model, LeftOut)
        outcome, whose, seed = self.outcome(data), self.customer(data), self.settings.seed
        clv = np.tile(data.clv, len(data.folds)) if data.clv is not None else DEFAULT_CLV
        measures: dict[str, Measure] = {**CHURN_MEASURES, "empc": empc(clv, self.offer)}
        rule = f"the rule ({' + '.join(model.rule_columns)})"
        rivals = ((model.rule, rule), (model.regression, REGRESSION))
        compared = [
            ("auc", *rivals[0]),
            ("log_loss", *rivals[0]),
            ("empc", *rivals[0]),
            ("auc", *rivals[1]),
            ("empc", *rivals[1]),
        ]
        came, ranked = data.labels.astype(np.float64), self._alone(data)
        suspected = tuple(suspects(ranked, lambda name: _quick_auc(data, name), _quick_auc(data, None)))
        return Report(
            metrics=evaluate(measures, outcome, prediction, whose, seed),
            comparisons=tuple(
                compare(
                    measure, outcome, prediction, theirs.ravel(), name, customer=whose, seed=seed, measures=measures
                )
                for measure, theirs, name in compared
            ),
            pictures={
                "calibration.png": plots.calibration(came, model.probability[0], None),
                "decile_lift.png": plots.decile_lift(came, model.probability[0], model.rule[0], IN_PICTURES, "left"),
            },
            notes=(*_warned(suspected), *data.notes, *_columns(data)[1], self._money(model, data)),
            suspects=suspected,
        )

    def reads(self, model: TableChurnModel | LeftOut) -> Mapping[str, str]:
        """Return the table's columns that the model reads."""
        assert isinstance(model, TableChurnModel)
        return {column.name: "double" if column.kind == "number" else "string" for column in model.columns_.columns}

    def leans_on(
        self, model: TableChurnModel | LeftOut, known: Reference | None, data: LabelledTable
    ) -> Mapping[str, float]:
        """Return each column's mean absolute share in the log odds."""
        assert isinstance(model, TableChurnModel)
        rows = data.latest if len(data.latest) <= EXPLAINED else data.latest.sample(EXPLAINED, random_state=0)
        moves = np.abs(model.contributions(rows)).mean(axis=0)
        return dict(zip(model.columns_.names, (moves / max(moves.sum(), 1e-12)).tolist(), strict=True))

    def facts(self, model: TableChurnModel | LeftOut, data: LabelledTable) -> dict[str, Any]:
        """Return the definition, the columns and the money."""
        assert isinstance(model, TableChurnModel)
        return {
            "definition": f"{data.question.label} is {data.positive}",
            "features": len(model.columns_.names),
            "feature_names": list(model.columns_.names),
            "calibration": model.calibration_.method,
            "regression_share": model.blend_,
            "contact_cost": self.offer.contact_cost,
            "incentive_cost": self.offer.incentive_cost,
            "threshold": None if data.clv is not None else float(self.offer.threshold(DEFAULT_CLV)),
        }

    def champion_prediction(self, read: Reader, data: LabelledTable) -> Floats | str:
        """Predict rows new to the champion with it; of its own rows, take what was said when they were left out."""
        champion = read(None)
        theirs = (champion.meta["label"], champion.meta["positive"])
        if theirs != (data.question.label, data.positive):
            return f"the champion predicts {theirs[0]} = {theirs[1]}, so they cannot be compared"
        said = pd.read_parquet(io.BytesIO(read("judged").files[LEFT_OUT]))
        known = said.drop_duplicates("key").set_index("key").filter(like=DRAW).reindex(data.key).to_numpy().T
        model = self.load(champion.files)
        model.columns_.check(data.latest)
        fresh = ~np.isin(data.identity, said["identity"])
        draws = [known[draw % len(known)] for draw in range(len(data.folds))]
        probability = np.where(fresh, model.predict_proba(data.latest), np.stack(draws))
        if np.isnan(probability).any():
            return "the champion has learned from other rows of the same customers, so no comparison is fair"
        return np.asarray(probability.ravel())

    def _fit(self, data: LabelledTable, rows: Any) -> TableChurnModel:
        model = TableChurnModel(num_threads=1, seed=self.settings.seed)
        return model.fit(data.latest[rows], data.labels[rows], groups=data.group[rows])

    def _alone(self, data: LabelledTable) -> list[Alone]:
        return alone(data.latest, _columns(data)[0], data.labels, data.folds[0])

    def _refuse_giveaways(self, data: LabelledTable) -> None:
        found = giveaways(self._alone(data))
        if found:
            named = ", ".join(f"{one.name} (AUC {one.auc:.3f} alone)" for one in found)
            options = " ".join(f"--exclude {one.name!r}" for one in found)
            raise SourceError(
                f"{data.source}: gives the label away: {named}; known only after the fact, or the label itself? "
                f"Leave out with {options}"
            )

    def _money(self, model: LeftOut, data: LabelledTable) -> str:
        """Say from which probability contacting pays, and what that would have earned on rows left out."""
        probability = model.probability.mean(axis=0)
        clv = data.clv if data.clv is not None else np.full(data.customers, DEFAULT_CLV)
        chosen = self.offer.expected_profit(probability, clv) > 0
        came = self.offer.expected_profit(data.labels.astype(np.float64), clv)
        worth = f"{data.question.clv} of each row" if data.clv is not None else f"{DEFAULT_CLV:g} (no --clv-column)"
        least = self.offer.threshold(clv)
        return (
            f"contacting pays from a probability of {np.median(least):.3f}{'' if data.clv is None else ' (median)'}: "
            f"{chosen.mean():.0%} of the rows, earning {came[chosen].sum() / len(came):.2f} a row, {came.mean():.2f} "
            f"if everybody were contacted (CLV {worth}, contact {self.offer.contact_cost:g}, "
            f"incentive {self.offer.incentive_cost:g}, {self.offer.accepted_share:.0%} accept)"
        )


def _columns(data: LabelledTable) -> tuple[Columns, tuple[str, ...]]:
    return Columns.learn(data.latest)


def _rule_columns(ranked: Sequence[Alone]) -> tuple[str, ...]:
    return tuple(one.name for one in ranked[:RULE_COLUMNS])


def _simple(data: LabelledTable, held: Any) -> tuple[Floats, Floats]:
    """Probabilities (n_held,) of the rule and of the regression, both learned from the other rows alone."""
    seen, labels, rows = data.latest[~held], data.labels[~held], data.latest[held]
    columns, _ = Columns.learn(seen)
    chosen = set(_rule_columns(alone(seen, columns, labels, data.folds[0][~held])))
    best = Columns(tuple(column for column in columns.columns if column.name in chosen))
    return _regression(best, seen, labels, rows), _regression(columns, seen, labels, rows)


def _regression(columns: Columns, seen: pd.DataFrame, labels: Any, rows: pd.DataFrame) -> Floats:
    log_odds = Linear.fit(columns.encode(seen), labels).log_odds(columns.encode(rows))
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def _quick_auc(data: LabelledTable, without: str | None) -> float:
    """AUC of the regression on rows of one fold left out: enough to see what one column adds."""
    held = data.folds[0] == 0
    kept = data.latest.drop(columns=[without] if without else [])
    columns, _ = Columns.learn(kept[~held])
    if not columns.columns:
        return 0.5
    probability = _regression(columns, kept[~held], data.labels[~held], kept[held])
    return auc(data.labels[held].astype(np.float64), probability, np.ones(int(held.sum())))


def _warned(suspected: Sequence[str]) -> list[str]:
    return [
        f"LEAK SUSPECT: {sentence}. If so: --exclude {sentence.partition(' may be known')[0]!r}"
        for sentence in suspected
    ]
