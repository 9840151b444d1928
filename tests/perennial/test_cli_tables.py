"""Labelled tables on the command line: train, promote, predict, and one clear line for every mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.tables import contracts

TRAIN = ("train", "churn", "--table", "contracts.csv", "--label", "Churn", "--id", "customer", "--name", "renewals")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    contracts(300).to_csv(path / "contracts.csv", index=False)
    return path


def perennial(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perennial.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PERENNIAL_HOME": str(folder / "home")},
    )


def test_train_predict_and_an_unknown_name(folder: Path) -> None:
    done = perennial(folder, *TRAIN, "--clv-column", "worth", "--contact-cost", "2", "--exclude", "senior")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("renewals version 1: champion")
    assert "contact 2, incentive 10" in done.stdout
    scored = ("predict", "renewals", "--table", "contracts.csv", "--output", "out.parquet", "--language", "zh")
    done = perennial(folder, *scored)
    assert (done.returncode, done.stderr) == (0, "")
    assert "300 rows scored by renewals → out.parquet" in done.stdout
    out = pd.read_parquet(folder / "out.parquet")
    reasons = ["reason_1", "reason_2", "reason_3"]
    assert out.columns.tolist() == ["customer", "churn_probability", "churn_band", *reasons, "contact"]
    assert out["reason_1"].dropna().str.contains("为|缺失").all()
    done = perennial(folder, "predict", "renewal", *scored[2:])
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "known are renewals" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "churn"), "--source S (records) or, for churn, --table F"),
        (("train", "clv", "--table", "contracts.csv"), "--table trains churn"),
        (("train", "churn", "--table", "contracts.csv", "--name", "x"), "--table needs --label COLUMN"),
        (("train", "churn", "--table", "contracts.csv", "--label", "Churn"), "--table needs --name NAME"),
        (("train", "churn", "--source", "s.toml", "--label", "Churn"), "belong to --table"),
        ((*TRAIN, "--exclude", "tenur"), "did you mean 'tenure'?"),
        ((*TRAIN[:3], "nowhere.csv", *TRAIN[4:]), "nowhere.csv: cannot be opened"),
    ],
)
def test_mistakes_are_one_line(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = perennial(folder, *arguments)
    assert done.returncode == 1, done
    assert done.stderr.startswith("perennial: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert said in done.stderr
