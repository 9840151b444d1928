"""What a monitoring found, on disk: JSON for alerts, gauges for Prometheus' textfile collector, a page for people."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from features.catalogue import FEATURES
from perennial.errors import OutputError
from perennial.files import replacing
from training.ageing import Aged
from training.drift import PSI
from training.health import Check, Status
from training.metrics import Interval
from training.monitor import Findings

Language = Literal["en", "zh"]
FIGURES, GAUGES, PAGE = "monitor.json", "monitor.prom", "monitor.html"
FORMAT_VERSION = 1
WIDEST_PSI = 0.5  # a bar's full width


def write_monitor(found: Findings, directory: Path, language: Language) -> None:
    """Write all files into ``directory``; each takes its place whole."""
    contents = {
        FIGURES: to_json(found).encode(),
        GAUGES: to_gauges(found),
        PAGE: to_html(found, language).encode(),
    }
    for name, content in contents.items():
        try:
            with replacing(Path(directory) / name) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{directory / name} could not be written ({error}); what stood there stays") from error


def sentence(check: Check, language: Language) -> str:
    """Say what a check found."""
    return _texts()[language][check.said].format(**check.numbers)


def to_json(found: Findings) -> str:
    """Return everything as JSON: intervals are ``[value, low, high]``, null where undefined."""
    checks = {
        check.name: {
            "status": check.status.word,
            "sentence": sentence(check, "en"),
            "numbers": dict(check.numbers),
            "limits": asdict(check.limits) if check.limits else None,
        }
        for check in found.checks
    }
    body = {
        "format_version": FORMAT_VERSION,
        "status": found.status.word,
        **{name: _plain(getattr(found, name)) for name in ("records", "as_of", "now", "horizon_days", "trained")},
        "model_versions": dict(found.versions),
        "checks": checks,
        **{name: _plain(getattr(found, name)) for name in ("features", "scores", "matured", "ageing", "skew")},
    }
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_gauges(found: Findings) -> bytes:
    """Return the text that Prometheus' textfile collector reads: states, and sizes for limits of your own."""
    registry = CollectorRegistry()

    def gauge(name: str, meaning: str, label: str, values: Mapping[str, float]) -> None:
        made = Gauge(f"perennial_{name}", meaning, (label,), registry=registry)
        for key, value in values.items():
            made.labels(key).set(value)

    gauge("monitor_status", "0 fine, 1 look at it, 2 act, -1 not known yet.", "check", _statuses(found))
    gauge("feature_psi", "Stability index against the training.", "feature", _sizes(found.features))
    gauge("score_psi", "Stability index against the training.", "score", _sizes(found.scores))
    ages = {check.name: float(check.numbers["days"]) for check in found.checks if "days" in check.numbers}
    gauge("age_days", "Days since the last record, the training, the latest scores.", "of", ages)
    matured = found.matured[0].metrics if found.matured else {}
    gauge(
        "matured", "Measures of the latest scores that came due.", "measure", {n: i.value for n, i in matured.items()}
    )
    skewed = {"share": found.skew.share, "largest": found.skew.largest} if found.skew else {}
    gauge("serve_skew", "Customers whose served features differ, and the largest difference.", "size", skewed)
    ran = Gauge("perennial_monitor_run_seconds", "Unix time of this monitoring.", registry=registry)
    ran.set(round(datetime.now(UTC).timestamp()))
    return generate_latest(registry)


def to_html(found: Findings, language: Language) -> str:
    """Return the page; it opens without a network."""
    environment = Environment(
        loader=PackageLoader("training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def say(key: str, **numbers: Any) -> str:
        return _texts()[language][key].format(**numbers)

    return environment.get_template("monitor.html.j2").render(
        found=found,
        language=language,
        psi=PSI,
        t=say,
        say=lambda check: sentence(check, language),
        meaning=lambda name: FEATURES[name].meaning(language),
        width=lambda size: f"{100 * min(size, WIDEST_PSI) / WIDEST_PSI:.1f}",
        interval=_cell,
        curve=_curve(found.ageing),
    )


@lru_cache
def _texts() -> Mapping[str, Mapping[str, str]]:
    return tomllib.loads((files("training") / "templates" / "monitor.toml").read_text(encoding="utf-8"))


def _statuses(found: Findings) -> dict[str, float]:
    return {"all": float(found.status), **{check.name: float(check.status) for check in found.checks}}


def _sizes(moved: Sequence[Any]) -> dict[str, float]:
    return {one.name: one.size for one in moved}


def _plain(value: Any) -> Any:
    """Return dataclasses, days and intervals as plain JSON."""
    if isinstance(value, Interval):
        return [_plain(end) for end in (value.value, value.low, value.high)]
    if isinstance(value, Status):
        return value.word
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, date) else value


def _cell(found: Interval) -> Markup:
    return Markup('<td class="num">{:.3f}<small>{:.3f} – {:.3f}</small></td>').format(
        found.value, found.low, found.high
    )


def _curve(ageing: Sequence[Aged]) -> Markup:
    """Draw AUC by the model's age, with intervals; words stay outside, so the picture has no language."""
    if not ageing:
        return Markup()
    aucs = [aged.metrics["auc"] for aged in ageing]
    low, high = min(auc.low for auc in aucs) - 0.005, max(auc.high for auc in aucs) + 0.005
    oldest = max(aged.age_days for aged in ageing)

    def place(age_days: float, value: float) -> tuple[float, float]:
        return 60 + 600 * age_days / oldest, 20 + 150 * (high - value) / (high - low)

    parts = [Markup('<svg viewBox="0 0 700 210" width="700" role="img" aria-label="AUC">')]
    points = [place(aged.age_days, auc.value) for aged, auc in zip(ageing, aucs, strict=True)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(Markup('<polyline points="{}" fill="none" stroke="#1d6fb8" stroke-width="2"/>').format(line))
    for aged, auc, (x, y) in zip(ageing, aucs, points, strict=True):
        top, foot = place(0, auc.high)[1], place(0, auc.low)[1]
        parts.append(
            Markup(
                '<line x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}" stroke="#1d6fb8"/>'
                '<circle cx="{0:.1f}" cy="{3:.1f}" r="4" fill="#1d6fb8"/>'
                '<text x="{0:.1f}" y="200" text-anchor="middle">{4}</text>'
                '<text x="{5:.1f}" y="{6:.1f}">{7:.3f}</text>'
            ).format(x, top, foot, y, aged.age_days, x + 7, y - 6, auc.value)
        )
    return Markup().join([*parts, Markup("</svg>")])
