"""A model card for every registered version, as a page and as Markdown: what, how good, for what, how again."""

import base64
import platform
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version as installed
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from features.catalogue import FEATURES
from models.early_warning import MAY_LEAVE
from models.sufficiency import Sufficiency
from perennial.errors import OutputError
from perennial.files import replacing
from training.metrics import spoken
from training.recipes import Report

PAGE, TEXT = "model_card.html", "model_card.md"
MOST_FEATURES = 15
PACKAGES = ("perennial", "lightgbm", "numpy", "scipy", "pandas", "scikit-learn", "duckdb", "ibis-framework")
# Facts of the artefact that a reader needs, and what they are called.
TOLD = MappingProxyType(
    {
        "definition": "definition",
        "horizon_days": "horizon, days",
        "window_days": "windows learned from, days",
        "training_cutoffs": "training cutoffs",
        "calibration_cutoff": "calibrated at",
        "calibration": "calibration",
        "purchase_model": "purchases",
        "clv_basis": "value is",
        "clv_horizon_days": "value looks ahead, days",
        "features": "features",
        "excluded": "columns left out",
    }
)
Facts = Mapping[str, Any]
LIMITS: Mapping[str, Callable[[Facts], bool]] = MappingProxyType(
    {
        "extrapolated": lambda facts: facts.get("window_days", facts.get("horizon_days")) != facts.get("horizon_days"),
        "season_unseen": lambda facts: facts.get("season_seen") is False,
        "low_grade": lambda facts: facts.get("data_grade") in ("C", "D"),
        "revenue": lambda facts: facts.get("clv_basis") == "revenue",
        "one_window": lambda facts: "holdout_cutoff" in facts,
        "no_fairness": lambda facts: facts["kind"] == "churn" and not facts["fairness"],
        "table_fairness": lambda facts: facts["kind"] == "table_churn",
    }
)


class Lean(NamedTuple):
    """A feature, its share in what moves the prediction, and what it means."""

    name: str
    share: float
    meaning: str


@dataclass(frozen=True)
class Learned:
    """What a model is and was fitted on.

    ``described`` says in words what it was trained on, ``facts`` are the artefact's own, ``leans_on`` shares by
    feature, ``sufficiency`` how far the records go.
    """

    name: str
    kind: str
    trained_at: datetime
    source: str
    described: Mapping[str, str]
    judged_on: str
    facts: Facts
    sufficiency: Sufficiency | None
    leans_on: Mapping[str, float]


@dataclass(frozen=True)
class ModelCard:
    """What there is to say of one registered version; ``command`` is empty where none was typed."""

    of: Learned
    version: int
    promoted: bool
    reason: str
    report: Report
    digest: str
    run_id: str
    command: str = ""

    def to_files(self) -> dict[str, bytes]:
        """Return the page, which opens without a network, and the Markdown."""
        return {PAGE: self._render(f"{PAGE}.j2").encode(), TEXT: self._render(f"{TEXT}.j2").encode()}

    def _render(self, template: str) -> str:
        fairness, words = self.report.fairness, _texts()
        facts = {**self.of.facts, "kind": self.of.kind, "fairness": fairness}
        return (
            _environment(template)
            .get_template(template)
            .render(
                card=self,
                text=words[self.of.kind],
                state="champion" if self.promoted else "challenger, not serving",
                learned={**self.of.described, **self._told()},
                lacks=self._lacks(),
                fairness=fairness,
                selected_from=MAY_LEAVE,
                leans=self._leans(),
                limits=[words["limits"][name].format(**facts) for name, applies in LIMITS.items() if applies(facts)],
                again=self._again(),
                pictures={name: base64.b64encode(png).decode() for name, png in self._pictures().items()},
                spoken=spoken,
                number=lambda value: f"{value:,.3f}" if np.isfinite(value) else "–",
                percent=lambda share: f"{100 * share:.1f} %",
            )
        )

    def _told(self) -> dict[str, str]:
        told = {words: _said(self.of.facts[name]) for name, words in TOLD.items() if self.of.facts.get(name)}
        grade = self.of.sufficiency and {"data grade": self.of.facts.get("data_grade", self.of.sufficiency.grade)}
        return told | (grade or {})

    def _lacks(self) -> list[str]:
        if self.of.sufficiency is None:
            return []
        words = _texts()["short"]
        return [words[short.fact].format(have=short.have, need=short.need) for short in self.of.sufficiency.missing]

    def _leans(self) -> list[Lean]:
        first = sorted(self.of.leans_on.items(), key=lambda lean: -lean[1])[:MOST_FEATURES]
        return [
            Lean(name, share, FEATURES[name].meaning("en") if name in FEATURES else "a column of the table")
            for name, share in first
            if share > 0
        ]

    def _pictures(self) -> dict[str, bytes]:
        return {name.removesuffix(".png").replace("_", " "): png for name, png in self.report.pictures.items()}

    def _again(self) -> dict[str, str]:
        versions = ", ".join(f"{name} {installed(name)}" for name in PACKAGES)
        return {
            "artefact hash": self.digest,
            "fingerprint of the rows": self.of.facts["fingerprint"],
            "seed": str(self.of.facts["seed"]),
            "run": self.run_id,
            "versions": f"Python {platform.python_version()}, {versions}",
        }


def keep_card(folder: Path, card: ModelCard) -> Path:
    """Write the card's files as ``<folder>/<name>/<version>.html`` and ``.md`` and return the page."""
    place = folder / card.of.name
    for name, content in card.to_files().items():
        path = place / f"{card.version}{Path(name).suffix}"
        try:
            with replacing(path) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{path}: the model card cannot be written ({error.strerror})") from error
    return place / f"{card.version}.html"


def _said(fact: Any) -> str:
    return ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact)


@lru_cache
def _texts() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads((files("training") / "templates" / "model_card.toml").read_text(encoding="utf-8"))


def _environment(template: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("training"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["one_line"] = lambda text: " ".join(str(text).split())
    environment.filters["cell"] = lambda text: " ".join(str(text).split()).replace("|", r"\|")
    return environment
