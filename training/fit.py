"""Training jobs: fit on the past, judge on what came later, fit again with everything, register, ask the gate."""

import hashlib
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from features.records import AsOf, Records
from models.artefact import read_artefact, require_plain_name, write_artefact
from models.definition import Definition
from models.reference import Reference
from models.retention_offer import RetentionOffer
from perennial.errors import RegistryError
from perennial.settings import Settings, settings
from training.churn_recipe import ChurnRecipe
from training.clv_recipe import ClvRecipe
from training.contest import SUSPECTS, decide
from training.dataset import gather
from training.labelled import Question, read_labelled
from training.lock import training_lock
from training.metrics import Comparison, Floats, Interval, Verdict, spoken
from training.model_card import Learned, ModelCard, keep_card
from training.promote import JUDGED_PATH, MODEL_PATH, Decision, settle
from training.recipes import Ground, Recipe, RecordsRecipe, Report
from training.registry import Registry, Run, Version
from training.segments_recipe import SegmentsRecipe
from training.table_recipe import TableChurnRecipe

Progress = Callable[[str], None]
RECIPES: Mapping[str, type[RecordsRecipe[Any]]] = {
    recipe.name: recipe for recipe in (ChurnRecipe, ClvRecipe, SegmentsRecipe)
}
SOURCE = "mlflow.source.name"  # what MLflow's table of runs shows as a run's source
RESERVED = (*RECIPES, "uplift", "all")


@dataclass(frozen=True)
class TrainingResult:
    """A registered version and what the hold-out said about the recipe that made it.

    ``metrics`` were measured on the ``customers`` of ``judged_on``, which the judged fit had not seen; the registered
    fit went on to learn from them too. ``digest`` is the artefact's hash: same data, same settings, same digest.
    """

    name: str
    version: int
    promoted: bool
    reason: str
    judged_on: str
    customers: int
    report: Report
    fingerprint: str
    digest: str
    run_id: str
    card: Path

    @property
    def metrics(self) -> Mapping[str, Interval]:
        """Measures on the hold-out."""
        return self.report.metrics

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Comparisons with simple rules on the hold-out."""
        return self.report.comparisons

    @property
    def verdict(self) -> Verdict | None:
        """Verdict of the first comparison with a simple rule; None where there is no rule to compare with."""
        return self.comparisons[0].verdict if self.comparisons else None

    def summary(self) -> str:
        """Say in a few lines what was trained, how good it is and whether it serves."""
        state = "champion" if self.promoted else "challenger, not serving"
        lines = [
            f"{self.name} version {self.version}: {state} ({self.reason})",
            f"  judged on {self.judged_on}: "
            + ", ".join(f"{spoken(name)} {value}" for name, value in list(self.metrics.items())[:4]),
            *(f"  {comparison}" for comparison in self.comparisons),
            *(f"  {note}" for note in self.report.notes),
            f"  model card → {self.card}",
        ]
        return "\n".join(lines)


def train_all(
    records: Records, as_of: AsOf, horizon_days: int, *, progress: Progress | None = None, command: str = ""
) -> tuple[TrainingResult, ...]:
    """Train every model on everything before ``as_of``."""
    return train(tuple(RECIPES), records, as_of, horizon_days, progress=progress, command=command)


def train(
    names: Sequence[str],
    records: Records,
    as_of: AsOf,
    horizon_days: int,
    *,
    definition: Definition = Definition.NO_PURCHASE,
    search_trials: int = 0,
    progress: Progress | None = None,
    command: str = "",
) -> tuple[TrainingResult, ...]:
    """Train some of ``RECIPES`` on everything before ``as_of``, from one pass over the records.

    ``definition`` is what churn means; ``search_trials`` shapes of its trees are tried (`training.search`);
    ``command`` is what a person types for the same, for the model card.
    """
    config, say = settings(), progress or (lambda _: None)
    with training_lock(config.home, f"training of {', '.join(names)}"):
        say("building snapshots at past cutoffs")
        recipes = [
            ChurnRecipe(config, search_trials) if name == ChurnRecipe.name else RECIPES[name](config) for name in names
        ]
        needs_labels = any(recipe.labels == "needed" for recipe in recipes)
        data = gather(records, as_of, horizon_days, needs_labels=needs_labels, definition=definition)
        say("opening the model registry")
        registry = Registry(config.mlflow_uri)
        return tuple(run_job(recipe, data, registry, config, say, command) for recipe in recipes)


def train_table(
    name: str, question: Question, offer: RetentionOffer, *, progress: Progress | None = None, command: str = ""
) -> TrainingResult:
    """Train a churn model of a labelled table under a name of its own."""
    config, say = settings(), progress or (lambda _: None)
    require_plain_name(name)
    if name in RESERVED:
        raise RegistryError(f"--name {name} is taken by the models of records ({', '.join(RESERVED)}); choose another")
    with training_lock(config.home, f"training of {name}"):
        table = read_labelled(question, config.seed)
        say("opening the model registry")
        registry = Registry(config.mlflow_uri)
        return run_job(TableChurnRecipe(config, name, offer), table, registry, config, say, command)


def run_job(
    recipe: Recipe[Any, Ground],
    data: Ground,
    registry: Registry,
    config: Settings,
    say: Progress,
    command: str = "",
) -> TrainingResult:
    """Train one model in one run; the caller holds the home's lock."""
    here = _here(config)
    registry.bury_dead_runs(recipe.name, here)
    title, tags = f"{recipe.name} {data.title}", {**data.tags, **here, SOURCE: command or "train"}
    with registry.run(recipe.name, title, tags) as run, tempfile.TemporaryDirectory() as folder:
        fitted = _fit(recipe, data, _log_data(run, recipe, data), say)
        artefact = _keep(run, recipe, data, fitted, Path(folder))
        decision = decide(
            recipe, fitted.final, data, fitted.prediction, fitted.report, registry, Path(folder) / "champion"
        )
        version = _register(registry, run, recipe, data, fitted.report, decision)
        card = ModelCard(
            of=_learned(recipe, data, fitted),
            version=version.number,
            promoted=decision.promoted,
            reason=decision.reason,
            report=fitted.report,
            digest=read_artefact(artefact, recipe.kind).digest,
            run_id=run.run_id,
            command=command,
        )
        run.log_files("card", card.to_files())
        page = keep_card(config.cards, card)
        settle(registry, version, artefact, decision, config)
    return TrainingResult(
        name=recipe.name,
        version=version.number,
        promoted=decision.promoted,
        reason=decision.reason,
        judged_on=data.judged_on,
        customers=data.customers,
        report=fitted.report,
        fingerprint=fitted.facts["fingerprint"],
        digest=card.digest,
        run_id=run.run_id,
        card=page,
    )


@dataclass(frozen=True)
class _Fitted:
    """Both fits of a recipe; ``meta`` is what the artefacts of both say, ``facts`` what else the final one's does."""

    judged: Any
    prediction: Floats
    report: Report
    final: Any
    known: Reference | None
    meta: Mapping[str, Any]
    facts: Mapping[str, Any]


def _fit(recipe: Recipe[Any, Ground], data: Ground, fingerprint: str, say: Progress) -> _Fitted:
    say(f"{recipe.name}: fitting and judging on {data.judged_on}")
    judged = recipe.fit(data, final=False)
    prediction = recipe.predict(judged, data.heldout, data)
    report = recipe.report(judged, data, prediction)
    say(f"{recipe.name}: fitting again with everything")
    final = recipe.fit(data, final=True)
    meta = _meta(recipe, data, report, fingerprint)
    facts = meta | recipe.facts(final, data)
    return _Fitted(judged, prediction, report, final, recipe.reference(final, data), meta, facts)


def _keep(run: Run, recipe: Recipe[Any, Ground], data: Ground, fitted: _Fitted, folder: Path) -> Path:
    """Write and log the artefacts of both fits and what was measured; return the final one's folder."""
    files = recipe.files(fitted.final) | (fitted.known.to_files() if fitted.known else {})
    about = {**fitted.facts, **data.closed(final=True)}
    artefact = write_artefact(folder / MODEL_PATH, recipe.kind, files, about)
    earlier = write_artefact(
        folder / JUDGED_PATH, recipe.kind, recipe.files(fitted.judged), {**fitted.meta, **data.closed(final=False)}
    )
    _log_fit(run, fitted.report, fitted.facts)
    run.log_model(MODEL_PATH, artefact, recipe.kind, recipe.reads(fitted.final), recipe.says)
    run.log_directory(JUDGED_PATH, earlier)
    run.log_files("search", recipe.trail())
    return artefact


def _learned(recipe: Recipe[Any, Ground], data: Ground, fitted: _Fitted) -> Learned:
    return Learned(
        name=recipe.name,
        kind=recipe.kind,
        trained_at=datetime.now(UTC),
        source=data.source,
        described=data.described(),
        judged_on=data.judged_on,
        facts=fitted.facts,
        sufficiency=recipe.sufficiency(fitted.final, data),
        leans_on=recipe.leans_on(fitted.final, fitted.known, data),
    )


def _register(
    registry: Registry, run: Run, recipe: Recipe[Any, Ground], data: Ground, report: Report, decision: Decision
) -> Version:
    verdict = f"{'passed' if decision.promoted else 'refused'}: {decision.reason}"
    points = "\n".join(f"- {point}" for point in (*report.comparisons, *report.notes))
    note = f"Gate {verdict}.\n\n{points}"
    suspects = {SUSPECTS: "; ".join(report.suspects)[:4000] or "none"}
    run.tag({"gate": verdict[:4000], "mlflow.note.content": note, **suspects})
    tags = {**data.tags, "gate": verdict[:4000], **suspects, recipe.ranking: str(report.metrics[recipe.ranking])}
    return registry.register(recipe.name, run, MODEL_PATH, tags, note)


def _log_data(run: Run, recipe: Recipe[Any, Ground], data: Ground) -> str:
    used = data.used(recipe.labels)
    for context, rows in used.items():
        run.log_dataset(f"{data.source} {context}", rows.digest, data.source, rows.profile, context)
    both = hashlib.sha256("".join(rows.digest for rows in used.values()).encode()).hexdigest()
    run.tag({"fingerprint": both})
    return both


def _log_fit(run: Run, report: Report, params: Mapping[str, Any]) -> None:
    run.log_params({key: value for key, value in params.items() if not isinstance(value, dict)})
    measured = {
        f"{name}{end}": value
        for name, interval in report.metrics.items()
        for end, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high))
    }
    differences = {f"{c.measure}_against_rule": c.difference.value for c in report.comparisons}
    run.log_metrics(measured | differences)
    run.log_files("plots", report.pictures)
    run.log_files("parts", report.parts())


def _here(config: Settings) -> dict[str, str]:
    """Whose run it is: with the home's lock held, an open run of this home on this machine is a dead one."""
    home = hashlib.sha256(str(config.home.resolve()).encode()).hexdigest()[:16]
    return {"perennial.home": f"{platform.node()}:{home}"}


def _meta(recipe: Recipe[Any, Ground], data: Ground, report: Report, fingerprint: str) -> dict[str, Any]:
    return {
        "name": recipe.name,
        **data.about(),
        "seed": recipe.settings.seed,
        "fingerprint": fingerprint,
        "holdout_metrics": {name: _finite(interval) for name, interval in report.metrics.items()},
        "comparisons": [str(comparison) for comparison in report.comparisons],
    }


def _finite(interval: Interval) -> list[float | None]:
    values = (interval.value, interval.low, interval.high)
    return [round(value, 9) if np.isfinite(value) else None for value in values]
