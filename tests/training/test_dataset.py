"""Rolling origins: time runs one way, windows are closed, and nothing from after a cutoff reaches a row."""

from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features.records import AsOf
from perennial.errors import InsufficientData
from training.dataset import (
    MAX_TRAINING_ORIGINS,
    days_needed,
    fingerprint,
    gather,
    holdout_cutoff,
    least_history_days,
    plan_origins,
    with_labels,
)
from training.labels import window_end


def log_of(from_lines, days, timezone="UTC"):
    """Return records whose log covers exactly ``days`` days."""
    start = pd.Timestamp("2018-01-01 12:00")
    return from_lines(
        pd.DataFrame(
            {
                "customer_id": ["a", "b"],
                "ordered_at": [start, start + pd.Timedelta(days=days - 1)],
                "amount": [1.0, 2.0],
            }
        ),
        timezone,
    )


def gaps(cutoffs):
    return {(later.day - earlier.day).days for earlier, later in pairwise(cutoffs)}


@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.integers(100, 1200), horizon_days=st.integers(7, 120))
def test_every_window_is_closed_before_it_is_used(from_lines, days, horizon_days):
    records = log_of(from_lines, days, "America/New_York")
    if days < days_needed(horizon_days, "needed"):
        return
    plan = plan_origins(records, records.as_of(), horizon_days)
    for fit, used_from in ((plan.judged, plan.holdout), (plan.final, plan.end)):
        assert fit.closed_until == used_from
        assert fit.window_days <= horizon_days
        assert window_end(records, fit.calibration, fit.window_days) == used_from
        for cutoff in fit.training:
            assert window_end(records, cutoff, fit.window_days).instant <= fit.calibration.instant
        assert 1 <= len(fit.training) <= MAX_TRAINING_ORIGINS
        assert len(gaps(fit.training)) <= 1
        first = AsOf.parse("2018-01-01", "UTC").day
        assert (fit.training[0].day - first).days >= least_history_days(fit.window_days)
    assert window_end(records, plan.holdout, horizon_days) == plan.end


def test_origins_stand_a_horizon_apart_and_closer_where_history_is_short(from_lines):
    long = plan_origins(log_of(from_lines, 850), AsOf.parse("2026-01-01", "UTC"), 90)
    assert long.end.day.isoformat() == "2020-04-30"  # an as_of after the log closes nothing more
    assert (gaps(long.judged.training), len(long.judged.training)) == ({90}, 6)
    assert len(long.final.training) == 7
    longer = plan_origins(log_of(from_lines, 1500), AsOf.parse("2026-01-01", "UTC"), 90)
    assert len(longer.judged.training) == MAX_TRAINING_ORIGINS
    short = plan_origins(log_of(from_lines, 360 + 50), AsOf.parse("2026-01-01", "UTC"), 90)
    assert (gaps(short.judged.training), short.judged.step_days, len(short.judged.training)) == ({15}, 15, 4)
    shortest = plan_origins(log_of(from_lines, 360), AsOf.parse("2026-01-01", "UTC"), 90)
    assert len(shortest.judged.training) == 1


def test_windows_shrink_to_what_the_log_has_room_for(from_lines):
    plan = plan_origins(log_of(from_lines, 546), AsOf.parse("2026-01-01", "UTC"), 273)
    assert (plan.judged.window_days, plan.final.window_days) == (91, 182)
    assert (plan.holdout.day - plan.judged.calibration.day).days == 91


def test_too_short_a_log_says_how_many_days_are_missing_and_which_horizon_would_do(from_lines):
    records = log_of(from_lines, 100)
    with pytest.raises(InsufficientData, match=r"46 are missing.*at most 44 days"):
        plan_origins(records, records.as_of(), 90)
    plan_origins(records, records.as_of(), 44)
    with pytest.raises(InsufficientData, match=r"there are 20, so 38 are missing: add older records"):
        holdout_cutoff(log_of(from_lines, 20), records.as_of(), 29)


def test_snapshots_and_labels_agree_about_who_is_a_customer(company):
    data = gather(company, company.as_of(), 28, needs_labels=True)
    for rows, fit in ((data.final, data.plan.final), (data.judged, data.plan.judged)):
        assert set(rows["as_of"].unique()) == {pd.Timestamp(cutoff.instant) for cutoff in fit.cutoffs}
        assert rows[["churned", "actual_orders", "actual_spend"]].notna().all().all()
        assert (rows["churned"] == (rows["actual_orders"] == 0)).all()
    assert data.heldout["as_of"].unique().tolist() == [pd.Timestamp(data.holdout.instant)]
    assert data.latest["as_of"].unique().tolist() == [pd.Timestamp(data.end.instant)]
    with pytest.raises(InsufficientData, match="disagree"):
        with_labels(data.heldout[5:].drop(columns=["churned", "actual_orders", "actual_spend"]), company,
                    [data.holdout], 28, data.end)  # fmt: skip


def test_rows_stay_whole_so_that_columns_are_added_without_a_warning_of_fragments(company):
    data = gather(company, company.as_of(), 28, needs_labels=True)
    for rows in (data.heldout, data.judged, data.final, data.latest):
        wide = rows.assign(**dict.fromkeys(map(str, range(20)), 0.0))  # warns from the hundredth piece on
        assert wide.shape[1] > 100


def test_the_future_reaches_no_row(from_lines, simulate):
    """Everything from the hold-out on replaced by a flood: what the judged fit learns from is the same to the bit."""
    lines = simulate(150, 200)
    honest = gather(from_lines(lines), AsOf.parse("2024-07-18", "UTC"), 28, needs_labels=True)
    flood = pd.DataFrame(
        {
            "customer_id": lines.customer_id.unique(),
            "ordered_at": pd.Timestamp(honest.holdout.naive_utc),
            "amount": 1e6,
        }
    )
    past = lines[lines.ordered_at < honest.holdout.naive_utc]
    last = lines[lines.ordered_at == lines.ordered_at.max()]
    changed = gather(from_lines(pd.concat([past, flood, last], ignore_index=True)),
                     AsOf.parse("2024-07-18", "UTC"), 28, needs_labels=True)  # fmt: skip
    assert changed.plan == honest.plan
    assert len(honest.judged) > 300
    pd.testing.assert_frame_equal(honest.judged, changed.judged)
    known = [name for name in honest.heldout if name not in ("churned", "actual_orders", "actual_spend")]
    pd.testing.assert_frame_equal(honest.heldout[known], changed.heldout[known])
    assert changed.heldout.churned.sum() == 0


def test_the_judged_fit_learns_nothing_that_became_known_after_the_holdout_cutoff(from_lines, simulate):
    """Purchases of its calibration window that came to light five days late: they never were, for it alone."""
    lines, as_of = simulate(150, 200), AsOf.parse("2024-07-18", "UTC")
    plan = plan_origins(from_lines(lines), as_of, 28)
    opens, closes = plan.judged.calibration.naive_utc, plan.holdout.naive_utc
    in_window = (lines.ordered_at >= opens) & (lines.ordered_at < closes)
    late = pd.Timestamp(closes) + pd.Timedelta(days=5)
    data = gather(
        from_lines(lines.assign(known_at=lines.ordered_at.mask(in_window, late))), as_of, 28, needs_labels=True
    )
    without = gather(from_lines(lines[~in_window]), as_of, 28, needs_labels=True)
    assert data.plan == without.plan == plan
    for rows, expected in zip(data.learned(plan.judged), without.learned(plan.judged), strict=True):
        pd.testing.assert_frame_equal(rows, expected)
    calibration = data.learned(plan.judged)[1]
    assert calibration.churned.all()
    assert calibration.actual_spend.sum() == 0
    told_in_time = gather(from_lines(lines), as_of, 28, needs_labels=True)
    assert not told_in_time.learned(plan.judged)[1].churned.all()
    outcomes = ["as_of", "customer_id", "churned", "actual_orders", "actual_spend"]
    before = data.final.as_of < pd.Timestamp(plan.holdout.instant)
    pd.testing.assert_frame_equal(  # the final fit, later, knows them
        data.final.loc[before, outcomes], told_in_time.final.loc[before, outcomes]
    )


def test_fingerprint_knows_every_value_and_no_order():
    rows = pd.DataFrame({"customer_id": ["a", "b", "c"], "x": [0.1, None, -0.0], "churned": [True, False, True]})
    same = rows.sample(frac=1, random_state=1)[["churned", "x", "customer_id"]].replace({"x": {-0.0: 0.0}})
    assert fingerprint(rows) == fingerprint(same)
    for column, value in (("customer_id", "z"), ("x", 0.1000001), ("churned", False)):
        other = rows.copy()
        other.loc[0, column] = value
        assert fingerprint(other) != fingerprint(rows), column
    assert fingerprint(rows.rename(columns={"x": "y"})) != fingerprint(rows)
