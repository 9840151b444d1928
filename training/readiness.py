"""What a training would have to learn from, and the grades it would get, before anything is fitted."""

import math
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd

from features.engine import fetch
from features.occasions import view
from features.records import AsOf, Records
from models.sufficiency import Sufficiency, churn_sufficiency, enough_for_trees, value_sufficiency
from training.dataset import days_for_a_fit, days_needed, first_day, plan_origins
from training.labels import label

SHORTER_HORIZONS_DAYS = (60, 28, 14, 7)


@dataclass(frozen=True, slots=True)
class Readiness:
    """The grades of churn at ``horizon_days`` and of customer value.

    ``better_horizon_days`` is the longest of a few shorter horizons at which churn would get a better grade, None
    where there is none; ``better_grade`` is that grade.
    """

    horizon_days: int
    first_day: date
    churn: Sufficiency
    value: Sufficiency
    better_horizon_days: int | None
    better_grade: str | None

    def reached_on(self, history_days: float) -> date:
        """Return the day on which the log will be so many days long, if it goes on."""
        return self.first_day + timedelta(days=math.ceil(history_days) - 1)


def readiness(records: Records, as_of: AsOf, horizon_days: int) -> Readiness:
    """Count what `train` would learn from at ``as_of`` and grade it; the records must hold a usable order."""
    first = first_day(records)
    history = (as_of.day - first).days
    churn = _churn(records, as_of, horizon_days, history)
    better_days, better = None, None
    for days in (days for days in SHORTER_HORIZONS_DAYS if days < horizon_days and churn.grade in ("C", "D")):
        shorter = _churn(records, as_of, days, history)
        if shorter.grade < churn.grade:
            better_days, better = days, shorter.grade
            break
    return Readiness(
        horizon_days, first, churn, value_readiness(records, as_of, horizon_days, history), better_days, better
    )


def _churn(records: Records, as_of: AsOf, horizon_days: int, history_days: int) -> Sufficiency:
    least = days_needed(horizon_days, "needed")
    facts: dict[str, float] = {"history_days": history_days}
    if history_days >= least:
        facts |= churn_facts(records, as_of, horizon_days)
    return churn_sufficiency(facts, horizon_days, least, days_for_a_fit(horizon_days))


def churn_facts(records: Records, as_of: AsOf, horizon_days: int) -> dict[str, float]:
    """Count customers and outcomes at the cutoffs that churn's final fit would learn from."""
    fit = plan_origins(records, as_of, horizon_days).final
    rows = pd.concat([label(records, cutoff, fit.window_days, as_of) for cutoff in fit.training])
    customers, churned = rows["customer_id"].nunique(), int(rows["churned"].sum())
    rarer = min(churned, len(rows) - churned)
    return {"customers": customers, "rarer_labels": rarer, "boosted": enough_for_trees(customers, rarer)}


def value_readiness(records: Records, as_of: AsOf, horizon_days: int, history_days: int) -> Sufficiency:
    """Grade what customer value would learn from."""
    facts = {"repeat_buyers": repeat_buyers(records, as_of), "history_days": history_days}
    return value_sufficiency(facts, days_needed(horizon_days, "ignored"))


def repeat_buyers(records: Records, as_of: AsOf) -> int:
    """Return how many customers bought on two days or more, and kept something that cost money after the first."""
    log = view(records, as_of)
    occasions, orders = log.occasions, log.orders
    bought = occasions.group_by("customer_id").aggregate(
        days=occasions.count(), gross=occasions.gross.sum(), first=occasions.gross.argmin(occasions.day)
    )
    returned = orders.group_by("customer_id").aggregate(returned=orders.returned.sum())
    both = bought.join(returned, "customer_id")
    valued = both.filter(both.days > 1, both.gross > both["first"], both.returned < both.gross)
    return int(fetch(valued.aggregate(count=valued.count()))["count"][0])
