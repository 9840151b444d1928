"""Do 90 % intervals hold? ``python -m benchmarks.coverage NAME HORIZON_DAYS ORIGINS``, JSON lines.

NAME is complete-journey, cdnow, online-retail or grocery. At every rolling origin the value engine and the churn model
learn from what was known, and are judged on what followed: the share of customers whose orders and whose spend lay
between the 5th and 95th percentile (``plain``: bounds included, so more than 0.90 for counts; ``shared``: a step of the
distribution that crosses a bound counts in part, as in the randomised probability integral transform, so 0.90 is
right), ten shares of that transform (0.1 each is right), and whether the totals of all customers lay in their interval.
The last line sums up, with 95 % intervals over origins, and holds the totals against naive rules: what came in the
window before, what customers known at its start bought in it, and (seasonal) the window before times what the same
weeks a year before were to the weeks before them, where the log has that year. The naive interval is the narrowest
constant one, in logs, of the best of these rules that would have held at as many origins as ours did. Rule and width
are chosen in hindsight, ours are not, so ``ratio`` favours the naive; ``ratio_both_in_hindsight`` stretches ours to
just hold as well.
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
from scipy import stats

from benchmarks.ablation_sets import DATA, ONLINE_RETAIL
from features.engine import fetch
from features.occasions import view
from features.records import Records
from features.snapshot import build_snapshot
from features.sources import read_records
from models.clv import ClvModel
from models.outlook import TAILS
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


@dataclass(frozen=True)
class Judged:
    """One origin: what is printed of it, the drawn ranks of orders and spend (n_customers,), and the totals.

    ``naive`` are totals of orders by rule.
    """

    origin: str
    figures: dict[str, object]
    inside: tuple[Floats, Floats]
    ranks: tuple[Floats, Floats]
    orders: Total
    spend: Total
    naive: dict[str, float]


def main() -> None:
    """Print every origin, then all together."""
    name, days, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    command = f"python -m benchmarks.coverage {name} {days} {count}"
    told = {"records": name, "horizon_days": days, "seed": SEED, "command": command}
    with tempfile.TemporaryDirectory() as folder:
        judged = []
        for one in _judged(_records(name, Path(folder)), days, count):
            judged.append(one)
            _say(told | {"origin": one.origin} | one.figures)
    _say(told | {"origin": "all", "origins": len(judged)} | _pooled(judged))


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


def _judged(records: Records, days: int, count: int) -> Iterator[Judged]:
    fits = plan_backtest(records, records.as_of(), days, count)
    moments = {moment for fit in fits for moment in (*fit.cutoffs, fit.closed_until)}
    snapshot = build_snapshot(records, sorted(moments, key=lambda moment: moment.instant))
    log = fetch(view(records, records.as_of()).occasions.group_by("day").agg(n=lambda table: table.count()))
    daily = pd.Series(log["n"].to_numpy(), index=pd.DatetimeIndex(pd.to_datetime(log["day"]))).sort_index()
    for fit in fits:
        learned = with_labels(snapshot, records, fit.cutoffs, fit.window_days, fit.closed_until)
        came = with_labels(snapshot, records, [fit.closed_until], days, records.as_of())
        known = rows_at(learned, [fit.calibration])["actual_orders"].sum() * days / fit.window_days
        naive = {"known": float(known), **_naive(daily, pd.Timestamp(fit.closed_until.day), days)}
        yield _one(fit, came, *_fitted(fit, learned, came, days), days, naive)


def _one(fit: Fit, came: pd.DataFrame, model: ClvModel, churn: Floats, days: int, naive: dict[str, float]) -> Judged:
    orders, spend = (came[f"actual_{amount}"].to_numpy(dtype=np.float64) for amount in ("orders", "spend"))
    outlook, spread = model.outlook(came, horizon_days=days, churn_probability=churn), model.spread_.over(days)
    sums = model.predict_totals(came, horizon_days=days, churn_probability=churn).iloc[0]
    totals = [
        Total(float(amount.sum()), sums[f"{name}_low"], sums[f"{name}_high"])
        for name, amount in (("orders", orders), ("spend", spend))
    ]
    order_ends = spread.order_probability(outlook, orders - 1), spread.order_probability(outlook, orders)
    paid = np.where(spend > 0, spend, -1.0)
    spend_ends = spread.value_probability(outlook, paid), spread.value_probability(outlook, np.maximum(spend, 0.0))
    inside, ranks = (_inside(*order_ends), _inside(*spend_ends)), (_drawn(*order_ends), _drawn(*spend_ends))
    classes = np.minimum(came["frequency"].to_numpy(dtype=np.int64), 8)
    figures = {
        "customers": len(came),
        **_shares("orders", orders, spread.order_range(outlook), inside[0], ranks[0]),
        **_shares("spend", spend, spread.value_range(outlook), inside[1], ranks[1]),
        "orders_by_frequency": {
            label: _rounded(inside[0][classes == number].mean())
            for number, label in ((0, "0"), (1, "1"), (3, "3"), (8, "8 and more"))
            if (classes == number).any()
        },
        **{
            f"total_{name}": [*map(_rounded, (total.low, sums[name], total.high, total.came)), total.holds]
            for name, total in zip(("orders", "spend"), totals, strict=True)
        },
        "naive_orders": {rule: _rounded(total) for rule, total in naive.items()},
        "family": model.purchases_.family,
        "windows": len(model.spread_.order_errors),
        "season_seen": model.spread_.season_seen,
    }
    return Judged(str(fit.closed_until.day), figures, inside, ranks, totals[0], totals[1], naive)


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


def _drawn(below: Floats, upto: Floats) -> Floats:
    """Return a rank of each outcome, drawn from those that its step takes up, (n,)."""
    rng = np.random.default_rng(SEED)
    return np.asarray(below + rng.random(len(below)) * (upto - below))


def _shares(name: str, came: Floats, ends: tuple[Floats, Floats], inside: Floats, ranks: Floats) -> dict[str, object]:
    return {
        f"{name}_plain": _rounded(((came >= ends[0]) & (came <= ends[1])).mean()),
        f"{name}_shared": _around(inside),
        f"{name}_below": _rounded((ranks < TAILS[0]).mean()),
        f"{name}_above": _rounded((ranks > TAILS[1]).mean()),
        f"{name}_pit": _tenths(ranks),
    }


def _tenths(ranks: Floats) -> list[float]:
    return [_rounded(share) for share in np.histogram(ranks, 10, (0, 1))[0] / len(ranks)]


def _around(values: Floats) -> list[float]:
    """Return the mean with its 95 % interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return [_rounded(values.mean() + step) for step in (0.0, -half, half)]


def _naive(daily: "pd.Series[int]", day: pd.Timestamp, days: int) -> dict[str, float]:
    """Return the totals of orders that need no model."""
    window, year = pd.Timedelta(days=days), day - pd.Timedelta(days=364)
    before, seen = _sum(daily, day - window, day), year - window >= daily.index[0]
    season = _sum(daily, year, year + window) / _sum(daily, year - window, year) if seen else 1.0
    return {"before": before, "seasonal": before * season}


def _sum(daily: "pd.Series[int]", start: pd.Timestamp, end: pd.Timestamp) -> float:
    return float(max(daily[(daily.index >= start) & (daily.index < end)].sum(), 1))


def _pooled(judged: list[Judged]) -> dict[str, object]:
    told: dict[str, object] = {}
    for at, name in enumerate(("orders", "spend")):
        told[f"{name}_shared"] = _around(np.array([one.inside[at].mean() for one in judged]))
        told[f"{name}_pit"] = _tenths(np.concatenate([one.ranks[at] for one in judged]))
    spend = [one.spend for one in judged]
    paid = {
        "held": sum(total.holds for total in spend),
        "width": _rounded(float(np.mean([total.width for total in spend]))),
    }
    return told | {"total_orders": _compared(judged), "total_spend": paid}


def _compared(judged: list[Judged]) -> dict[str, object]:
    ours = [one.orders for one in judged]
    held, width = sum(total.holds for total in ours), float(np.mean([total.width for total in ours]))
    last = max(held, 1) - 1
    naive = {
        rule: 2 * sorted(abs(float(np.log(one.orders.came / one.naive[rule]))) for one in judged)[last]
        for rule in judged[0].naive
    }
    narrowest = min(naive.values())
    return {
        "held": held,
        "width": _rounded(width),
        "naive_width": {rule: _rounded(needed) for rule, needed in naive.items()},
        "ratio": _rounded(width / narrowest),
        "ratio_both_in_hindsight": _rounded(width * sorted(total.strain for total in ours)[last] / narrowest),
    }


def _rounded(number: float) -> float:
    return round(float(number), 4)


if __name__ == "__main__":
    main()
