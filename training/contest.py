"""A new version against the champion: on the same later rows, overall and in every large part of the customers."""

from pathlib import Path
from typing import Any

import numpy as np

from models.artefact import Artefact, read_artefact
from perennial.errors import ArtefactError, SourceError
from training.metrics import Comparison, Floats, compare, corrected
from training.promote import LEAST_SPREAD, Decision, gate
from training.recipes import Ground, Recipe, Report
from training.registry import CHAMPION, Registry

SUSPECTS = "suspects"


def decide(
    recipe: Recipe[Any, Ground],
    final: Any,
    data: Ground,
    prediction: Floats,
    report: Report,
    registry: Registry,
    folder: Path,
) -> Decision:
    """Say whether the version becomes champion; artefacts of the reigning one are fetched into ``folder``."""
    unsound = _sound(recipe, final, data)
    if unsound:
        return unsound
    ranking = report.metrics[recipe.ranking]
    champion = registry.alias(recipe.name, CHAMPION)
    if champion is None:
        return gate(prediction, ranking, recipe.chance, None)
    if report.suspects and champion.tags.get(SUSPECTS) == "none":
        return Decision(False, f"{'; '.join(report.suspects)}; {_by_hand(recipe)}")

    def read(beside: str | None) -> Artefact:
        return read_artefact(registry.fetch(champion, folder / (beside or "model"), beside), recipe.kind)

    name = f"champion {champion.number}"
    try:
        theirs = recipe.champion_prediction(read, data)
    except (ArtefactError, SourceError) as error:
        own = gate(prediction, ranking, recipe.chance, None)
        return Decision(own.promoted, f"{own.reason}; {name} cannot be used ({error})")
    if isinstance(theirs, str):
        own = gate(prediction, ranking, recipe.chance, [])
        return Decision(False, f"{theirs}; {_by_hand(recipe)}" if own.promoted else own.reason)
    everyone, parts = (
        _everyone(recipe, data, prediction, theirs, name),
        _by_parts(recipe, data, prediction, theirs, name),
    )
    return gate(prediction, ranking, recipe.chance, everyone, parts)


def _by_hand(recipe: Recipe[Any, Any]) -> str:
    return f"`perennial promote {recipe.name}` decides"


def _everyone(recipe: Recipe[Any, Ground], data: Ground, ours: Floats, theirs: Floats, name: str) -> list[Comparison]:
    outcome, whose, seed = recipe.outcome(data), recipe.customer(data), recipe.settings.seed
    return [compare(measure, outcome, ours, theirs, name, customer=whose, seed=seed) for measure in recipe.gated_by]


def _by_parts(
    recipe: Recipe[Any, Ground], data: Ground, ours: Floats, theirs: Floats, name: str
) -> dict[str, Comparison]:
    """Compare within each large part, and judge the parts together."""
    if recipe.parts_gated_by is None:
        return {}
    outcome, parts, seed = recipe.outcome(data), recipe.parts(data), recipe.settings.seed
    found = [
        compare(recipe.parts_gated_by, outcome[mask], ours[mask], theirs[mask], name, seed=seed)
        for mask in parts.values()
    ]
    return dict(zip(parts, corrected(found), strict=True))


def _sound(recipe: Recipe[Any, Ground], final: Any, data: Ground) -> Decision | None:
    """Refuse a final fit that is degenerate though the judged one was not."""
    prediction = recipe.predict(final, data.latest, data)
    if np.isfinite(prediction).all() and np.ptp(prediction) >= LEAST_SPREAD:
        return None
    return Decision(False, "fitted with everything, it predicts the same, or nothing, for every customer")
