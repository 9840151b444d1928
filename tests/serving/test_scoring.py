import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.company import generate
from benchmarks.trained import HORIZON_DAYS, company, put_on_shelf, today
from features.catalogue import FEATURES
from features.records import AsOf, Economics, Records
from features.sources import records_from_frames
from models import segment_rules
from models.artefact import load_champion
from models.clv import ClvModel
from models.definition import Definition
from perennial.errors import ArtefactError, InsufficientData
from perennial.settings import Settings
from serving.batch import read_scores, score_to, write_scores
from serving.codes import CODE_LISTS
from serving.columns import COLUMN_NAMES, PENDING, SCORE_COLUMNS, Kind
from serving.decisions.ledger import Provenance, commit
from serving.decisions.playbook import load_playbook
from serving.profiles import last_orders
from serving.scoring import ScoreRun, features_read, load_champions, score
from serving.store import Store


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    put_on_shelf(home / "models", company())
    return home


@pytest.fixture(scope="module")
def run(home: Path) -> ScoreRun:
    return score(company(), today(company()), home / "models")


def test_every_customer_has_one_whole_row(run: ScoreRun) -> None:
    scores = run.scores
    assert tuple(scores.columns) == COLUMN_NAMES
    assert scores["customer_id"].is_monotonic_increasing
    assert scores["customer_id"].is_unique
    assert len(scores) == len(run.snapshot) == len(run.context) == run.manifest.customers > 1000
    for column in SCORE_COLUMNS:
        if not column.nullable:
            assert scores[column.name].notna().all(), column.name
        if column.kind is Kind.NUMBER:
            assert not np.isinf(scores[column.name]).any(), column.name
        if column.codes:
            assert set(scores[column.name].dropna()) <= {code.code for code in CODE_LISTS[column.codes]}, column.name
    for name in PENDING:
        assert scores[name].isna().all()


def test_money_at_risk_is_churn_times_what_buying_is_worth(run: ScoreRun, home: Path) -> None:
    clv = ClvModel.from_files(load_champion(home / "models", "clv").files)
    rates = run.context["margin_rate"].to_numpy()
    churn = run.scores["churn_probability"]
    worth = clv.predict(run.snapshot, margin_rate=rates, horizon_days=HORIZON_DAYS, churn_probability=churn)
    expected = churn * (worth["clv_if_buys"] - worth["clv_if_not"])
    np.testing.assert_allclose(run.scores["money_at_risk"], expected)
    np.testing.assert_allclose(run.scores["clv"], worth["clv"])
    assert (run.scores["money_at_risk"] > 0).all()


def test_the_interval_is_around_the_probability(run: ScoreRun) -> None:
    low, churn, high = (run.scores[f"churn_probability{end}"] for end in ("_low", "", "_high"))
    assert ((low < churn) & (churn < high)).all()
    assert 0.02 < (high - low).mean() < 0.5


def test_a_personal_rhythm_is_said_and_not_taken_for_no_purchase(run: ScoreRun, home: Path) -> None:
    models = load_champions(home / "models")
    models.churn.definition = Definition.PERSONAL
    personal = score(company(), today(company()), models)
    assert "nine in ten of their own gaps" in personal.manifest.definition
    assert json.loads(personal.manifest.to_json())["churn_definition"] == "personal_rhythm"
    pd.testing.assert_series_equal(personal.scores["churn_probability"], run.scores["churn_probability"])
    assert (personal.scores["expected_orders"] != run.scores["expected_orders"]).any()  # value goes by its own silence


def test_bands_and_dates_follow_from_the_predictions(run: ScoreRun) -> None:
    scores = run.scores
    assert scores.groupby("churn_band")["churn_probability"].max()["low"] < 0.25
    assert scores.groupby("churn_band")["churn_probability"].min()["critical"] >= 0.75
    last = today(company()).day - timedelta(days=1)
    silent = (last - scores["last_order_on"]).map(lambda gap: gap.days)
    np.testing.assert_array_equal(silent, run.snapshot["days_since_last_order"])
    dated = scores["next_order_expected_on"].dropna()
    assert 0 < len(dated) < len(scores)
    assert min(dated) >= today(company()).day
    assert all(type(day) is date for day in dated)


def test_the_run_says_what_it_is(run: ScoreRun) -> None:
    facts = run.manifest
    assert (facts.horizon_days, facts.clv_horizon_days, facts.currency) == (HORIZON_DAYS, 365, "EUR")
    assert facts.versions == "churn=1;clv=1;segments=1"
    assert set(run.scores["model_versions"]) == {facts.versions}
    assert set(run.scores["data_grade"]) == {facts.data_grade}
    assert {action.code for action in facts.actions} >= set(run.scores["action_id"])
    assert facts.clv_basis == "margin"


def test_nobody_in_control_or_without_consent_gets_marketing(run: ScoreRun) -> None:
    idle = run.scores["action_id"] == "do_nothing"
    person = run.scores["human_task"]
    held = run.scores["control_group"] | run.scores["consented_channels"].isna()
    assert held.any()
    assert (idle | person)[held].all()
    assert (run.scores["due_by"].notna() == person).all()
    assert (~idle).sum() > 100


def test_the_same_inputs_give_the_same_files(run: ScoreRun, home: Path, tmp_path: Path) -> None:
    again = score(company(), today(company()), home / "models", num_threads=1)
    one, two = write_scores(run, tmp_path / "one"), write_scores(again, tmp_path / "two")
    assert one == two


def test_texts_are_translated_and_codes_are_not(run: ScoreRun, home: Path) -> None:
    other = score(company(), today(company()), home / "models", language="zh").scores
    texts = [c.name for c in SCORE_COLUMNS if c.name.startswith("reason_") and c.kind is Kind.TEXT] + ["action_reason"]
    rest = [name for name in COLUMN_NAMES if name not in texts]
    pd.testing.assert_frame_equal(run.scores[rest], other[rest])
    assert other["reason_1"].str.contains(r"[\u4e00-\u9fff]").all()
    assert not run.scores["reason_1"].str.contains(r"[\u4e00-\u9fff]").any()


def test_one_unknown_margin_makes_everybody_revenue(home: Path) -> None:
    tables = dict(generate(300).tables)
    tables["orders"] = tables["orders"].drop(columns="margin")
    customers = tables["customers"].copy()
    customers.loc[0, "margin_rate"] = np.nan
    known = records_from_frames(tables, currency="EUR", consent_default="refuse")
    unknown = records_from_frames({**tables, "customers": customers}, currency="EUR", consent_default="refuse")
    with_margin = score(known, today(known), home / "models").scores
    without = score(unknown, today(unknown), home / "models")
    assert set(without.scores["clv_basis"]) == {without.manifest.clv_basis} == {"revenue"}
    np.testing.assert_allclose(without.scores["clv"] * 0.4, with_margin["clv"])
    filled = replace(unknown, economics=Economics(margin_rate=0.4))
    assert score(filled, today(filled), home / "models").manifest.clv_basis == "margin"


def test_a_missing_champion_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"churn, clv, segments.*perennial train all"):
        load_champions(tmp_path)


def test_another_horizon_than_the_champions_is_refused(home: Path) -> None:
    with pytest.raises(ArtefactError, match=r"60 days ahead, not 90.*--horizon-days 90"):
        score(company(), today(company()), home / "models", horizon_days=90)


def test_nobody_to_score_is_said(home: Path) -> None:
    before = company().as_of("2020-01-01")
    with pytest.raises(InsufficientData, match=r"nobody ordered before 2020-01-01"):
        score(company(), before, home / "models")


def test_files_and_store_hold_the_same_scores(home: Path, tmp_path: Path) -> None:
    records: Records = company()
    settings = Settings(home=home)
    manifest = score_to(tmp_path / "scores", records, today(records), "en", settings)
    read = read_scores(tmp_path / "scores")
    assert read.manifest == manifest
    store = Store(settings.store_url)
    row = read.scores.iloc[5]
    served = store.scores_for([row.customer_id])[row.customer_id]
    assert served["clv"] == pytest.approx(row.clv)
    assert served["churn_band"] == row.churn_band
    assert served["last_order_on"] == row.last_order_on.isoformat()
    assert row.action_id in served["eligible_actions"]
    profile = store.profile(row.customer_id)
    assert profile is not None
    assert sum(month["orders"] for month in profile["monthly"]) > 0
    assert 1 <= len(profile["last_orders"]) <= 5
    assert profile["last_orders"][0]["ordered_at"] >= f"{row.last_order_on}"
    served_run = store.current_run()
    store.close()
    assert served_run is not None
    assert (served_run.row_count, served_run.manifest["definition"]) == (len(read.scores), manifest.definition)


def test_what_was_committed_holds_back_the_next_scoring_and_not_its_own(home: Path, tmp_path: Path) -> None:
    records = company()
    settings = Settings(home=home, database_url=f"sqlite:///{tmp_path / 'store.db'}")
    last, before = today(records), today(records).earlier(1, records.timezone)

    def scored(as_of: AsOf, name: str) -> pd.DataFrame:
        score_to(tmp_path / name, records, as_of, "en", settings)
        return read_scores(tmp_path / name).scores.set_index("customer_id")

    untold = scored(last, "untold")
    first = scored(before, "first")
    book = load_playbook()
    marketing = {action.id for action in book.actions if action.is_marketing}
    sent = first.index[first["action_id"].isin(marketing)]
    store = Store(settings.store_url)
    proposals = store.scores_for(sent)
    made_from = Provenance(before.instant, {"churn": "1"}, book.sha256, book.draw_id)
    commit(store, proposals, made_from, idempotency_key="k", decided_at=before.instant + timedelta(hours=9))
    store.close()
    pd.testing.assert_frame_equal(scored(before, "first"), first)
    told = scored(last, "told")
    again = told.loc[told.index.isin(sent), "action_id"].isin(marketing)
    assert len(again) > 100
    assert not again.any()
    assert untold.loc[again.index, "action_id"].isin(marketing).any()
    others = ~untold.index.isin(sent)
    pd.testing.assert_frame_equal(told[others], untold[others])


def test_code_lists_are_the_models_own() -> None:
    enums = {
        "value_tier": segment_rules.ValueTier,
        "lifecycle_stage": segment_rules.LifecycleStage,
        "contact_tier": segment_rules.ContactTier,
        "potential": segment_rules.Potential,
        "segment": segment_rules.Segment,
    }
    for name, enum in enums.items():
        assert {code.code for code in CODE_LISTS[name]} == {*enum}


def test_last_orders_are_those_before_the_instant_and_returns_count_against_spend() -> None:
    day = pd.Timestamp("2024-01-01 12:00")
    lines = pd.DataFrame(
        {
            "customer_id": "a",
            "order_id": [f"R{number}" for number in range(8)] + ["R7", "X"],
            "ordered_at": [day + pd.Timedelta(days=number) for number in (*range(8), 7, 8)],
            "amount": [10.0] * 8 + [5.0, -4.0],
        }
    )
    records = records_from_frames({"orders": lines})
    found = last_orders(records, records.as_of("2024-01-08"))
    assert found["order_id"].tolist() == ["R6", "R5", "R4", "R3", "R2"]
    found = last_orders(records, records.as_of("2024-01-10")).set_index("order_id")
    assert found.loc["R7", ["lines", "spend"]].tolist() == [2, 15.0]
    assert found.loc["X", "spend"] == -4.0
    assert len(found) == 5


def test_scoring_asks_only_for_the_features_it_reads_and_says_the_same(tmp_path: Path) -> None:
    few = company(300)  # too few for trees, so that reasons, policy and files have to ask for what the model does not
    put_on_shelf(tmp_path / "models", few)
    asked, whole = (score(few, today(few), tmp_path / "models", features=names) for names in ((), FEATURES))
    pd.testing.assert_frame_equal(asked.scores, whole.scores, check_exact=True)
    models = load_champions(tmp_path / "models")
    wanted = features_read(models, load_playbook(None))
    assert not models.churn.facts_.boosted
    assert {"customer_id", "as_of", *wanted} == set(asked.snapshot.columns) < set(whole.snapshot.columns)
