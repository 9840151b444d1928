"""A model card as its reader meets it: everything there is to know, nothing from a network, no word that breaks it."""

import re
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from models.sufficiency import Shortfall, Sufficiency
from perennial.errors import OutputError
from training.fairness import judge_groups
from training.metrics import Comparison, Interval, Verdict
from training.model_card import PAGE, TEXT, Learned, ModelCard, keep_card
from training.recipes import Report
from training.slices import Slice

FACTS = {
    "definition": "no purchase within 28 days",
    "horizon_days": 28,
    "window_days": 14,
    "holdout_cutoff": "2024-05-01",
    "season_seen": False,
    "data_grade": "C",
    "fingerprint": "f1",
    "seed": 7,
}
NASTY = "<b>North|South</b>"


def card(**more):
    rng = np.random.default_rng(0)
    probability = rng.random(600)
    words = pd.DataFrame({"region": [NASTY] * 300 + ["West"] * 300})
    report = Report(
        metrics={"auc": Interval(0.8, 0.78, 0.82), "calibration_slope": Interval(float("nan"), float("nan"), 1.0)},
        comparisons=(Comparison("auc", "the rule", 0.8, 0.7, Interval(0.1, 0.05, 0.15), Verdict.BETTER, 0.001),),
        pictures={"decile_lift.png": b"png"},
        notes=("a note",),
        slices=(Slice(value_tier="at_risk", lifecycle_stage="churned", customers=120, predicted=0.7, observed=0.9),),
        fairness=judge_groups(words, (rng.random(600) < probability).astype(float), probability, 0),
    )
    learned = Learned(
        name="churn",
        kind="churn",
        trained_at=datetime(2024, 6, 1, 12, tzinfo=UTC),
        source="Shop & Co",
        described={"records": "Shop & Co", "order lines": "1,000"},
        judged_on="600 customers over 28 days from 2024-05-01",
        facts=FACTS | more.pop("facts", {}),
        sufficiency=Sufficiency("C", "B", (Shortfall("customers", 600, 1000),)),
        leans_on={"orders_30d": 0.25, "frequency": 0.5, "T": 0.0},
    )
    given = {"promoted": False, "reason": "worse than champion 1", "digest": "d1", "run_id": "r1", "report": report}
    return ModelCard(of=learned, version=3, command="perennial train churn --source s.toml", **(given | more))


def rendered(**more):
    return {name: content.decode() for name, content in card(**more).to_files().items()}


@pytest.mark.parametrize("name", [PAGE, TEXT])
def test_a_reader_finds_everything(name):
    text = rendered()[name]
    for said in (
        "churn version 3",
        "challenger, not serving",
        "worse than champion 1",
        "2024-06-01 12:00",
        "600 customers at the training cutoffs, 1,000 are asked for",
        "0.780 to 0.820",
        "than the rule",
        "range of chance",
        "Repeat purchase occasions",
        "must not be used for",
        "windows of 14 days were learned from and 28 are extrapolated to",
        "the coming season has not been seen",
        "The data grade is C",
        "perennial train churn --source s.toml",
        "d1",
        "lightgbm",
    ):
        assert said in text, said
    assert "nan" not in text
    assert text.index("frequency") < text.index("orders_30d")  # what it leans on most comes first
    assert "No attribute is named" not in text


def test_the_page_needs_no_network_and_no_word_breaks_it():
    page, text = rendered()[PAGE], rendered()[TEXT]
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert NASTY not in page
    assert "&lt;b&gt;North|South" in page
    (row,) = [line for line in text.splitlines() if "North" in line and line.startswith("|")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 11  # ten cells


def test_limits_that_do_not_apply_are_not_said():
    text = rendered(facts={"window_days": 28, "season_seen": True, "data_grade": "A"})[TEXT]
    assert "extrapolated" not in text
    assert "season has not been seen" not in text
    assert "The data grade is" not in text


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "cards").write_text("a file")
    with pytest.raises(OutputError, match="the model card cannot be written"):
        keep_card(tmp_path / "cards", card())
