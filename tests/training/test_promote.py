"""The gate's sentences, and the promotion log as a way back."""

import numpy as np
import pytest

from training.metrics import Comparison, Interval, Verdict, compare, corrected
from training.promote import Decision, Promotion, _previous, gate

rng = np.random.default_rng(2)
TRUTH = rng.beta(1.2, 2.5, 3000)
OUTCOME = (rng.random(3000) < TRUTH).astype(float)
AUC = Interval(0.8, 0.78, 0.82)


def against_champion(challenger, champion):
    measures = ("log_loss", "calibration_error")
    return [compare(measure, OUTCOME, challenger, champion, "champion 1") for measure in measures]


def test_a_first_version_must_beat_guessing():
    assert gate(TRUTH, AUC, 0.5, None).promoted
    coin = gate(TRUTH, Interval(0.51, 0.49, 0.53), 0.5, None)
    assert coin == Decision(False, "its ranking 0.510 (0.490 to 0.530) cannot be told from guessing (0.5)")


def test_a_constant_challenger_is_refused():
    decision = gate(np.full(3000, 0.31), AUC, 0.5, None)
    assert decision == Decision(False, "it predicts 0.31 for every customer")


def test_a_challenger_as_good_or_better_passes():
    blurred = np.clip(TRUTH + rng.normal(0, 0.12, 3000), 0.01, 0.99)
    assert gate(TRUTH, AUC, 0.5, against_champion(TRUTH, TRUTH)).promoted
    better = gate(TRUTH, AUC, 0.5, against_champion(TRUTH, blurred))
    assert better.promoted
    assert better.reason.startswith("better than champion 1: log loss")


def test_a_challenger_that_ranks_worse_is_refused():
    blurred = np.clip(TRUTH + rng.normal(0, 0.12, 3000), 0.01, 0.99)
    decision = gate(blurred, AUC, 0.5, against_champion(blurred, TRUTH))
    assert not decision.promoted
    assert decision.reason.startswith("worse than champion 1: log loss")


def test_worse_calibration_is_refused_beyond_the_tolerance():
    champion = TRUTH + OUTCOME.mean() - TRUTH.mean() + 0.05
    trifle, clear = champion + 0.008, champion + 0.03
    slightly = compare("calibration_error", OUTCOME, trifle, champion, "champion 1")
    assert slightly.verdict is Verdict.WORSE
    assert gate(trifle, AUC, 0.5, [slightly]).promoted
    decision = gate(clear, AUC, 0.5, [compare("calibration_error", OUTCOME, clear, champion, "champion 1")])
    assert not decision.promoted
    assert "worse than champion 1: calibration error 0.080" in decision.reason


def promotion_log(*changes):
    return [Promotion("2024-01-01T00:00:00Z", "churn", version, None, action, "") for action, version in changes]


@pytest.mark.parametrize(
    ("changes", "current", "expected"),
    [
        ([], None, None),
        ([("gate", 1)], 1, None),
        ([("gate", 1), ("gate", 2)], 2, 1),
        ([("gate", 1), ("gate", 2), ("rollback", 1)], 1, None),
        ([("gate", 1), ("gate", 2), ("gate", 3), ("rollback", 2)], 2, 1),
        ([("gate", 1), ("gate", 2), ("promote", 1)], 1, 2),
        ([("gate", 1), ("gate", 2), ("rollback", 1), ("gate", 3)], 3, 1),
        ([("gate", 1), ("gate", 2)], 3, 2),  # killed between alias and log
    ],
)
def test_rollback_goes_to_the_champion_before(changes, current, expected):
    log = [*promotion_log(*changes), Promotion("", "clv", 9, None, "gate", "")]
    assert _previous(log, "churn", current) == expected


PARTS = {f"part {number}": np.arange(3000) % 10 == number for number in range(10)}


def by_parts(challenger, champion):
    found = [
        compare("log_loss", OUTCOME[mask], challenger[mask], champion[mask], "champion 1") for mask in PARTS.values()
    ]
    return dict(zip(PARTS, corrected(found), strict=True))


def test_a_challenger_worse_for_one_part_of_the_customers_is_refused_though_better_overall():
    blurred = np.clip(TRUTH + rng.normal(0, 0.12, 3000), 0.01, 0.99)
    challenger = np.where(PARTS["part 3"], np.clip(1 - TRUTH, 0.01, 0.99), TRUTH)
    overall = against_champion(np.where(PARTS["part 3"], blurred, TRUTH), blurred)
    assert gate(TRUTH, AUC, 0.5, overall, by_parts(TRUTH, blurred)).promoted
    decision = gate(challenger, AUC, 0.5, overall, by_parts(challenger, blurred))
    assert not decision.promoted
    assert decision.reason.startswith("among part 3: worse than champion 1: log loss")
    assert decision.reason.count("among") == 1


def test_parts_are_many_so_chance_alone_refuses_hardly_anybody():
    """Champion and challenger equally good: with ten parts each at 95 %, four of ten would be refused."""
    drawn = np.random.default_rng(8)
    refused = 0
    for _ in range(40):
        one, other = (np.clip(TRUTH + drawn.normal(0, 0.2, 3000), 0.01, 0.99) for _ in range(2))
        refused += not gate(one, AUC, 0.5, [], by_parts(one, other)).promoted
    assert refused <= 5


def test_a_trifle_in_a_part_is_let_pass():
    nudged = np.clip(TRUTH + 0.002, 0.01, 0.99)
    trifle = Comparison("log_loss", "champion 1", 0.503, 0.5, Interval(0.003, 0.002, 0.004), Verdict.WORSE, 0.001)
    assert gate(nudged, AUC, 0.5, [], {"part 1": trifle}).promoted


def test_a_refusal_in_the_log_is_no_champion_to_go_back_to():
    log = promotion_log(("gate", 1), ("gate", 2), ("refused", 3), ("gate", 4))
    assert _previous(log, "churn", 4) == 2
