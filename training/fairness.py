"""Does churn's probability serve every group alike? Ranking, level and selection by attributes that no model reads."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from scipy.stats import binomtest

from models.early_warning import MAY_LEAVE
from training.level import CONFIDENCE, Level
from training.metrics import Floats, Interval, auc, evaluate
from training.parts import large

# The four-fifths rule of the United States' guidelines on selecting employees (EEOC 1978), and its reverse.
LEAST_RATIO, MOST_RATIO = 0.8, 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Level):
    """Customers who share one word of an attribute.

    ``selected`` is the share whose probability is at least `MAY_LEAVE`, from which a warning is given,
    ``selected_low`` and ``selected_high`` its 99 % interval (Wilson).
    """

    attribute: str
    value: str
    auc: Interval
    selected: float
    selected_low: float
    selected_high: float


@dataclass(frozen=True)
class Fairness:
    """All groups, beside everyone."""

    auc: Interval
    observed: float
    selected: float
    groups: tuple[Group, ...]

    def ratio(self, group: Group) -> float:
        """How often the group is selected for each time that everyone is; NaN where nobody is selected."""
        return group.selected / self.selected if self.selected else float("nan")

    def findings(self) -> tuple[str, ...]:
        """Say, a line for each, what is beyond chance in any group."""
        return tuple(
            f"fairness, {group.attribute} {group.value} ({group.customers:,} customers): {'; '.join(said)}"
            for group in self.groups
            if (said := tuple(self._beyond_chance(group)))
        )

    def to_json(self) -> bytes:
        """Return every figure; intervals are ``[value, low, high]``, null where undefined."""
        body = {
            "selected_from": MAY_LEAVE,
            "everyone": {"auc": self.auc.to_json(), "observed": self.observed, "selected": self.selected},
            "groups": [
                group.to_json()
                | {
                    "auc": group.auc.to_json(),
                    "selection_ratio": self.ratio(group) if self.selected else None,
                }
                for group in self.groups
            ],
            "findings": self.findings(),
        }
        return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    def _beyond_chance(self, group: Group) -> Iterator[str]:
        if not group.holds:
            yield (
                f"predicted {group.predicted:.1%}, left {group.observed:.1%}, "
                f"beyond what chance allows ({group.low:.1%} to {group.high:.1%})"
            )
        if group.auc.high < self.auc.low:
            yield f"ranked worse: AUC {group.auc} against {self.auc} of everyone"
        often, seldom = (
            group.selected_low > MOST_RATIO * self.selected,
            group.selected_high < LEAST_RATIO * self.selected,
        )
        if often or seldom:
            yield (
                f"selected {self.ratio(group):.2f} times as often as everyone ({group.selected:.1%} against "
                f"{self.selected:.1%}), while {group.observed / self.observed:.2f} times as many left"
            )


def judge_groups(words: pd.DataFrame, outcome: Floats, probability: Floats, seed: int) -> Fairness | None:
    """Compare groups by the words of each attribute (n, attributes) with everyone; None without an attribute.

    ``outcome`` is 1 for who left (n,). A group of fewer than `training.level.LEAST_CUSTOMERS` is left out.
    """
    if not len(words.columns):
        return None
    groups = tuple(
        _group(str(attribute), value, outcome[mask], probability[mask], seed)
        for attribute, column in words.items()
        for value, mask in large(column)
    )
    return Fairness(_ranking(outcome, probability, seed), float(outcome.mean()), _selected(probability), groups)


def _group(attribute: str, value: str, outcome: Floats, probability: Floats, seed: int) -> Group:
    chosen = binomtest(int((probability >= MAY_LEAVE).sum()), len(outcome)).proportion_ci(CONFIDENCE, "wilson")
    return Group(
        attribute=attribute,
        value=value,
        customers=len(outcome),
        auc=_ranking(outcome, probability, seed),
        predicted=float(probability.mean()),
        observed=float(outcome.mean()),
        selected=_selected(probability),
        selected_low=float(chosen.low),
        selected_high=float(chosen.high),
    )


def _ranking(outcome: Floats, probability: Floats, seed: int) -> Interval:
    return evaluate({"auc": auc}, outcome, probability, seed=seed)["auc"]


def _selected(probability: Floats) -> float:
    return float((probability >= MAY_LEAVE).mean())
