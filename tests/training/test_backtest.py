"""Rolling origins: nobody knows the future, every window is closed, and the verdicts can go both ways."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from perennial.errors import InsufficientData
from perennial.settings import Settings
from training.backtest import COLUMNS, Backtest, backtest, plan_backtest
from training.backtest_files import FIGURES, PAGE, PICTURES, PREDICTIONS, to_json, write_backtest
from training.metrics import Verdict
from training.rivals import OURS, PREDICTED, RIVALS
from training.verdicts import Verdicts, judge

HORIZON = 28


@pytest.fixture(scope="module")
def run(company) -> Backtest:
    return backtest(company, company.as_of(), HORIZON, Settings(), origins=3)


def test_every_rival_predicts_every_customer_at_every_origin(run):
    assert tuple(run.predictions.columns) == COLUMNS
    judged = run.predictions.groupby(["origin", "model"]).customer_id.agg(frozenset)
    assert len(judged) == 3 * len(RIVALS)
    for origin in judged.index.levels[0]:
        assert len(set(judged[origin])) == 1
    assert run.predictions[run.predictions.model == OURS][list(PREDICTED)].notna().all(axis=None)


def test_windows_are_closed_and_fits_end_at_their_origin(company):
    fits = plan_backtest(company, company.as_of(), HORIZON, origins=6)
    end = company.as_of().day
    days = [fit.closed_until.day for fit in fits]
    assert days[-1] + timedelta(days=HORIZON) == end
    assert len(set(np.diff(np.array(days, dtype="datetime64[D]")))) == 1
    assert len(days) == 6
    for fit in fits:
        assert all(cutoff.day + timedelta(days=HORIZON) <= fit.closed_until.day for cutoff in fit.cutoffs)


def test_what_comes_after_an_origin_changes_no_prediction_made_there(run, simulate, from_lines):
    lines = simulate()
    end = lines.ordered_at.max()
    later = lines.ordered_at >= pd.Timestamp(run.origins[-1])
    changed = lines.assign(amount=lines.amount.where(~later, 7 * lines.amount + 3))
    # every second later order moves to the log's end: who bought, and when, changes for many
    changed.loc[later & (np.arange(len(lines)) % 2 == 0), "ordered_at"] = end
    other = from_lines(changed)
    again = backtest(other, other.as_of(), HORIZON, Settings(), origins=3)
    assert again.origins == run.origins
    keys = ["origin", "customer_id", "model", *PREDICTED]
    pd.testing.assert_frame_equal(again.predictions[keys], run.predictions[keys], check_exact=True)
    assert not again.predictions.actual_spend.equals(run.predictions.actual_spend)


def test_a_horizon_too_long_for_closed_windows_is_judged_once_and_what_cannot_be_judged_says_so(company):
    (fit,) = plan_backtest(company, company.as_of(), 90, origins=6)
    assert fit.closed_until.day + timedelta(days=90) == company.as_of().day
    assert fit.window_days < 90
    with pytest.raises(InsufficientData, match="a horizon of 200 days needs"):
        plan_backtest(company, company.as_of(), 200, origins=6)


@pytest.fixture(scope="module")
def cheated(run) -> Verdicts:
    """Return verdicts on a run whose recency rule knows who leaves, and whose MBG/NBD knows what is spent."""
    rows = run.predictions.copy()
    leavers, spenders = rows.model == "recency_rule", rows.model == "mbg_nbd"
    rows.loc[leavers, "churn_probability"] = rows.churned[leavers].map({True: 0.99, False: 0.01})
    rows.loc[spenders, "expected_spend"] = rows.actual_spend[spenders]
    return judge(Backtest(**{**_fields(run), "predictions": rows}), seed=7)


def test_a_rival_that_knows_the_outcome_is_called_better(cheated):
    of_rule = [found for found in cheated.comparisons if found.baseline_name == "the recency rule"]
    assert {found.measure for found in of_rule} == {f"churn_{name}" for name in ("auc", "log_loss", "brier", "empc")}
    assert {found.verdict for found in of_rule} == {Verdict.WORSE}


def test_we_are_held_to_the_better_of_btyd_and_lightgbm_alone(cheated):
    against = {found.measure: found for found in cheated.against_better}
    assert list(against) == list(dict.fromkeys(found.measure for found in cheated.comparisons))
    for measure in ("spend_rmse", "spend_normalised_gini"):
        assert against[measure].verdict is Verdict.WORSE
        assert against[measure].baseline_name == "MBG/NBD"
    for measure, best in (("churn_auc", max), ("churn_log_loss", min)):
        alone = [cheated.metrics[model][measure].value for model in ("bg_nbd", "mbg_nbd", "plain_lightgbm")]
        assert against[measure].baseline == best(alone)


def test_a_slice_whose_probability_is_off_does_not_hold(run):
    slices = run.slices.assign(value_tier="loyal", lifecycle_stage="stable")
    sound = run.predictions.copy()
    sound["churn_probability"] = sound.groupby("origin").churned.transform("mean")
    off = sound.assign(churn_probability=sound.churn_probability * 0.5)
    (held,), (broken,) = (
        judge(Backtest(**{**_fields(run), "predictions": rows, "slices": slices}), seed=7).slices
        for rows in (sound, off)
    )
    assert held.holds
    assert not broken.holds
    assert broken.customers == (run.slices.origin == run.slices.origin.max()).sum()


def test_what_an_offer_earns_is_compared_with_every_rival_and_costs_follow_what_keeping_is_worth(run):
    verdicts = judge(run, seed=7)
    worth = run.slices.staying_value.mean()
    assert verdicts.offer.incentive_cost == pytest.approx(0.05 * worth)
    assert verdicts.offer.contact_cost == pytest.approx(0.005 * worth)
    against = {found.baseline_name for found in verdicts.comparisons if found.measure == "churn_empc"}
    assert len(against) == len(RIVALS) - 2  # all but ourselves and the own average, which foretells no leaving


def test_files_hold_every_figure_and_the_page_needs_no_network(run, tmp_path):
    verdicts = judge(run, seed=7)
    write_backtest(run, verdicts, tmp_path, "perennial backtest --source source.toml")
    assert {path.name for path in tmp_path.iterdir()} == {PAGE, FIGURES, PREDICTIONS, *PICTURES}
    figures = json.loads((tmp_path / FIGURES).read_text(encoding="utf-8"))
    assert figures["horizon_days"] == HORIZON
    assert set(figures["metrics"]) == set(RIVALS)
    assert len(figures["early_warning"]) == 6
    value, low, high = figures["metrics"][OURS]["churn_auc"]
    assert low < value < high
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / PREDICTIONS), run.predictions)
    assert "Holm" in figures["correction"]
    for name, family in (("comparisons", verdicts.comparisons), ("against_better", verdicts.against_better)):
        assert [found["p_value"] for found in figures[name]] == [found.p_value for found in family]
        assert [found["verdict"] for found in figures[name]] == [found.verdict for found in family]
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "http" not in page
    assert page.count("Holm-corrected") == 2
    for comparison in verdicts.comparisons:
        assert f"{comparison.difference.low:+.3f}" in page


def test_origins_are_named_by_the_sources_day_also_east_of_greenwich(run):
    earlier = {
        name: getattr(run, name).assign(origin=lambda rows: rows.origin - pd.Timedelta(hours=1))
        for name in ("predictions", "slices")
    }
    by_origin = judge(replace(run, **earlier), seed=7).by_origin
    assert list(by_origin) == [day.isoformat() for day in run.origins]


def test_a_list_on_which_nobody_became_overdue_has_no_days_of_warning(run):
    verdicts = judge(run, seed=7)
    nobody = [replace(found, lead_days=(np.nan,) * 3) for found in verdicts.warnings]
    figures = json.loads(to_json(run, replace(verdicts, warnings=nobody), "perennial backtest"))
    assert all(found["lead_days"] == [None, None, None] for found in figures["early_warning"])


def _fields(run: Backtest) -> dict[str, object]:
    return {name: getattr(run, name) for name in run.__dataclass_fields__}
