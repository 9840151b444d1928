"""Training jobs: fit on the past, judge on what came later, fit again with everything, register, ask the gate."""

import hashlib
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.records import AsOf, Records
from models.artefact import Artefact, read_artefact, write_artefact
from perennial.errors import ArtefactError, SourceError
from perennial.settings import Settings, settings
from training.churn_recipe import ChurnRecipe
from training.clv_recipe import ClvRecipe
from training.dataset import Data, fingerprint, gather
from training.lock import training_lock
from training.metrics import Comparison, Floats, Interval, Verdict, compare, spoken
from training.promote import JUDGED_PATH, LEAST_SPREAD, MODEL_PATH, Decision, gate, settle
from training.recipes import Recipe, Report
from training.registry import CHAMPION, Registry, Run, Version
from training.segments_recipe import SegmentsRecipe

Progress = Callable[[str], None]
RECIPES: Mapping[str, type[Recipe[Any]]] = {recipe.name: recipe for recipe in (ChurnRecipe, ClvRecipe, SegmentsRecipe)}


@dataclass(frozen=True)
class TrainingResult:
    """A registered version and what the hold-out said about the recipe that made it.

    ``metrics`` were measured on the ``customers`` of ``holdout``, which the judged fit had not seen; the registered
    fit went on to learn from that window too. ``digest`` is the artefact's hash: same data, same settings, same digest.
    """

    name: str
    version: int
    promoted: bool
    reason: str
    as_of: date
    horizon_days: int
    holdout: date
    customers: int
    metrics: Mapping[str, Interval]
    comparisons: tuple[Comparison, ...]
    fingerprint: str
    digest: str
    run_id: str

    @property
    def verdict(self) -> Verdict | None:
        """Verdict of the first comparison with a simple rule; None where there is no rule to compare with."""
        return self.comparisons[0].verdict if self.comparisons else None

    def summary(self) -> str:
        """Say in a few lines what was trained, how good it is and whether it serves."""
        state = "champion" if self.promoted else "challenger, not serving"
        lines = [
            f"{self.name} version {self.version}: {state} ({self.reason})",
            f"  judged on {self.customers:,} customers over {self.horizon_days} days from {self.holdout}: "
            + ", ".join(f"{spoken(name)} {value}" for name, value in list(self.metrics.items())[:4]),
            *(f"  {comparison}" for comparison in self.comparisons),
        ]
        return "\n".join(lines)


def train_all(
    records: Records, as_of: AsOf, horizon_days: int, *, progress: Progress | None = None
) -> tuple[TrainingResult, ...]:
    """Train every model on everything before ``as_of``."""
    return train(tuple(RECIPES), records, as_of, horizon_days, progress=progress)


def train(
    names: Sequence[str], records: Records, as_of: AsOf, horizon_days: int, *, progress: Progress | None = None
) -> tuple[TrainingResult, ...]:
    """Train some of ``RECIPES`` on everything before ``as_of``, from one pass over the records."""
    config, say = settings(), progress or (lambda _: None)
    with training_lock(config.home, f"training of {', '.join(names)}"):
        say("building snapshots at past cutoffs")
        recipes = [RECIPES[name](config) for name in names]
        fits_on_labels = any(recipe.fits_on_labels for recipe in recipes)
        data = gather(records, as_of, horizon_days, fits_on_labels=fits_on_labels)
        say("opening the model registry")
        registry = Registry(config.mlflow_uri)
        return tuple(run_job(recipe, data, registry, config, say) for recipe in recipes)


def run_job(recipe: Recipe[Any], data: Data, registry: Registry, config: Settings, say: Progress) -> TrainingResult:
    """Train one model in one run; the caller holds the home's lock."""
    here = _here(config)
    registry.bury_dead_runs(recipe.name, here)
    title = f"{recipe.name} {data.end.day} {data.horizon_days}d"
    with registry.run(recipe.name, title, {**_tags(data), **here}) as run, tempfile.TemporaryDirectory() as folder:
        digests = _log_data(run, recipe, data)
        say(f"{recipe.name}: fitting on the past and judging on {data.horizon_days} days from {data.holdout.day}")
        judged = recipe.fit(data, final=False)
        prediction = recipe.predict(judged, data.heldout, data.horizon_days)
        report = recipe.report(judged, data, prediction)
        say(f"{recipe.name}: fitting again with everything until {data.end.day}")
        final = recipe.fit(data, final=True)
        meta = _meta(recipe, data, report, digests)
        facts = recipe.facts(final, data)
        artefact = write_artefact(
            Path(folder) / MODEL_PATH, recipe.name, recipe.files(final), {**meta, **facts, **_closed(data.end)}
        )
        earlier = write_artefact(
            Path(folder) / JUDGED_PATH, recipe.name, recipe.files(judged), {**meta, **_closed(data.holdout)}
        )
        _log_fit(run, report, {**meta, **facts}, {MODEL_PATH: artefact, JUDGED_PATH: earlier})
        decision = _sound(recipe, final, data) or _decide(recipe, data, prediction, report, registry, Path(folder))
        version = _register(registry, run, recipe, data, report, decision)
        settle(registry, version, artefact, decision, config)
        digest = read_artefact(artefact, recipe.name).digest
    return TrainingResult(
        name=recipe.name,
        version=version.number,
        promoted=decision.promoted,
        reason=decision.reason,
        as_of=data.end.day,
        horizon_days=data.horizon_days,
        holdout=data.holdout.day,
        customers=len(prediction),
        metrics=report.metrics,
        comparisons=report.comparisons,
        fingerprint=digests["fingerprint"],
        digest=digest,
        run_id=run.run_id,
    )


def _sound(recipe: Recipe[Any], final: Any, data: Data) -> Decision | None:
    """Refuse a final fit that is degenerate though the judged one was not."""
    prediction = recipe.predict(final, data.latest, data.horizon_days)
    if np.isfinite(prediction).all() and np.ptp(prediction) >= LEAST_SPREAD:
        return None
    return Decision(False, "fitted with everything, it predicts the same, or nothing, for every customer")


def _decide(
    recipe: Recipe[Any], data: Data, prediction: Floats, report: Report, registry: Registry, folder: Path
) -> Decision:
    ranking = report.metrics[recipe.ranking]
    champion = registry.alias(recipe.name, CHAMPION)
    if champion is None:
        return gate(prediction, ranking, recipe.chance, None)
    try:
        rival = _rival(recipe, registry, champion, data, folder)
    except (ArtefactError, SourceError) as error:
        own = gate(prediction, ranking, recipe.chance, None)
        return Decision(own.promoted, f"{own.reason}; champion {champion.number} cannot be used ({error})")
    if isinstance(rival, str):
        own = gate(prediction, ranking, recipe.chance, [])
        return Decision(False, f"{rival}; `perennial promote {recipe.name}` decides" if own.promoted else own.reason)
    theirs, outcome = recipe.predict(rival, data.heldout, data.horizon_days), recipe.outcome(data.heldout)
    name, seed = f"champion {champion.number}", recipe.settings.seed
    comparisons = [compare(measure, outcome, prediction, theirs, name, seed=seed) for measure in recipe.gated_by]
    return gate(prediction, ranking, recipe.chance, comparisons)


def _rival(recipe: Recipe[Any], registry: Registry, champion: Version, data: Data, folder: Path) -> Any:
    """Return the champion, as it stood before the hold-out, to be judged on the same customers; or why there is none.

    A champion that has already learned from the hold-out would be judged on its own lessons; then the fit that was
    judged before it was registered stands in for it.
    """
    for beside in (None, JUDGED_PATH):
        found = registry.fetch(champion, folder / f"champion_{beside}", beside)
        artefact: Artefact = read_artefact(found, recipe.name)
        objection = recipe.objection(artefact, data.horizon_days)
        if objection is not None:
            return objection
        if datetime.fromisoformat(artefact.meta["closed_until"]) <= data.holdout.instant:
            return recipe.load(artefact.files)
    return f"champion {champion.number} has learned from records after {data.holdout.day}, so no comparison is fair"


def _register(
    registry: Registry, run: Run, recipe: Recipe[Any], data: Data, report: Report, decision: Decision
) -> Version:
    verdict = f"{'passed' if decision.promoted else 'refused'}: {decision.reason}"
    comparisons = "\n".join(f"- {comparison}" for comparison in report.comparisons)
    note = f"Gate {verdict}.\n\n{comparisons}"
    run.tag({"gate": verdict[:4000], "mlflow.note.content": note})
    tags = {**_tags(data), "gate": verdict[:4000], recipe.ranking: str(report.metrics[recipe.ranking])}
    return registry.register(recipe.name, run, MODEL_PATH, tags, note)


def _log_data(run: Run, recipe: Recipe[Any], data: Data) -> dict[str, str]:
    used = {"training": data.rows if recipe.fits_on_labels else data.latest, "holdout": data.heldout}
    if recipe.fits_on_labels:
        used["judged"] = data.judged
    digests = {context: fingerprint(rows) for context, rows in used.items()}
    for context, rows in used.items():
        run.log_dataset(f"{data.records.name} {context}", digests[context], data.records.name, _profile(rows), context)
    both = hashlib.sha256("".join(digests.values()).encode()).hexdigest()
    run.tag({"fingerprint": both})
    return {"fingerprint": both}


def _log_fit(run: Run, report: Report, params: Mapping[str, Any], artefacts: Mapping[str, Path]) -> None:
    run.log_params({key: value for key, value in params.items() if not isinstance(value, dict)})
    measured = {
        f"{name}{end}": value
        for name, interval in report.metrics.items()
        for end, value in (("", interval.value), ("_low", interval.low), ("_high", interval.high))
    }
    differences = {f"{c.measure}_against_rule": c.difference.value for c in report.comparisons}
    run.log_metrics(measured | differences)
    run.log_files("plots", report.pictures)
    for path, directory in artefacts.items():
        run.log_directory(path, directory)


def _here(config: Settings) -> dict[str, str]:
    """Whose run it is: with the home's lock held, an open run of this home on this machine is a dead one."""
    home = hashlib.sha256(str(config.home.resolve()).encode()).hexdigest()[:16]
    return {"perennial.home": f"{platform.node()}:{home}"}


def _tags(data: Data) -> dict[str, str]:
    return {"as_of": str(data.end.day), "horizon_days": str(data.horizon_days), "records": data.records.name}


def _meta(recipe: Recipe[Any], data: Data, report: Report, digests: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "as_of": data.end.instant.isoformat(),
        "horizon_days": data.horizon_days,
        "holdout_cutoff": data.holdout.day.isoformat(),
        "holdout_customers": len(data.heldout),
        "customers": len(data.latest),
        "records": data.records.name,
        "timezone": data.records.timezone,
        "currency": data.records.currency,
        "seed": recipe.settings.seed,
        **digests,
        "holdout_metrics": {name: _finite(interval) for name, interval in report.metrics.items()},
        "comparisons": [str(comparison) for comparison in report.comparisons],
    }


def _closed(moment: AsOf) -> dict[str, str]:
    return {"closed_until": moment.instant.isoformat()}


def _finite(interval: Interval) -> list[float | None]:
    values = (interval.value, interval.low, interval.high)
    return [round(value, 9) if np.isfinite(value) else None for value in values]


def _profile(rows: pd.DataFrame) -> str:
    churned = f', "churned": {rows["churned"].mean():.6f}' if "churned" in rows else ""
    return f'{{"num_rows": {len(rows)}, "customers": {rows["customer_id"].nunique()}{churned}}}'
