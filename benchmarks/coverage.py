"""Do 90 % intervals hold? ``python -m benchmarks.coverage NAME HORIZON_DAYS ORIGINS``, JSON lines.

NAME is complete-journey, cdnow, online-retail or grocery. At every rolling origin the value engine and the churn model
learn from what was known, and are judged on what followed: the share of customers whose orders and whose spend lay
between the 5th and 95th percentile (``plain``: bounds included, so more than 0.90 for counts; ``shared``: a step of the
distribution that crosses a bound counts in part, as in the randomised probability integral transform, so 0.90 is
right), ten shares of that transform (0.1 each is right), and whether the totals of all customers lay in their interval.
The naive total is that of the window before, with an interval learned from its own errors in the same closed windows
(the window of a year before, where a log has it, is off by 40 to 90 %: cohorts age). The last line sums up;
``naive_width_holding_as_often`` is the mean width of the naive intervals stretched until as many hold as ours.
Grocery has no amounts: they are drawn, and only its orders tell anything.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.ablation_sets import DATA, ONLINE_RETAIL
from features.engine import fetch
from features.occasions import view
from features.records import Records
from features.snapshot import build_snapshot
from features.sources import read_records
from models.clv import ClvModel
from models.outlook import TAILS, Common
from perennial.settings import settings
from perennial.shipped import unpack
from training.backtest import plan_backtest
from training.churn_recipe import fit_churn
from training.dataset import Fit, rows_at, with_labels
from training.metrics import Floats
from training.value_fit import fit_value

GROCERY = """
currency = "EUR"
timezone = "UTC"
[orders]
path = "orders.csv"
customer_id = "cust"
ordered_at = "date"
amount = "amount"
"""
SEED = 7


@dataclass(frozen=True)
class Total:
    """A total that was forecast: its interval, and what came."""

    came: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether what came lay in the interval."""
        return bool(self.low <= self.came <= self.high)

    @property
    def width(self) -> float:
        """Width in logs: 0.2 is about 10 % either way."""
        return float(np.log(self.high / self.low))

    @property
    def strain(self) -> float:
        """By how much the interval would have to be stretched to just hold."""
        return float(2 * abs(np.log(self.came / np.sqrt(self.low * self.high))) / self.width)


def main() -> None:
    """Print every origin, then all together."""
    name, days, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    command = f"python -m benchmarks.coverage {name} {days} {count}"
    told = {"records": name, "horizon_days": days, "seed": SEED, "command": command}
    with tempfile.TemporaryDirectory() as folder:
        records = _records(name, Path(folder))
        ours, naive, shares = [], [], []
        for origin, figures, total, rule in _judged(records, days, count):
            ours.append(total)
            naive.append(rule)
            shares.append([figures["orders_shared"], figures["spend_shared"]])
            _say(told | {"origin": origin} | figures)
    orders, spend = np.array(shares, dtype=np.float64).mean(axis=0)
    both = {"orders_shared": _rounded(orders), "spend_shared": _rounded(spend)}
    _say(told | {"origin": "all", "origins": len(ours)} | both | {"totals": _compared(ours, naive)})


def _say(figures: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def _records(name: str, folder: Path) -> Records:
    source = folder / "source.toml"
    if name in ("complete-journey", "cdnow"):
        return read_records(unpack(name, folder))  # type: ignore[arg-type]
    if name == "online-retail":
        source.write_text(ONLINE_RETAIL.format(path=DATA / "online_retail_2010_2011.parquet"), encoding="utf-8")
        return read_records(source)
    lines = pd.read_csv(DATA / "grocery_elog.csv.gz")
    rng = np.random.default_rng(SEED)
    levels = pd.Series(rng.gamma(5, 1, lines["cust"].nunique()), index=sorted(lines["cust"].unique()))
    amounts = (lines["cust"].map(levels) * rng.gamma(4, 1, len(lines))).clip(lower=0.01).round(2)
    lines.assign(amount=amounts).to_csv(folder / "orders.csv", index=False)
    source.write_text(GROCERY, encoding="utf-8")
    return read_records(source)


def _judged(records: Records, days: int, count: int) -> Iterator[tuple[str, dict[str, object], Total, Total]]:
    fits = plan_backtest(records, records.as_of(), days, count)
    moments = {moment for fit in fits for moment in (*fit.cutoffs, fit.closed_until)}
    snapshot = build_snapshot(records, sorted(moments, key=lambda moment: moment.instant))
    log = fetch(view(records, records.as_of()).occasions.group_by("day").agg(n=lambda table: table.count()))
    daily = pd.Series(log["n"].to_numpy(), index=pd.DatetimeIndex(pd.to_datetime(log["day"]))).sort_index()
    for fit in fits:
        learned = with_labels(snapshot, records, fit.cutoffs, fit.window_days, fit.closed_until)
        came = with_labels(snapshot, records, [fit.closed_until], days, records.as_of())
        model, churn = _fitted(fit, learned, came, days)
        orders, spend = (came[f"actual_{amount}"].to_numpy(dtype=np.float64) for amount in ("orders", "spend"))
        outlook, spread = model.outlook(came, horizon_days=days, churn_probability=churn), model.spread_.over(days)
        sums = model.predict_totals(came, horizon_days=days, churn_probability=churn).iloc[0]
        ours = Total(float(orders.sum()), sums["orders_low"], sums["orders_high"])
        money = Total(float(spend.sum()), sums["spend_low"], sums["spend_high"])
        rule = _naive(daily, learned, fit, days, ours.came)
        order_ranks = spread.order_probability(outlook, orders - 1), spread.order_probability(outlook, orders)
        paid = np.where(spend > 0, spend, -1.0)
        spend_ranks = spread.value_probability(outlook, paid), spread.value_probability(outlook, np.maximum(spend, 0.0))
        classes = np.minimum(came["frequency"].to_numpy(dtype=np.int64), 8)
        figures = {
            "customers": len(came),
            **_shares("orders", orders, spread.order_range(outlook), order_ranks),
            **_shares("spend", spend, spread.value_range(outlook), spend_ranks),
            "orders_by_frequency": {
                label: _rounded(_inside(*(ends[classes == number] for ends in order_ranks)).mean())
                for number, label in ((0, "0"), (1, "1"), (3, "3"), (8, "8 and more"))
                if (classes == number).any()
            },
            "total_orders": [*map(_rounded, (ours.low, sums["orders"], ours.high, ours.came)), ours.holds],
            "total_spend": [*map(_rounded, (money.low, sums["spend"], money.high, money.came)), money.holds],
            "naive_orders": [*map(_rounded, (rule.low, rule.high)), rule.holds],
            "family": model.purchases_.family,
            "windows": len(model.spread_.order_errors),
        }
        yield str(fit.closed_until.day), figures, ours, rule


def _fitted(fit: Fit, learned: pd.DataFrame, today: pd.DataFrame, days: int) -> tuple[ClvModel, Floats]:
    """Return the value model, and today's churn probabilities as scores have them."""
    rows = rows_at(learned, fit.training), rows_at(learned, [fit.calibration])
    known = today.drop(columns=["churned", "actual_orders", "actual_spend"])
    churn = fit_churn(*rows, known, fit.window_days, days, settings()).predict_proba(known)
    return fit_value(learned, known, fit.window_days, settings(), 0.10), churn


def _inside(below: Floats, upto: Floats) -> Floats:
    """Return how much of each outcome's step lies between the 5th and the 95th percentile, (n,)."""
    low, high = TAILS
    step = np.maximum(upto - below, 1e-12)
    part = (np.minimum(upto, high) - np.maximum(below, low)) / step
    return np.where(upto > below, np.clip(part, 0, 1), ((below >= low) & (below <= high)).astype(np.float64))


def _shares(name: str, came: Floats, ends: tuple[Floats, Floats], ranks: tuple[Floats, Floats]) -> dict[str, object]:
    rng = np.random.default_rng(SEED)
    drawn = ranks[0] + rng.random(len(came)) * (ranks[1] - ranks[0])
    return {
        f"{name}_plain": _rounded(((came >= ends[0]) & (came <= ends[1])).mean()),
        f"{name}_shared": _rounded(_inside(*ranks).mean()),
        f"{name}_below": _rounded((drawn < TAILS[0]).mean()),
        f"{name}_above": _rounded((drawn > TAILS[1]).mean()),
        f"{name}_pit": [_rounded(share) for share in np.histogram(drawn, 10, (0, 1))[0] / len(came)],
    }


def _naive(daily: "pd.Series[int]", learned: pd.DataFrame, fit: Fit, days: int, came: float) -> Total:
    """Return the total of the window before with its interval."""
    errors = []
    for cutoff in fit.cutoffs:
        rows = rows_at(learned, [cutoff])
        followed = max(float(rows["actual_orders"].sum()), 1.0)
        errors.append(float(np.log(followed / _before(daily, pd.Timestamp(cutoff.day), fit.window_days))))
    common = Common.of(errors, max(1.0, days / fit.window_days))
    return Total(came, *common.range(_before(daily, pd.Timestamp(fit.closed_until.day), days), 0.0))


def _before(daily: "pd.Series[int]", cutoff: pd.Timestamp, days: int) -> float:
    start = cutoff - pd.Timedelta(days=days)
    return float(max(daily[(daily.index >= start) & (daily.index < cutoff)].sum(), 1))


def _compared(ours: list[Total], naive: list[Total]) -> dict[str, object]:
    held = sum(total.holds for total in ours)
    width, naive_width = (float(np.mean([total.width for total in some])) for some in (ours, naive))
    stretch = sorted(total.strain for total in naive)[held - 1] if held else float("nan")
    return {
        "held": held,
        "width": _rounded(width),
        "naive_held": sum(total.holds for total in naive),
        "naive_width": _rounded(naive_width),
        "naive_width_holding_as_often": _rounded(naive_width * stretch),
        "ratio": _rounded(width / (naive_width * stretch)),
    }


def _rounded(number: float) -> float:
    return round(float(number), 4)


if __name__ == "__main__":
    main()
