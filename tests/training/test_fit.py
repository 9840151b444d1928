"""Training end to end on a real registry: what is registered, what serves, and what a bad day leaves behind."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model

from features.records import AsOf
from models.artefact import champions, load_champion, read_artefact
from models.churn import ChurnModel
from models.clv import ClvModel
from models.definition import Definition
from perennial.errors import ConvergenceError, InsufficientData, RegistryError
from perennial.settings import settings
from training.churn_recipe import ChurnRecipe
from training.dataset import gather
from training.fit import RECIPES, run_job, train, train_all
from training.labels import label
from training.lock import training_lock
from training.metrics import Verdict
from training.promote import promote, promotions, rollback
from training.registry import CHALLENGER, CHAMPION, Registry
from training.segments_recipe import SegmentsRecipe

HORIZON_DAYS = 28


@pytest.fixture(scope="module")
def trained(lasting_home, company):
    """Return the results of one training of everything, by name."""
    return {result.name: result for result in train_all(company, company.as_of(), HORIZON_DAYS)}


@pytest.fixture(scope="module")
def registry(trained, lasting_home):
    return Registry(settings().mlflow_uri)


def train_one(name, *question):
    (result,) = train([name], *question)
    return result


def silent(_message):
    return None


def test_first_versions_become_champions_and_stand_on_the_shelf(trained, registry):
    assert champions(settings().shelf) == {"churn": "1", "clv": "1", "segments": "1"}
    for name, result in trained.items():
        assert result.promoted, result.reason
        assert registry.alias(name, CHAMPION).number == result.version == 1
        on_shelf = load_champion(settings().shelf, name)
        assert on_shelf.digest == result.digest
        assert on_shelf.meta["fingerprint"] == result.fingerprint
    assert [line.action for line in promotions(settings().home)] == ["gate"] * 3


@pytest.mark.parametrize("recipe", RECIPES.values())
def test_the_judged_fit_knows_nothing_of_the_holdout(recipe, from_lines, simulate):
    """What customers did after the hold-out cutoff changes the final fit and not one byte of the judged one."""
    lines, as_of = simulate(300, 240), AsOf.parse("2024-08-28", "UTC")
    honest = gather(from_lines(lines), as_of, HORIZON_DAYS, needs_labels=True)
    past = lines[lines.ordered_at < honest.holdout.naive_utc]
    everyone = past.drop_duplicates("customer_id").assign(ordered_at=pd.Timestamp("2024-08-27 09:00"), amount=99.0)
    changed = gather(from_lines(pd.concat([past, everyone], ignore_index=True)), as_of, HORIZON_DAYS, needs_labels=True)
    assert changed.plan == honest.plan
    fitted = recipe(settings())
    files = [fitted.files(fitted.fit(data, final=final)) for final in (False, True) for data in (honest, changed)]
    assert files[0] == files[1]
    assert files[2] != files[3]


def test_what_serves_predicts_and_has_learned_from_the_latest_closed_window(trained, company):
    artefact = load_champion(settings().shelf, "churn")
    latest = gather(company, company.as_of(), HORIZON_DAYS, needs_labels=True).latest
    probability = ChurnModel.from_files(artefact.files).predict_proba(latest)
    assert ((probability > 0) & (probability < 1)).all()
    assert trained["churn"].judged_on.endswith(artefact.meta["calibration_cutoff"])
    assert artefact.meta["closed_until"] == company.as_of().instant.isoformat()
    assert artefact.meta["definition"].startswith("Churn: no purchase within 28 days from as_of")
    value = ClvModel.from_files(load_champion(settings().shelf, "clv").files).predict(latest, horizon_days=HORIZON_DAYS)
    assert (value["clv"] >= 0).all()


def test_every_version_has_a_card_beside_its_artefact(trained):
    for name, result in trained.items():
        assert result.card == settings().home / "cards" / name / "1.html"
        page, text = result.card.read_text(), result.card.with_suffix(".md").read_text()
        for said in (result.digest, result.fingerprint, result.judged_on, "frames", "What it must not be used for"):
            assert said in page
        assert result.digest in text
        assert f"{result.metrics[RECIPES[name].ranking].value:.3f}" in text
    churn = trained["churn"].card.with_suffix(".md").read_text()
    assert "| days_since_last_order |" in churn
    assert "Whole days since the latest purchase" in churn
    assert "No attribute is named under [fairness]" in churn


def test_metrics_are_those_of_a_fit_that_never_saw_the_holdout(trained, registry, company, tmp_path):
    """The judged fit, fetched and run again on the hold-out, gives the reported AUC from the records' own labels."""
    result = trained["churn"]
    judged = read_artefact(registry.fetch(registry.version("churn", 1), tmp_path, "judged"), "churn")
    data = gather(company, company.as_of(), HORIZON_DAYS, needs_labels=True)
    assert judged.meta["closed_until"] == data.holdout.instant.isoformat()
    probability = ChurnModel.from_files(judged.files).predict_proba(data.heldout)
    came = label(company, data.holdout, HORIZON_DAYS).churned.to_numpy()
    pairs = probability[came][:, None] - probability[~came][None, :]
    assert result.metrics["auc"].value == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)), abs=1e-12)
    assert result.metrics["auc"].low > 0.7
    assert result.verdict in (Verdict.BETTER, Verdict.NOT_DISTINGUISHABLE)
    assert result.customers == len(came)
    assert f"churn version 1: champion ({result.reason})" in result.summary()


def test_runs_carry_parameters_measures_plots_data_and_no_pickle(trained, registry, tmp_path):
    pictures = {
        "churn": {"calibration.png", "decile_lift.png"},
        "clv": {
            "alive_matrix.png",
            "cumulative_tracking.png",
            "frequency_bins.png",
            "incremental_tracking.png",
            "interval_calibration.png",
            "past_purchases.png",
            "value_distribution.png",
        },
        "segments": {"tier_value.png"},
    }
    used = {"churn": {"training", "judged"}, "clv": {"latest", "training", "judged"}, "segments": {"latest"}}
    for name, result in trained.items():
        run = registry._client.get_run(result.run_id)
        assert run.info.status == "FINISHED"
        assert run.data.params["horizon_days"] == "28"
        assert run.data.tags["fingerprint"] == result.fingerprint
        assert used[name] | {"holdout"} == {entry.tags[0].value for entry in run.inputs.dataset_inputs}
        for metric, interval in result.metrics.items():
            assert run.data.metrics[metric] == pytest.approx(interval.value)
        assert {file.path for file in registry._client.list_artifacts(result.run_id, "plots")} == {
            f"plots/{picture}" for picture in pictures[name]
        }
        names = {file.path for file in registry._client.list_artifacts(result.run_id, "model")}
        assert names
        assert not [path for path in names if not path.endswith((".json", ".txt", "/MLmodel"))]
        signature = Model.load(registry.fetch(registry.version(name, result.version), tmp_path / name)).signature
        assert {"frequency", "T"} <= set(signature.inputs.input_names())
        assert signature.outputs.input_names() == [RECIPES[name].says]
        assert {file.path for file in registry._client.list_artifacts(result.run_id, "card")} == {
            "card/model_card.html",
            "card/model_card.md",
        }


def test_same_data_same_settings_same_artefact(trained, company, home):
    again = {result.name: result for result in train_all(company, company.as_of(), HORIZON_DAYS)}
    for name, result in trained.items():
        assert again[name].digest == result.digest, name
        assert again[name].fingerprint == result.fingerprint
    alone = train_one("segments", company, company.as_of(), HORIZON_DAYS)
    assert alone.digest == trained["segments"].digest
    assert alone.promoted  # not worse than itself
    assert "not distinguishable from champion 1" in alone.reason


class ConstantSegments(SegmentsRecipe):
    """Puts everyone into one tier."""

    def predict(self, model, rows, data):
        return np.full(len(rows), 3.0)


class ConfusedChurn(ChurnRecipe):
    """Learns from labels of which most were shuffled."""

    def fit(self, data, *, final):
        frames = {"final": shuffled(data.final), "judged": shuffled(data.judged)}
        return super().fit(replace(data, **frames), final=final)


class Challenging(ChurnRecipe):
    """Predicts as ever with a champion it reads, and its own way with what it fitted itself."""

    def fit(self, data, *, final):
        self.own = super().fit(data, final=final)
        return self.own

    def predict(self, model, rows, data):
        probability = super().predict(model, rows, data)
        return self.challenge(probability, data) if model is self.own and rows is data.heldout else probability


class OffLevelChurn(Challenging):
    """Ranks as well as ever, but says a level that is wrong for everyone."""

    def challenge(self, probability, data):
        return np.clip(probability * 0.6, 0.001, 0.999)


class UnequalChurn(Challenging):
    """Knows more than it could of most customers, and is wrong about one kind of them."""

    gated_by = ()  # the gate's other measures let it pass

    def challenge(self, probability, data):
        parts = self.parts(data)
        self.wronged = sorted(parts)[0]
        better = 0.9 * probability + 0.1 * self.outcome(data)
        return np.where(parts[self.wronged], np.clip(1 - probability, 0.01, 0.99), better)


def shuffled(rows):
    """Return labelled rows, four fifths of whose labels are somebody else's."""
    mixed, rows = np.random.default_rng(0).random(len(rows)) < 0.8, rows.copy()
    rows.loc[mixed, "churned"] = rows.loc[mixed, "churned"].sample(frac=1, random_state=0).to_numpy()
    return rows


class DivergingSegments(SegmentsRecipe):
    """Never converges."""

    def fit(self, data, *, final):
        raise ConvergenceError("no optimum was found")


def job(recipe, company, registry, as_of=None):
    data = gather(company, as_of or company.as_of(), HORIZON_DAYS, needs_labels=recipe.labels == "needed")
    return run_job(recipe, data, registry, recipe.settings, silent)


def test_constant_and_worse_challengers_are_registered_but_do_not_serve(trained, registry, company):
    before = (settings().shelf / "champions.json").read_bytes()
    constant = job(ConstantSegments(settings()), company, registry)
    assert not constant.promoted
    assert "the same" in constant.reason
    confused = job(ConfusedChurn(settings()), company, registry)
    assert not confused.promoted
    assert confused.reason.startswith("worse than champion 1: log loss")
    refused = [line for line in promotions(settings().home) if line.action == "refused"]
    assert [(line.name, line.version, line.previous, line.reason) for line in refused] == [
        ("segments", constant.version, 1, constant.reason),
        ("churn", confused.version, 1, confused.reason),
    ]
    assert registry.alias("churn", CHALLENGER).number == confused.version
    assert registry.alias("churn", CHAMPION).number == 1
    assert registry.version("churn", confused.version).tags["gate"].startswith("refused: worse than")
    assert (settings().shelf / "champions.json").read_bytes() == before


def test_worse_calibration_is_refused_and_logged(trained, registry, company):
    off = job(OffLevelChurn(settings()), company, registry)
    assert not off.promoted
    assert "worse than champion 1: calibration error" in off.reason
    assert promotions(settings().home)[-1].reason == off.reason


def test_a_challenger_worse_for_one_kind_of_customers_is_refused_and_logged(trained, registry, company):
    recipe = UnequalChurn(settings())
    unequal = job(recipe, company, registry)
    assert not unequal.promoted
    assert unequal.reason.startswith(f"among {recipe.wronged}: worse than champion 1: log loss")
    assert "; among" not in unequal.reason
    line = promotions(settings().home)[-1]
    assert (line.action, line.version, line.reason) == ("refused", unequal.version, unequal.reason)


def test_a_failed_fit_leaves_a_failed_run_and_the_champion(trained, registry, company):
    versions = registry.version("segments").number
    with pytest.raises(ConvergenceError):
        job(DivergingSegments(settings()), company, registry)
    experiment = registry._client.get_experiment_by_name("segments").experiment_id
    newest = registry._client.search_runs([experiment], max_results=1)[0]
    assert newest.info.status == "FAILED"
    assert newest.data.tags["failure"] == "ConvergenceError: no optimum was found"
    assert registry.version("segments").number == versions
    assert registry.alias("segments", CHAMPION).number == 1


def test_a_personal_rhythm_is_learned_said_and_never_compared_with_silence(trained, registry, company):
    names, when = ["churn"], company.as_of()
    result = train(names, company, when, HORIZON_DAYS, definition=Definition.PERSONAL, search_trials=2)[0]
    assert not result.promoted
    assert "the champion means no_purchase_in_horizon, this version personal_rhythm" in result.reason
    run = registry._client.get_run(result.run_id)
    assert run.data.params["churn_definition"] == "personal_rhythm"
    assert "nine in ten of their own gaps" in run.data.params["definition"]
    assert [file.path for file in registry._client.list_artifacts(result.run_id, "search")] == ["search/search.json"]
    assert any("trials" in note for note in result.report.notes)


def test_a_champion_of_another_horizon_is_not_compared(trained, company):
    other = train_one("churn", company, company.as_of(), 21)
    assert not other.promoted
    assert "28 days, this version 21" in other.reason
    assert "perennial promote churn" in other.reason


def test_promotion_and_rollback_rehearsed(company, home):
    for back in (56, 28, 0):
        train_one("segments", company, company.as_of().earlier(back, "UTC"), HORIZON_DAYS)
    shelf = settings().shelf
    assert champions(shelf) == {"segments": "3"}
    first = (home / "models" / "segments" / "1" / "manifest.json").read_bytes()
    assert rollback("segments") == "segments is back at version 2"
    assert champions(shelf) == {"segments": "2"}
    assert rollback("segments") == "segments is back at version 1"
    with pytest.raises(RegistryError, match="no earlier champion"):
        rollback("segments")
    assert (home / "models" / "segments" / "1" / "manifest.json").read_bytes() == first
    assert promote("segments").startswith("segments version 3 is now the champion (at training: passed")
    with pytest.raises(RegistryError, match="champion already"):
        promote("segments", 3)
    assert rollback("segments") == "segments is back at version 1"
    log = [json.loads(line) for line in (home / "promotions.jsonl").read_text().splitlines()]
    assert [(line["action"], line["version"], line["previous"]) for line in log] == [
        ("gate", 1, None),
        ("gate", 2, 1),
        ("gate", 3, 2),
        ("rollback", 2, 3),
        ("rollback", 1, 2),
        ("promote", 3, 1),
        ("rollback", 1, 3),
    ]


def in_database(home, statement):
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute(statement)


def test_a_champion_the_registry_does_not_take_serves_already_and_is_promoted_again(company, home):
    in_database(
        home,
        "CREATE TRIGGER full BEFORE INSERT ON registered_model_aliases BEGIN SELECT RAISE(ABORT, 'disk is full'); END",
    )
    again = r"segments version 1 serves already.*disk is full.*`perennial promote segments --version 1` again"
    with pytest.raises(RegistryError, match=again):
        train_one("segments", company, company.as_of(), HORIZON_DAYS)
    assert champions(settings().shelf) == {"segments": "1"}
    assert promotions(home) == []
    in_database(home, "DROP TRIGGER full")
    assert promote("segments", 1).startswith("segments version 1 is now the champion (at training: passed")
    assert Registry(settings().mlflow_uri).alias("segments", CHAMPION).number == 1
    assert [line.action for line in promotions(home)] == ["promote"]


def test_a_champion_that_saw_later_records_is_not_beaten_by_default(company, home):
    train_one("segments", company, company.as_of(), HORIZON_DAYS)
    earlier = train_one("segments", company, company.as_of().earlier(56, "UTC"), HORIZON_DAYS)
    assert not earlier.promoted
    assert "so no comparison is fair" in earlier.reason


def test_a_damaged_registered_artefact_is_not_promoted(company, home):
    train_one("segments", company, company.as_of().earlier(28, "UTC"), HORIZON_DAYS)
    second = train_one("segments", company, company.as_of(), HORIZON_DAYS)
    assert second.version == 2
    (damaged,) = (home / "mlruns").rglob(f"{second.run_id}/artifacts/model/*segments*.json")
    rollback("segments")
    damaged.write_bytes(damaged.read_bytes() + b" ")
    with pytest.raises(Exception, match="sha256"):
        promote("segments", 2)
    assert champions(settings().shelf) == {"segments": "1"}


@pytest.mark.parametrize("name", ["churn", "clv"])
def test_one_time_buyers_teach_nothing_and_nothing_is_registered(from_lines, home, name):
    rng = np.random.default_rng(0)
    lines = pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in range(300)],
            "ordered_at": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 240, 300), unit="D"),
            "amount": 10.0,
        }
    )
    records = from_lines(lines)
    with pytest.raises(InsufficientData):
        train_one(name, records, records.as_of(), HORIZON_DAYS)
    assert champions(settings().shelf) == {}
    with pytest.raises(RegistryError, match="no version"):
        Registry(settings().mlflow_uri).version(name)


def test_busy(company, home):
    with (
        training_lock(home, "training of churn"),
        pytest.raises(RegistryError, match="busy: training of churn by process"),
    ):
        train_one("clv", company, company.as_of(), HORIZON_DAYS)


@pytest.mark.slow
def test_nothing_is_said_at_the_user(company, tmp_path):
    """A first training, database and all, in its own process: not a line on stdout or stderr."""
    lines = tmp_path / "lines.parquet"
    company.tables["orders"].select("customer_id", "ordered_at", "amount").to_pyarrow().to_pandas().to_parquet(lines)
    code = f"""
import pandas as pd
from features.sources import records_from_frames
from training.fit import train_all
records = records_from_frames({{"orders": pd.read_parquet({str(lines)!r})}})
results = train_all(records, records.as_of(), 28)
assert len(results) == 3
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PERENNIAL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_training_as_of_a_day_is_training_on_the_log_up_to_it(from_lines, simulate, home):
    lines = simulate()
    as_of = AsOf.parse("2024-08-01", "UTC")
    assert (lines.ordered_at.dt.date == as_of.earlier(1, "UTC").day).any()  # so that the shorter log ends there too
    whole, cut = from_lines(lines), from_lines(lines[lines.ordered_at < as_of.naive_utc])
    results = [train_one("churn", records, as_of, HORIZON_DAYS) for records in (whole, cut)]
    assert results[0].digest == results[1].digest
