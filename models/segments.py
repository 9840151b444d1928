"""Who a customer is to the business: value tier, life cycle, contact tier, potential and the one list to stand on.

The thresholds are learned from a snapshot; the rules that use them are the tables of `models.segment_rules`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.artefact import json_file, read_json_file
from models.matrix import Floats, columns_of
from models.segment_rules import RULES, ContactTier, LifecycleStage, Potential, Rule, Segment, ValueTier
from perennial.errors import ArtefactError, InsufficientData

__all__ = ["ContactTier", "LifecycleStage", "Potential", "Segment", "SegmentModel", "Thresholds", "ValueTier"]

FILE = "segments.json"
MIN_CUSTOMERS = 20  # fewer than four customers a fifth rank nobody
GAPS_OF_A_RHYTHM = 3  # repeat purchases before a customer's own p90 gap is trusted
NPS_PROMOTER = 9


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a snapshot taught: four cuts into fifths a score, and what is usual here."""

    recency_days: tuple[float, ...]
    frequency: tuple[float, ...]
    monetary: tuple[float, ...]
    breadth: tuple[float, ...]
    year_spend: tuple[float, ...]
    usual_long_gap_days: float  # median over customers with a rhythm of their own p90 gap
    least_long_gap_days: float  # lower quartile of the same: keeps daily shoppers from counting as gone in a week
    settling_days: float
    few_repeats: float
    order_value: float


class SegmentModel:
    """Learned thresholds (``thresholds_``) and the rule tables; ``inputs`` are the snapshot columns they read."""

    inputs = (
        "frequency",
        "T",
        "days_since_last_order",
        "gap_median_days",
        "gap_p90_days",
        "spend_total",
        "spend_365d",
        "order_value_mean",
        "category_breadth",
        "orders_90d",
        "interactions_90d",
        "referrals_total",
        "nps_last",
    )

    def fit(self, snapshot: pd.DataFrame) -> Self:
        """Learn the thresholds from one snapshot; InsufficientData under `MIN_CUSTOMERS` customers."""
        if len(snapshot) < MIN_CUSTOMERS:
            raise InsufficientData(
                f"segments: {len(snapshot)} customers cannot be ranked into fifths; at least {MIN_CUSTOMERS} are needed"
            )
        given = _given(snapshot)
        rhythmic = given["frequency"] >= GAPS_OF_A_RHYTHM
        long_gap = given["gap_p90_days"][rhythmic]
        gap = given["gap_median_days"][given["frequency"] > 0]
        if not len(gap):
            raise InsufficientData("segments: nobody has bought twice, so no silence is long or short; add history")
        long_gap = long_gap if len(long_gap) else gap
        self.thresholds_ = Thresholds(
            recency_days=_fifths(given["days_since_last_order"]),
            frequency=_fifths(given["frequency"]),
            monetary=_fifths(given["spend_total"]),
            breadth=_fifths(given["category_breadth"]),
            year_spend=_fifths(given["spend_365d"]),
            usual_long_gap_days=float(np.median(long_gap)),
            least_long_gap_days=max(1.0, float(np.quantile(long_gap, 0.25))),
            settling_days=GAPS_OF_A_RHYTHM * float(np.median(gap)),
            few_repeats=float(np.median(given["frequency"])),
            order_value=float(np.nanmedian(given["order_value_mean"])),
        )
        return self

    def predict(self, snapshot: pd.DataFrame) -> pd.DataFrame:
        """Return ``value_tier, lifecycle_stage, contact_tier, potential, segment`` on the snapshot's index."""
        facts = self.facts(snapshot)
        codes: dict[str, NDArray[np.object_]] = {}
        for column, rules in RULES.items():
            codes[column] = _first_match(rules, facts, codes, len(snapshot))
        return pd.DataFrame(codes, index=snapshot.index, dtype="str")

    def facts(self, snapshot: pd.DataFrame) -> dict[str, Floats]:
        """Return what the rules speak of, by name (see `models.segment_rules`)."""
        given, learned = _given(snapshot), self.thresholds_
        frequency = _score(given["frequency"], learned.frequency)
        monetary = _score(given["spend_total"], learned.monetary)
        interactions = np.nan_to_num(given["interactions_90d"])
        promoter = np.nan_to_num(given["nps_last"]) >= NPS_PROMOTER
        return {
            "recency_score": 6.0 - _score(given["days_since_last_order"], learned.recency_days),
            "frequency_score": frequency,
            "monetary_score": monetary,
            "worth": (frequency + monetary) / 2.0,
            "breadth_score": _score(given["category_breadth"], learned.breadth),
            "year_score": _score(given["spend_365d"], learned.year_spend),
            "silence": given["days_since_last_order"] / self._long_gap_days(given),
            "repeats": given["frequency"],
            "settled": given["T"] / max(learned.settling_days, 1.0),
            "few_orders": (given["frequency"] <= learned.few_repeats).astype(np.float64),
            "order_size": np.nan_to_num(given["order_value_mean"]) / max(learned.order_value, 1e-9),
            "recommends": np.nan_to_num(given["referrals_total"]) + promoter,
            "interactions_90d": interactions,
            "touches_90d": interactions + given["orders_90d"],
        }

    def long_gap_days(self, snapshot: pd.DataFrame) -> Floats:
        """Return the longest gap usual for each customer (n,): silent for longer, they are overdue."""
        return self._long_gap_days(_given(snapshot))

    def to_files(self) -> dict[str, bytes]:
        """Artefact files: one JSON with the thresholds."""
        return {FILE: json_file(asdict(self.thresholds_))}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Read what `to_files` wrote."""
        model, state = cls(), read_json_file(files, FILE)
        try:
            typed: dict[str, Any] = {name: _typed(value) for name, value in state.items()}
            model.thresholds_ = Thresholds(**typed)
        except (TypeError, ValueError) as error:
            raise ArtefactError(f"segment model: {FILE} is from another format ({error!r}); train it again") from error
        return model

    def _long_gap_days(self, given: Mapping[str, Floats]) -> Floats:
        """Longest gap usual for each customer: the own p90 gap once there is a rhythm, the business's before."""
        learned = self.thresholds_
        own = np.where(given["frequency"] >= GAPS_OF_A_RHYTHM, given["gap_p90_days"], learned.usual_long_gap_days)
        return np.maximum(own, learned.least_long_gap_days)


def _typed(value: Any) -> tuple[float, ...] | float:
    return tuple(map(float, value)) if isinstance(value, list) else float(value)


def _given(snapshot: pd.DataFrame) -> dict[str, Floats]:
    return dict(zip(SegmentModel.inputs, columns_of(snapshot, SegmentModel.inputs).T, strict=True))


def _fifths(values: Floats) -> tuple[float, ...]:
    known = values[~np.isnan(values)]
    return tuple(np.quantile(known, (0.2, 0.4, 0.6, 0.8)).tolist()) if len(known) else (0.0,) * 4


def _score(values: Floats, cuts: tuple[float, ...]) -> Floats:
    """1 + the number of cuts below the value: ties share the lower score; unknown counts as lowest."""
    below = np.searchsorted(cuts, np.where(np.isnan(values), -np.inf, values), side="left")
    return 1.0 + below.astype(np.float64)


def _first_match(
    rules: tuple[Rule, ...], facts: Mapping[str, Floats], codes: Mapping[str, NDArray[np.object_]], customers: int
) -> NDArray[np.object_]:
    chosen = np.full(customers, None, dtype=object)
    for rule in reversed(rules):
        fits = np.ones(customers, dtype=np.bool_)
        for name, (least, most) in rule.within.items():
            fits &= (facts[name] >= least) & (facts[name] <= most)
        for name, allowed in rule.among.items():
            fits &= np.isin(codes[name], [code.value for code in allowed])
        chosen[fits] = rule.code.value
    return chosen
