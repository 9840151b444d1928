"""The whole line through the command line, on records that public data lack and on messy ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.company import Company, generate
from serving.batch import ScoreSet, read_scores
from serving.store import Store

pytestmark = pytest.mark.slow

RETAIL = Path(__file__).parents[2].parent / "shared" / "data" / "online_retail_2010_2011.parquet"


def ran(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PERENNIAL_HOME": "home"}
    command = [sys.executable, "-m", "perennial.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def perennial(*arguments: str, cwd: Path) -> str:
    done = ran(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def company() -> Company:
    return generate(2_500, days=540, seed=11)


@pytest.fixture(scope="module")
def folder(company: Company, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the generated company was scored, its tables written as the files a business would have."""
    folder = tmp_path_factory.mktemp("company")
    lines = ['currency = "EUR"', 'timezone = "UTC"', "[economics]", "margin_rate = 0.4"]
    for name, table in company.tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
        lines += [f"[{name}]", f'path = "{name}.csv"', *(f'{column} = "{column}"' for column in table)]
    (folder / "source.toml").write_text("\n".join(lines))
    perennial("train", "all", "--source", "source.toml", "--horizon-days", "60", cwd=folder)
    perennial("score", "--source", "source.toml", "--output", "scores", "--language", "zh", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def scored(folder: Path) -> ScoreSet:
    return read_scores(folder / "scores")


def test_value_is_margin_and_money_may_be_spent(scored: ScoreSet) -> None:
    assert scored.scores["clv_basis"].eq("margin").all()
    assert not scored.scores["suppressed_by"].eq("margin_unknown").any()


def test_marketing_reaches_only_those_who_agreed(scored: ScoreSet, company: Company) -> None:
    consents = company.tables["consents"].query("purpose == 'marketing'").sort_values("occurred_at")
    latest = consents.groupby(["customer_id", "channel"])["granted"].last()
    scores = scored.scores
    contacted = scores[(scores["action_id"] != "do_nothing") & ~scores["human_task"]]
    assert len(contacted) > 100
    assert {"email", "app", "sms", "phone"} <= set(contacted["action_channel"])
    assert set(zip(contacted["customer_id"], contacted["action_channel"], strict=True)) <= set(latest.index[latest])
    assert not contacted["control_group"].any()


def test_open_complaints_go_to_a_person_with_a_deadline(scored: ScoreSet, company: Company) -> None:
    events = company.tables["interactions"]
    kinds = ("complaint_opened", "complaint_closed")
    opened, closed = (events.loc[events["kind"] == kind, "customer_id"].value_counts() for kind in kinds)
    complaining = set(opened.index[opened > closed.reindex(opened.index, fill_value=0)])
    scores = scored.scores.set_index("customer_id")
    waiting = scores.loc[sorted(complaining & set(scores.index))]
    assert len(waiting) > 20
    assert waiting["action_id"].eq("complaint_call").all()
    assert waiting["human_task"].all()
    assert (waiting["due_by"] == waiting["as_of"] + pd.Timedelta(hours=2)).all()


def test_scores_follow_the_truth(scored: ScoreSet, company: Company) -> None:
    truth = company.truth.set_index("customer_id").loc[scored.scores["customer_id"]].reset_index()
    born = company.tables["customers"].set_index("customer_id")["created_at"].loc[truth["customer_id"]].reset_index()
    gone = (
        born["created_at"] + pd.to_timedelta(truth["died_after_days"].clip(upper=10_000), unit="D") < company.last_day
    )
    scores = scored.scores
    assert scores.loc[gone, "p_alive"].mean() + 0.3 < scores.loc[~gone, "p_alive"].mean()
    assert scores.loc[gone, "churn_probability"].mean() > 0.25 + scores.loc[~gone, "churn_probability"].mean()
    again = scores["orders_365d"] > 1  # who ordered once is given the value of the others
    value = scores.loc[again, "expected_order_value"]
    assert value.corr(truth.loc[again, "mean_order_value"], method="spearman") > 0.8


def test_texts_are_chinese_and_codes_are_not(scored: ScoreSet) -> None:
    assert scored.scores["reason_1"].dropna().str.contains("[一-鿿]").all()
    for name in ("reason_1_code", "action_id", "value_tier", "lifecycle_stage", "contact_tier", "segment"):
        assert scored.scores[name].dropna().str.fullmatch("[A-Za-z0-9_]+").all(), name


@pytest.mark.skipif(not RETAIL.exists(), reason="needs online_retail_2010_2011.parquet in ../shared/data")
@pytest.mark.parametrize("left", ["", "customer_id,ordered_at,amount\n"])
def test_records_that_end_empty_leave_the_last_scores_in_file_and_store(
    folder: Path, scored: ScoreSet, left: str
) -> None:
    def served() -> tuple[object, ...]:
        store = Store(f"sqlite:///{folder / 'home' / 'store.db'}")
        run = store.current_run()
        rows = store.scores_for(scored.scores["customer_id"][:20])
        store.close()
        assert run is not None
        return run.run_id, run.row_count, rows

    before = served()
    (folder / "emptied.csv").write_text(left)
    mapping = "\n".join(f'{name} = "{name}"' for name in ("customer_id", "ordered_at", "amount"))
    source = f'currency = "EUR"\ntimezone = "UTC"\n[orders]\npath = "emptied.csv"\n{mapping}\n'
    (folder / "emptied.toml").write_text(source)
    done = ran("score", "--source", "emptied.toml", "--output", "scores", cwd=folder)
    assert done.returncode == 1
    assert "the last results stay as they are" in done.stderr
    pd.testing.assert_frame_equal(read_scores(folder / "scores").scores, scored.scores)
    assert served() == before


@pytest.mark.skipif(not RETAIL.exists(), reason="needs online_retail_2010_2011.parquet in ../shared/data")
def test_online_retail_works_with_the_documented_source_file(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    source = readme.split("```toml\n")[1].split("```")[0]
    (tmp_path / "source.toml").write_text(source.replace(RETAIL.name, str(RETAIL)))
    told = perennial("train", "churn", "--source", "source.toml", "--horizon-days", "90", cwd=tmp_path)
    assert "better than the recency rule" in told
    manifest = next((tmp_path / "home/models/churn").glob("*/manifest.json"))
    assert json.loads(manifest.read_text())["meta"]["holdout_metrics"]["auc"][0] >= 0.72
