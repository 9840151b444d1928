"""The value engine rehearsed at past cutoffs: what it learns of its own errors, and that it never looks ahead."""

from copy import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.families import CANDIDATES, Family
from perennial.settings import Settings
from tests.models.test_demand import WINDOW, cutoff_rows
from training.value_fit import compare_families, fit_value, rehearse

CUTOFFS = 4


@pytest.fixture(scope="module")
def learned() -> pd.DataFrame:
    rows = [cutoff_rows(900, seed) for seed in range(CUTOFFS)]
    start = pd.Timestamp("2023-01-01", tz="UTC")
    return pd.concat(
        [part.assign(as_of=start + pd.Timedelta(days=WINDOW * step)) for step, part in enumerate(rows)],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def today() -> pd.DataFrame:
    return cutoff_rows(900, 50)


@pytest.fixture(scope="module")
def model(learned, today):
    return fit_value(learned, today, WINDOW, Settings(), 0.1)


def test_every_closed_window_tells_how_far_the_total_was_off(model):
    assert model.demand_ is not None
    assert len(model.spread_.order_errors) == len(model.spread_.value_errors) == CUTOFFS
    assert max(map(abs, model.spread_.order_errors)) < 0.4


def test_intervals_of_what_is_served_hold_later(model, today):
    known = copy(model)  # a season never seen widens intervals on purpose
    known.spread_ = replace(model.spread_, season_seen=True)
    found = known.predict(today, horizon_days=WINDOW)
    inside = today["actual_orders"].between(found["expected_orders_low"], found["expected_orders_high"])
    assert 0.88 < inside.mean() < 0.97  # counts are whole: a little more than 0.90


def test_a_rehearsal_does_not_know_what_came_after_its_cutoff(learned):
    latest = learned["as_of"] == learned["as_of"].max()
    wild = learned.assign(actual_orders=learned["actual_orders"].where(~latest, 9.0))
    ours, spoiled = (
        rehearse(rows, WINDOW, Settings(), boosted=True, family=Family("mbg_nbd")).order_errors
        for rows in (learned, wild)
    )
    assert spoiled[0] > ours[0] + 1
    assert spoiled[1:] == ours[1:]


def test_a_history_less_than_half_as_long_is_no_rehearsal(learned):
    first = learned["as_of"] == learned["as_of"].min()
    share = learned[["recency", "T"]].mul(np.where(first, 0.3, 1.0), axis=0)
    found = rehearse(learned.assign(**share), WINDOW, Settings(), boosted=False, family=Family("mbg_nbd"))
    assert len(found.order_errors) == CUTOFFS - 1


def test_a_history_of_less_than_a_year_has_not_seen_every_season(learned, today, model):
    longer = today.assign(T=today["T"] + 100)
    assert not model.spread_.season_seen
    assert fit_value(learned[:0], longer, WINDOW, Settings(), 0.1).spread_.season_seen


def test_families_are_compared_on_windows_that_followed(learned):
    compared = compare_families(learned, WINDOW, 7)
    assert set(compared) == set(CANDIDATES)
    assert all(loss > 0 for loss in compared.values())


def test_without_a_closed_window_histories_speak_alone(learned, today):
    model = fit_value(learned[:0], today, WINDOW, Settings(), 0.1)
    assert model.demand_ is None
    assert model.spread_.order_errors == ()
