"""Monitoring on a real home: quiet when nothing has changed, and loud, with the size, when something has."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from models.kept_scores import keep_scores, kept_scores
from perennial.cli import app
from perennial.errors import ArtefactError
from perennial.settings import settings
from serving.batch import score_to
from training.fit import train_all
from training.health import Limits, Status
from training.monitor import monitor
from training.monitor_files import FIGURES, GAUGES, PAGE, sentence, write_monitor

HORIZON = 28


@pytest.fixture(scope="module")
def world(lasting_home, simulate, from_lines, tmp_path_factory):
    """Return the records, the day they end on, and the lines; models are a horizon old and have scored two days."""
    lines = simulate(600, 270)
    records = from_lines(lines)
    end = records.as_of()
    trained_on = end.earlier(HORIZON, "UTC")
    train_all(records, trained_on, HORIZON)
    for day in (trained_on, end):
        score_to(tmp_path_factory.mktemp("scores"), records, day, "en", settings())
    return records, end, lines


@pytest.fixture(scope="module")
def found(world):
    records, end, _ = world
    return monitor(records, end, end.instant, settings())


def test_limits_are_reached_by_numbers_of_any_kind():
    assert [Limits(0.1, 0.25).grade(size) for size in (0.0, 0.1, np.float64(0.25))] == [Status.OK, Status.WARN, 2]


def statuses(found):
    return {check.name: check.status for check in found.checks}


def test_an_unshifted_day_is_quiet(found):
    assert found.status is Status.OK, [sentence(check, "en") for check in found.checks]
    assert set(statuses(found).values()) == {Status.OK}
    assert (found.skew.customers, found.skew.gone, found.skew.largest) == (0, 0, 0.0)
    assert found.skew.compared > 400


def test_earlier_scores_are_judged_by_what_came(found, world):
    (latest,) = found.matured
    assert latest.day == world[1].day - timedelta(days=HORIZON)
    assert latest.model_age_days == 0
    assert latest.metrics["auc"].low > 0.7
    assert latest.predicted - latest.observed == pytest.approx(latest.metrics["calibration_gap"].value)
    assert latest.slices


def test_ages_are_judged_on_the_same_window(found):
    assert [aged.age_days for aged in found.ageing] == [0, 28, 56, 84, 112]
    assert [len(aged.against_fresh) for aged in found.ageing] == [0, 2, 2, 2, 2]


@pytest.fixture
def aged(found, monkeypatch):
    """Reuse the models of earlier days that `found` trained: they cost seconds and the test is not about them."""
    monkeypatch.setattr("training.monitor.age_curve", lambda *_: found.ageing)


@pytest.mark.usefixtures("aged")
def test_a_unit_that_changed_is_reported_with_its_size(world, from_lines):
    _, end, lines = world
    recent = lines.ordered_at >= (end.naive_utc - timedelta(days=90))
    shifted = from_lines(lines.assign(amount=lines.amount.where(~recent, 100 * lines.amount)))
    alarmed = monitor(shifted, end, end.instant, settings())
    moved = {one.name: one for one in alarmed.features if one.status is Status.ALERT}
    assert "spend_90d" in moved
    assert moved["spend_90d"].shift.cliffs_delta > 0.1
    assert "orders_90d" not in moved
    assert statuses(alarmed)["scores"] is Status.ALERT  # expected spend
    assert alarmed.status is Status.ALERT


@pytest.mark.usefixtures("aged")
def test_orders_that_stopped_to_arrive_move_what_the_model_leans_on(world, from_lines):
    _, end, lines = world
    lost = (lines.ordered_at >= (end.naive_utc - timedelta(days=45))) & (lines.index % 8 != 0)
    alarmed = monitor(from_lines(lines[~lost]), end, end.instant, settings())
    assert statuses(alarmed)["features"] is Status.ALERT
    assert "days_since_last_order" in {one.name for one in alarmed.features if one.status is Status.ALERT}
    assert "carry" in sentence(alarmed.checks[3], "en")


@pytest.mark.usefixtures("aged")
def test_records_that_changed_behind_the_scores_are_a_skew(world, from_lines):
    _, end, lines = world
    chosen = lines.customer_id.unique()[:40]
    more = lines[lines.customer_id.isin(chosen)].assign(amount=lambda rows: rows.amount + 1)
    late = from_lines(pd.concat([lines[~lines.customer_id.isin(chosen)], more], ignore_index=True))
    found = monitor(late, end, end.instant, settings())
    assert statuses(found)["skew"] is Status.ALERT
    assert found.skew.customers == 40
    assert "spend_total" in found.skew.features
    assert "frequency" not in found.skew.features


@pytest.mark.usefixtures("aged")
def test_scores_that_did_not_come_true_are_an_alert(world, tmp_path, found):
    records, end, _ = world
    config = settings().model_copy(update={"home": tmp_path})
    (tmp_path / "models").symlink_to(settings().shelf)
    kept = list(kept_scores(settings().scored, records.name, end.instant))[-1]
    keep_scores(
        config.scored,
        kept.facts,
        kept.scores.assign(churn_probability=lambda rows: 0.5 * rows.churn_probability),
        kept.features,
    )
    alarmed = monitor(records, end, end.instant, config)
    assert statuses(alarmed)["calibration"] is Status.ALERT
    assert alarmed.matured[0].metrics["calibration_gap"].high < -0.05
    assert any(not found.holds for found in alarmed.matured[0].slices)


@pytest.mark.usefixtures("aged")
def test_silence_is_told_in_days(world):
    records, end, _ = world
    late = monitor(records, end, end.instant + timedelta(days=200), settings())
    told = statuses(late)
    assert (told["records"], told["model"], told["latest_scores"]) == (Status.ALERT,) * 3
    numbers = {check.name: check.numbers for check in late.checks}
    assert numbers["records"]["days"] == 200
    assert numbers["model"]["days"] == 200 + HORIZON


@pytest.mark.usefixtures("aged")
def test_what_cannot_be_known_yet_says_so(world, tmp_path):
    records, end, _ = world
    (tmp_path / "models").symlink_to(settings().shelf)
    fresh = monitor(records, end, end.instant, settings().model_copy(update={"home": tmp_path}))
    told = statuses(fresh)
    assert (told["latest_scores"], told["calibration"], told["skew"]) == (Status.UNKNOWN,) * 3
    assert fresh.status is Status.OK


def test_other_records_and_no_model_are_refused(world, tmp_path):
    records, end, _ = world
    with pytest.raises(ArtefactError, match="learned from 'frames', --source names 'elsewhere'"):
        monitor(replace(records, name="elsewhere"), end, end.instant, settings())
    with pytest.raises(ArtefactError, match="perennial train churn"):
        monitor(records, end, end.instant, settings().model_copy(update={"home": tmp_path}))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_files_say_the_same_to_people_programs_and_prometheus(found, tmp_path, language):
    write_monitor(found, tmp_path, language)
    told = json.loads((tmp_path / FIGURES).read_text(encoding="utf-8"))
    assert told["status"] == "ok"
    assert told["matured"][0]["metrics"]["auc"][0] == found.matured[0].metrics["auc"].value
    assert len(told["features"]) == len(found.features)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "http" not in page
    assert f'lang="{language}"' in page
    assert all(sentence(check, language) in page.replace("&#39;", "'") for check in found.checks)
    gauges = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families((tmp_path / GAUGES).read_text())
        for sample in family.samples
    }
    assert gauges["perennial_monitor_status", "all"] == 0
    assert gauges["perennial_feature_psi", "spend_90d"] == {f.name: f.size for f in found.features}["spend_90d"]
    assert gauges["perennial_matured", "auc"] == found.matured[0].metrics["auc"].value


@pytest.mark.usefixtures("aged")
def test_the_command_ends_with_3_when_something_asks_for_action(world, tmp_path):
    _, end, lines = world
    lines.to_csv(tmp_path / "lines.csv", index=False)
    columns = "\n".join(f'{name} = "{name}"' for name in lines.columns)
    source = tmp_path / "source.toml"
    source.write_text(f'name = "frames"\ncurrency = "EUR"\ntimezone = "UTC"\n[orders]\npath = "lines.csv"\n{columns}\n')
    command = ["monitor", "--source", str(source), "--output", str(tmp_path / "monitor")]
    looked = CliRunner().invoke(app, [*command, "--as-of", str(end.day)])
    assert looked.exit_code == 0, looked.output
    assert looked.output.count(" ok ") == 9
    alarmed = CliRunner().invoke(app, command)  # no order since 2024
    assert alarmed.exit_code == 3
    assert "days without an order" in alarmed.output
    assert np.isin(
        ["monitor.html", "monitor.json", "monitor.prom"], [p.name for p in (tmp_path / "monitor").iterdir()]
    ).all()
