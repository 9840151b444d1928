"""The demo as a newcomer meets it: one command, a summary in words, files, a report and an API that agree."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from serving.batch import read_scores
from serving.columns import COLUMN_NAMES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("newcomer")
    environment = {**os.environ, "COLUMNS": "100"}
    environment.pop("PERENNIAL_HOME", None)
    done = subprocess.run(
        [sys.executable, "-m", "perennial.cli", "demo"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "demo", done.stdout


def test_summary_says_it_in_words(demo: tuple[Path, str]) -> None:
    _, told = demo
    assert "2,469 customers as of 2018-01-01" in told
    assert "USD of revenue" in told
    assert "Ranking who leaves: better" in told
    assert "assumed" in told
    assert "no margin" in told
    for word in ("report.html", "mlflow ui", "perennial serve", "source.toml"):
        assert word in told


def test_holdout_meets_its_goal(demo: tuple[Path, str]) -> None:
    model = json.loads(next((demo[0] / "home/models/churn").glob("*/manifest.json")).read_text())["meta"]
    metrics = {name: value for name, (value, _, _) in model["holdout_metrics"].items()}
    assert metrics["auc"] >= 0.86
    assert abs(metrics["calibration_gap"]) <= 0.03
    assert max(model["training_cutoffs"]) < "2017-11-07" < model["holdout_cutoff"] == "2017-12-04"


def test_scores_make_sense(demo: tuple[Path, str]) -> None:
    scored = read_scores(demo[0] / "scores")
    scores = scored.scores
    assert tuple(scores.columns) == COLUMN_NAMES
    assert len(scores) == 2_469
    assert scores["customer_id"].is_unique
    assert scores["churn_probability"].between(0, 1, inclusive="neither").all()
    numbers = scores.select_dtypes("number")
    assert not np.isinf(numbers).any().any()
    assert (scores["clv_low"] <= scores["clv_high"]).all()
    assert scores["clv_basis"].eq("revenue").all()
    assert set(scored.manifest.pending) == {name for name in COLUMN_NAMES if scores[name].isna().all()} & {"need_type"}
    assert (scores["action_id"] != "do_nothing").any()
    withheld = scores["suppressed_by"].eq("control_group")
    assert scores.loc[withheld, "action_id"].eq("do_nothing").all()


def test_csv_opens_in_excel_with_the_same_rows(demo: tuple[Path, str]) -> None:
    raw = (demo[0] / "scores/scores.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    table = pd.read_csv(demo[0] / "scores/scores.csv", dtype={"customer_id": "str"})
    assert table["customer_id"].tolist() == read_scores(demo[0] / "scores").scores["customer_id"].tolist()


def test_report_needs_no_network(demo: tuple[Path, str]) -> None:
    page = (demo[0] / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", page)


def test_running_it_again_keeps_working(demo: tuple[Path, str]) -> None:
    folder = demo[0].parent
    before = (folder / "demo/scores/scores.parquet").read_bytes()
    arguments = ["score", "--source", "demo/source.toml", "--output", "demo/scores"]
    done = subprocess.run(
        [sys.executable, "-m", "perennial.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PERENNIAL_HOME": "demo/home"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "demo/scores/scores.parquet").read_bytes() == before
