"""A backtest on disk: every prediction, every figure, the pictures, and one page that says in words what it showed."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from perennial.errors import OutputError
from perennial.files import replacing
from training import plots
from training.backtest import Backtest
from training.metrics import Comparison, Interval, spoken
from training.rivals import OURS
from training.verdicts import NAMES, Verdicts
from training.warning import Warned

PAGE, FIGURES, PREDICTIONS = "backtest.html", "backtest.json", "predictions.parquet"
CORRECTION = "Holm, over all comparisons of a table"
PICTURES = ("calibration.png", "decile_lift.png", "by_origin.png")


def write_backtest(run: Backtest, verdicts: Verdicts, directory: Path, command: str) -> None:
    """Write all files into ``directory``; each takes its place whole, the page last."""
    pictures = draw(run, verdicts)
    contents = {
        PREDICTIONS: _parquet(run.predictions),
        FIGURES: to_json(run, verdicts, command).encode(),
        **pictures,
        PAGE: to_html(run, verdicts, pictures, command).encode(),
    }
    for name, content in contents.items():
        try:
            with replacing(Path(directory) / name) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{directory / name} could not be written ({error}); what stood there stays") from error


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def draw(run: Backtest, verdicts: Verdicts) -> dict[str, bytes]:
    """Return the pictures as PNG, by file name."""
    rows = dict(iter(run.predictions.groupby("model")))
    came = rows[OURS]["churned"].to_numpy(dtype=np.float64)
    probability = rows[OURS]["churn_probability"].to_numpy(dtype=np.float64)
    silence = rows["recency_rule"]["churn_probability"].to_numpy(dtype=np.float64)
    drawn = (
        plots.calibration(came, probability, run.horizon_days),
        plots.decile_lift(came, probability, silence, "the recency rule"),
        plots.by_origin(
            {origin: found["churn_auc"] for origin, found in verdicts.by_origin.items()},
            {origin: found["churn_calibration_gap"] for origin, found in verdicts.by_origin.items()},
        ),
    )
    return dict(zip(PICTURES, drawn, strict=True))


def to_json(run: Backtest, verdicts: Verdicts, command: str) -> str:
    """Return every figure as JSON: intervals are ``[value, low, high]``, null where undefined."""
    content = {
        **_facts(run, command),
        "metrics": {model: _plain(metrics) for model, metrics in verdicts.metrics.items()},
        "by_origin": {origin: _plain(metrics) for origin, metrics in verdicts.by_origin.items()},
        "correction": CORRECTION,
        "comparisons": [_compared(comparison) for comparison in verdicts.comparisons],
        "against_better": [_compared(comparison) for comparison in verdicts.against_better],
        "offer": asdict(verdicts.offer),
        "early_warning": [_warned(found) for found in verdicts.warnings],
        "slices": [found.to_json() for found in verdicts.slices],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_html(run: Backtest, verdicts: Verdicts, pictures: Mapping[str, bytes], command: str) -> str:
    """Return the page; it opens without a network, and equal figures give equal text."""
    environment = Environment(
        loader=PackageLoader("training"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("backtest.html.j2").render(
        run=run,
        verdicts=verdicts,
        facts=_facts(run, command),
        names=NAMES,
        ours=OURS,
        spoken=spoken,
        measures=list(verdicts.metrics[OURS]),
        pictures={name: base64.b64encode(png).decode() for name, png in pictures.items()},
    )


def _facts(run: Backtest, command: str) -> dict[str, Any]:
    return {
        "records": run.records,
        "currency": run.currency,
        "horizon_days": run.horizon_days,
        "definition": f"no purchase occasion within {run.horizon_days} days",
        "origins": [origin.isoformat() for origin in run.origins],
        "rows": len(run.slices),
        "customers": int(run.slices["customer_id"].nunique()),
        "data_grade": run.grade,
        "command": command,
    }


def _compared(found: Comparison) -> dict[str, Any]:
    return asdict(found) | {"difference": found.difference.to_json(), "sentence": str(found)}


def _warned(found: Warned) -> dict[str, Any]:
    lead_days = [_finite(days) for days in found.lead_days]
    return asdict(found) | {"overdue": found.overdue.to_json(), "left": found.left.to_json(), "lead_days": lead_days}


def _plain(metrics: Mapping[str, Interval]) -> dict[str, list[float | None]]:
    return {name: interval.to_json() for name, interval in metrics.items()}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
