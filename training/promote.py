"""Which version serves: the gate a challenger must pass, promotion by hand, and the way back.

The registry's ``champion`` alias is the decision, the shelf is its publication (serving reads only that), and
``promotions.jsonl`` in the home is its history: one line per change or refusal, never rewritten.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from models.artefact import publish
from perennial.errors import OutputError, RegistryError
from perennial.settings import Settings, settings
from training.lock import training_lock
from training.metrics import Comparison, Floats, Interval, Verdict
from training.registry import CHALLENGER, CHAMPION, Registry, Version

MODEL_PATH, JUDGED_PATH = "model", "judged"
LOG = "promotions.jsonl"
ROLLBACK, REFUSED = "rollback", "refused"
LEAST_SPREAD = 1e-6
# On the same customers even a trifling change of the mean is distinguishable; so much of it is let pass.
TOLERATED = {"calibration_error": 0.01}
# The same in a part of the customers, as a share of the champion's: 2 % of a log loss of 0.5 is what calling 40 % of
# leavers 33 % costs.
TOLERATED_IN_PART = 0.02


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a challenger becomes champion, and why (a sentence for people)."""

    promoted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """One line of the promotion log: a change of champion, or a challenger refused while ``previous`` stays."""

    at: str
    name: str
    version: int
    previous: int | None
    action: str
    reason: str


def gate(
    prediction: Floats,
    ranking: Interval,
    chance: float,
    comparisons: Sequence[Comparison] | None,
    parts: Mapping[str, Comparison] | None = None,
) -> Decision:
    """Decide on a challenger from the hold-out alone.

    Parameters
    ----------
    ranking, chance
        AUC or normalised Gini on the hold-out, and its value for someone who guesses.
    comparisons
        Challenger against champion on the same customers; None when there is no champion.
    parts
        The same for large parts of the customers, by name, judged together (`training.metrics.corrected`).
    """
    if prediction.max() - prediction.min() < LEAST_SPREAD:
        return Decision(False, f"it predicts {prediction[0]:.3g} for every customer")
    if not ranking.low > chance:
        return Decision(False, f"its ranking {ranking} cannot be told from guessing ({chance:g})")
    if comparisons is None:
        return Decision(True, "first version, and its ranking beats guessing")
    worse = [str(found) for found in comparisons if _worse_by(found) > TOLERATED.get(found.measure, 0.0)]
    worse += [
        f"among {name}: {found}"
        for name, found in (parts or {}).items()
        if _worse_by(found) > TOLERATED_IN_PART * abs(found.baseline)
    ]
    if worse:
        return Decision(False, "; ".join(worse))
    return Decision(True, "; ".join(map(str, comparisons)))


def _worse_by(comparison: Comparison) -> float:
    """Return by how much the challenger is worse for certain, 0 where it is not."""
    if comparison.verdict is not Verdict.WORSE:
        return 0.0
    return min(abs(comparison.difference.low), abs(comparison.difference.high))


def settle(registry: Registry, version: Version, artefact: Path, decision: Decision, config: Settings) -> None:
    """Carry a gate's decision out: publish and alias a champion, or alias a challenger; either way, log it."""
    if decision.promoted:
        _enthrone(registry, version, artefact, "gate", decision.reason, config)
        return
    registry.set_alias(version.name, CHALLENGER, version.number)
    champion = registry.alias(version.name, CHAMPION)
    _log(config.home, version, champion, REFUSED, decision.reason)


def promote(name: str, version: int | None = None) -> str:
    """Make a registered version (default: the newest) the champion by hand; the gate's opinion is only quoted."""
    config = settings()
    with training_lock(config.home, f"promotion of {name}"):
        registry = Registry(config.mlflow_uri)
        chosen = registry.version(name, version)
        if registry.alias(name, CHAMPION) == chosen:
            raise RegistryError(f"{name} version {chosen.number} is the champion already; nothing was changed")
        opinion = chosen.tags.get("gate", "no gate was run")
        _publish_from_registry(registry, chosen, "promote", f"by hand; at training: {opinion}", config)
    return f"{name} version {chosen.number} is now the champion (at training: {opinion})"


def rollback(name: str) -> str:
    """Return to the champion before this one."""
    config = settings()
    with training_lock(config.home, f"rollback of {name}"):
        registry = Registry(config.mlflow_uri)
        current = registry.alias(name, CHAMPION)
        previous = _previous(promotions(config.home), name, current.number if current else None)
        if previous is None:
            raise RegistryError(f"{name} has no earlier champion in {config.home / LOG}; nothing was changed")
        chosen = registry.version(name, previous)
        _publish_from_registry(registry, chosen, ROLLBACK, "by hand", config)
    return f"{name} is back at version {chosen.number}"


def promotions(home: Path) -> list[Promotion]:
    """Return the promotion log, oldest first."""
    path = home / LOG
    if not path.exists():
        return []
    return [Promotion(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _previous(log: Sequence[Promotion], name: str, current: int | None) -> int | None:
    """Replay the log as a stack; a rollback takes from it, so a second one goes further back."""
    stack: list[int] = []
    for line in (line for line in log if line.name == name and line.action != REFUSED):
        if line.action == ROLLBACK:
            while stack and stack[-1] != line.version:
                stack.pop()
        else:
            stack.append(line.version)
    if stack and stack[-1] == current:
        stack.pop()
    return stack[-1] if stack else None


def _publish_from_registry(registry: Registry, version: Version, action: str, reason: str, config: Settings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _enthrone(registry, version, registry.fetch(version, Path(folder)), action, reason, config)


def _enthrone(registry: Registry, version: Version, artefact: Path, action: str, reason: str, config: Settings) -> None:
    """Publish, alias, log: killed in between, serving has one whole champion and the next promotion mends the rest."""
    before = registry.alias(version.name, CHAMPION)
    publish(config.shelf, version.name, str(version.number), artefact)
    try:
        registry.set_alias(version.name, CHAMPION, version.number)
    except RegistryError as error:
        raise RegistryError(
            f"{version.name} version {version.number} serves already, but it could not be marked champion: {error}; "
            f"to finish, run `perennial promote {version.name} --version {version.number}` again"
        ) from error
    challenger = registry.alias(version.name, CHALLENGER)
    if challenger is not None and challenger.number == version.number:
        registry.set_alias(version.name, CHALLENGER, None)
    _log(config.home, version, before, action, reason)


def _log(home: Path, version: Version, before: Version | None, action: str, reason: str) -> None:
    now, path = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", home / LOG
    line = Promotion(now, version.name, version.number, before.number if before else None, action, reason)
    try:
        with path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")
            log.flush()
            os.fsync(log.fileno())
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); {action} of {line.name} version {line.version} is done all "
            "the same"
        ) from error
