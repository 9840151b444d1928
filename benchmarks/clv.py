"""Speed of the purchase, spend and value models beside lifetimes: ``python -m benchmarks.clv [customers]``.

One JSON line per figure. The base is three years of simulated customers (MBG/NBD, Gamma-Gamma), whole days.
"""

import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import pandas as pd

from models.clv import ClvModel
from models.purchases import BetaGeoModel
from models.spend import GammaGammaModel

SEED = 7
HORIZON_DAYS = 90.0


def simulate(n: int) -> pd.DataFrame:
    """Draw customers aged 1 to 1,095 days and the history each would have."""
    rng = np.random.default_rng(SEED)
    speed, leave = rng.gamma(0.55, 1 / 45, n), rng.beta(0.9, 1.6, n)
    age = np.floor(rng.uniform(1, 1096, n))
    now, x, recency = np.zeros(n), np.zeros(n), np.zeros(n)
    who = np.flatnonzero(rng.random(n) > leave)
    while len(who):
        now[who] += rng.exponential(1 / np.maximum(speed[who], 1e-9))
        who = who[now[who] <= age[who]]
        x[who] += 1
        recency[who] = np.ceil(now[who])
        who = who[rng.random(len(who)) > leave[who]]
    spend = rng.gamma(np.maximum(6.25 * x, 1e-9)) / np.maximum(x, 1) / rng.gamma(3.7, 1 / 15, n)
    value = np.where(x > 0, spend, np.nan)
    return pd.DataFrame({"frequency": x, "recency": np.minimum(recency, age), "T": age, "monetary_value": value})


def ours(base: pd.DataFrame) -> None:
    """Fit BG/NBD with standard errors and score, in this project."""
    model = BetaGeoModel().fit(base)
    model.predict_alive(base)
    model.predict_purchases(base, horizon_days=HORIZON_DAYS)


def theirs(base: pd.DataFrame) -> None:
    """Fit BG/NBD and score, in lifetimes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifetimes import BetaGeoFitter

        columns = (base["frequency"], base["recency"], base["T"])
        model = BetaGeoFitter().fit(*columns)
        model.conditional_probability_alive(*columns)
        model.conditional_expected_number_of_purchases_up_to_time(HORIZON_DAYS, *columns)


def seconds(work: Callable[[], object]) -> float:
    """Return the shortest of three runs: the others waited for somebody else."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def report(what: str, value: float, unit: str, n: int) -> None:
    """Print one figure with what is needed to get it again."""
    figure = {
        "what": what,
        "value": round(value, 4),
        "unit": unit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("numpy", "scipy", "pandas", "lifetimes")},
        "seed": SEED,
        "command": f"python -m benchmarks.clv {n}",
    }
    sys.stdout.write(json.dumps(figure) + "\n")


def main() -> None:
    """Measure on the number of customers given, 100,000 unless given."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    base = simulate(n)
    theirs(base.head(1000))  # imports are not what is measured
    own, other = seconds(lambda: ours(base)), seconds(lambda: theirs(base))
    report("BG/NBD fit, standard errors, P(alive), E[purchases]", own, "s", n)
    report("the same in lifetimes, without standard errors", other, "s", n)
    report("lifetimes over ours", other / own, "ratio", n)
    report("Gamma-Gamma fit", seconds(lambda: GammaGammaModel().fit(base)), "s", n)
    model = ClvModel().fit(base)
    start = time.perf_counter()
    model.predict(base, horizon_days=HORIZON_DAYS)
    report("value with intervals, 512 futures a customer", time.perf_counter() - start, "s", n)


if __name__ == "__main__":
    main()
