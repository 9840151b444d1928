"""The numbers a report tells, computed from the score files alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from serving.batch import ScoreSet
from serving.codes import CHURN_BANDS, CODE_LISTS
from serving.lists import contactable, early_warning
from serving.totals import PORTFOLIO, Total

CALL_FIRST = 20
WEEKS_AHEAD = 12
HISTOGRAM_BINS = 20
DO_NOTHING = "do_nothing"
# 5 to 95 % of a sum of independent yes-or-no outcomes, by its normal approximation.
Z_90 = 1.645


@dataclass(frozen=True, slots=True)
class Group:
    """Customers who share a code: how many, what they are worth and what is at risk."""

    code: str
    customers: int
    share: float
    value: float
    value_share: float
    money_at_risk: float
    mean_churn: float


@dataclass(frozen=True, slots=True)
class Headline:
    """The portfolio in a few numbers; ``leavers_low`` and ``leavers_high`` bound the middle 90 %."""

    customers: int
    leavers: float
    leavers_low: float
    leavers_high: float
    likely_leavers: int
    money_at_risk: float
    money_still_here: float
    value: float
    expected_orders: float
    expected_spend: float
    best_tenth_share: float
    riskiest_tenth_share: float


@dataclass(frozen=True, slots=True)
class Action:
    """One playbook item as proposed; values are sums over its customers."""

    code: str
    customers: int
    value: float
    money_at_risk: float
    channels: tuple[tuple[str, int], ...]
    evidence: tuple[str, ...]
    human_tasks: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is proposed and what is held back; ``suppressed`` counts customers by rule."""

    actions: tuple[Action, ...]
    acted_on: int
    value: float
    unmoved: int
    human_tasks: int
    suppressed: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom marketing may contact; ``by_channel`` counts consents."""

    contactable: int
    without_consent: int
    control_group: int
    by_channel: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Facts:
    """All that the report shows."""

    headline: Headline
    bands: tuple[Group, ...]
    tiers: tuple[Group, ...]
    stages: tuple[Group, ...]
    histogram: tuple[int, ...]
    concentration: tuple[float, ...]
    tier_by_band: tuple[tuple[float, ...], ...]
    matrix: tuple[tuple[Group, ...], ...]
    weeks: tuple[tuple[date, int], ...]
    later: int
    plan: Plan
    reach: Reach
    call_first: pd.DataFrame
    passed_over: int
    portfolio: Total | None
    tier_totals: tuple[Total, ...]


def collect(scored: ScoreSet) -> Facts:
    """Compute the report's numbers."""
    scores = scored.scores
    call_first, passed_over = _call_first(scores)
    weeks, later = _weeks(scores, scored.manifest.as_of.date())
    return Facts(
        headline=_headline(scores),
        bands=tuple(_groups(scores, "churn_band")),
        tiers=tuple(_groups(scores, "value_tier")),
        stages=tuple(_groups(scores, "lifecycle_stage")),
        histogram=_histogram(scores["churn_probability"]),
        concentration=_concentration(scores["clv"]),
        tier_by_band=_tier_by_band(scores),
        matrix=_matrix(scores),
        weeks=weeks,
        later=later,
        plan=_plan(scores),
        reach=_reach(scores),
        call_first=call_first,
        passed_over=passed_over,
        portfolio=next((total for total in scored.manifest.totals if total.grouping == PORTFOLIO), None),
        tier_totals=tuple(total for total in scored.manifest.totals if total.grouping == "value_tier"),
    )


def _headline(scores: pd.DataFrame) -> Headline:
    churn = scores["churn_probability"].to_numpy()
    leavers, spread = churn.sum(), Z_90 * np.sqrt((churn * (1 - churn)).sum())
    return Headline(
        customers=len(scores),
        leavers=float(leavers),
        leavers_low=float(max(leavers - spread, 0)),
        leavers_high=float(min(leavers + spread, len(scores))),
        likely_leavers=int((churn >= 0.5).sum()),
        money_at_risk=float(scores["money_at_risk"].sum()),
        money_still_here=float(scores.loc[scores["lifecycle_stage"] != "churned", "money_at_risk"].sum()),
        value=float(scores["clv"].sum()),
        expected_orders=float(scores["expected_orders"].sum()),
        expected_spend=float(scores["expected_spend"].sum()),
        best_tenth_share=_tenth_share(scores["clv"]),
        riskiest_tenth_share=_tenth_share(scores["money_at_risk"]),
    )


def _tenth_share(values: pd.Series) -> float:
    total = values.sum()
    return float(values.nlargest(max(len(values) // 10, 1)).sum() / total) if total > 0 else 0.0


def _groups(scores: pd.DataFrame, column: str) -> Iterator[Group]:
    for code in CODE_LISTS[column]:
        yield _group(code.code, scores[scores[column] == code.code], scores)


def _group(code: str, members: pd.DataFrame, scores: pd.DataFrame) -> Group:
    total = scores["clv"].sum()
    return Group(
        code=code,
        customers=len(members),
        share=len(members) / len(scores),
        value=float(members["clv"].sum()),
        value_share=float(members["clv"].sum() / total) if total > 0 else 0.0,
        money_at_risk=float(members["money_at_risk"].sum()),
        mean_churn=float(members["churn_probability"].mean()) if len(members) else 0.0,
    )


def _histogram(churn: pd.Series) -> tuple[int, ...]:
    counts, _ = np.histogram(churn, bins=HISTOGRAM_BINS, range=(0.0, 1.0))
    return tuple(int(count) for count in counts)


def _concentration(clv: pd.Series) -> tuple[float, ...]:
    """Share of value held by the best 0, 5, … 100 % of customers."""
    running = np.concatenate([[0.0], np.cumsum(np.sort(clv.fillna(0).to_numpy())[::-1])])
    if running[-1] <= 0:
        return ()
    at = np.linspace(0, len(clv), 21)
    return tuple(float(share) for share in np.interp(at, np.arange(len(clv) + 1), running / running[-1]))


def _tier_by_band(scores: pd.DataFrame) -> tuple[tuple[float, ...], ...]:
    """Money at risk by value tier (rows) and churn band (columns)."""
    tiers, bands = [code.code for code in CODE_LISTS["value_tier"]], list(CHURN_BANDS)
    table = scores.pivot_table(
        index="value_tier", columns="churn_band", values="money_at_risk", aggfunc="sum", fill_value=0.0
    )
    table = table.reindex(index=tiers, columns=bands, fill_value=0.0)
    return tuple(tuple(float(cell) for cell in row) for row in table.to_numpy())


def _matrix(scores: pd.DataFrame) -> tuple[tuple[Group, ...], ...]:
    """Return customers by contact tier (rows) and potential (columns)."""
    return tuple(
        tuple(
            _group(
                f"{tier.code}/{potential.code}",
                scores[(scores["contact_tier"] == tier.code) & (scores["potential"] == potential.code)],
                scores,
            )
            for potential in CODE_LISTS["potential"]
        )
        for tier in CODE_LISTS["contact_tier"]
    )


def _weeks(scores: pd.DataFrame, first: date) -> tuple[tuple[tuple[date, int], ...], int]:
    """Return customers whose next order is expected in each coming week, and those expected later."""
    due = scores["next_order_expected_on"].dropna()
    week = np.array([max((day - first).days, 0) // 7 for day in due], dtype=np.int64)
    counts = np.bincount(week[week < WEEKS_AHEAD], minlength=WEEKS_AHEAD)
    starts = [first + timedelta(weeks=number) for number in range(WEEKS_AHEAD)]
    return tuple(zip(starts, counts.tolist(), strict=True)), int((week >= WEEKS_AHEAD).sum())


def _plan(scores: pd.DataFrame) -> Plan:
    moved = scores[scores["action_id"] != DO_NOTHING]
    actions = [_action(str(code), members) for code, members in moved.groupby("action_id")]
    actions.sort(key=lambda action: (-action.value, action.code))
    rules = scores["suppressed_by"].dropna().str.split(";").explode().value_counts()
    return Plan(
        actions=tuple(actions),
        acted_on=len(moved),
        value=float(moved["expected_incremental_value"].sum()),
        unmoved=len(scores) - len(moved),
        human_tasks=int(scores["human_task"].sum()),
        suppressed=_counted(rules),
    )


def _action(code: str, members: pd.DataFrame) -> Action:
    return Action(
        code=code,
        customers=len(members),
        value=float(members["expected_incremental_value"].sum()),
        money_at_risk=float(members["money_at_risk"].sum()),
        channels=_counted(members["action_channel"].dropna().value_counts()),
        evidence=tuple(sorted(members["evidence"].dropna().unique())),
        human_tasks=int(members["human_task"].sum()),
    )


def _reach(scores: pd.DataFrame) -> Reach:
    consents = scores["consented_channels"].fillna("")
    channels = consents[consents != ""].str.split(";").explode().value_counts()
    return Reach(
        contactable=int(contactable(scores).sum()),
        without_consent=int((consents == "").sum()),
        control_group=int(scores["control_group"].sum()),
        by_channel=_counted(channels),
    )


def _call_first(scores: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return whom to contact first, and how many with as much at risk are left out because they must not be."""
    ranked = scores[early_warning(scores)].sort_values(["money_at_risk", "customer_id"], ascending=[False, True])
    may = contactable(ranked)
    chosen = ranked[may].head(CALL_FIRST)
    least = chosen["money_at_risk"].min() if len(chosen) else 0.0
    return chosen, int((~may & (ranked["money_at_risk"] >= least)).sum())


def _counted(counts: "pd.Series[int]") -> tuple[tuple[str, int], ...]:
    pairs = [(str(name), int(count)) for name, count in counts.items()]
    return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
