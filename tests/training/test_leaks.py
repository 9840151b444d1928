"""Planted leaks are found, an honest table is left in peace."""

import numpy as np
import pytest

from models.table_churn import stratified_folds
from models.table_columns import Columns
from tests.tables import contracts
from training.leaks import alone, giveaways, suspects

TABLE = contracts(3000)
LABELS = (TABLE.Churn == "Yes").to_numpy()
HONEST = TABLE.drop(columns=["Churn", "worth"])
rng = np.random.default_rng(8)


def ranked(table):
    return alone(table, Columns.learn(table)[0], LABELS, stratified_folds(LABELS, np.arange(len(LABELS)), 5, 7))


def told(table, lost):
    return suspects(ranked(table), lambda name: 0.9 - lost.get(name, 0.0), 0.9)


def test_an_honest_table_has_no_suspect():
    assert giveaways(ranked(HONEST)) == []
    assert told(HONEST, {}) == []


@pytest.mark.parametrize(
    "leak",
    [
        LABELS,
        np.where(LABELS, "closed", "open"),
        np.where(LABELS, rng.choice(["price", "moved"], 3000), ""),  # a reason that only leavers have
        LABELS + rng.normal(0, 0.1, 3000),
        np.abs(LABELS - 0.5 + rng.normal(0, 0.01, 3000)) * np.where(LABELS, 1, 3),  # not monotone
    ],
)
def test_a_column_that_gives_the_label_away(leak):
    assert [one.name for one in giveaways(ranked(HONEST.assign(leak=leak)))] == ["leak"]


def test_a_column_that_stands_out_and_decides():
    after = np.where(LABELS, rng.gamma(2.0, 4.0, 3000) + 1.0, rng.gamma(1.0, 3.0, 3000))
    (sentence,) = told(HONEST.assign(calls_after=after), {"calls_after": 0.2})
    assert sentence.startswith("calls_after may be known only after the fact: ")


def test_half_a_giveaway_decides():
    """A closing date filled for two leavers in three ranks no better than honest columns, but never errs."""
    filled = np.where(LABELS & (rng.random(3000) < 0.5), "seen", "")
    (sentence,) = told(HONEST.assign(closing=filled), {"closing": 0.2})
    assert "where it is 'seen', none of" in sentence
    assert "rows stayed" in sentence
    assert "the model loses 0.200 of AUC without it" in sentence


def test_two_leaks_do_not_hide_each_other():
    after = np.where(LABELS, 1.0, 0.0) + rng.normal(0, 0.45, 3000)
    found = told(HONEST.assign(seconds=after, minutes=after / 60), {})
    assert {sentence.split(" ")[0] for sentence in found} == {"seconds", "minutes"}
