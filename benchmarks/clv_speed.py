"""Seconds and memory of one way to fit and score one base, in a process of its own: the base is in a Parquet file.

Run by `benchmarks.clv`: ``python -m benchmarks.clv_speed ours|spend|lifetimes FILE RUNS`` prints one JSON object.
"""

import json
import resource
import sys
import time
import warnings
from collections.abc import Callable

import pandas as pd

HORIZON_DAYS = 90.0


def ours(base: pd.DataFrame) -> None:
    """Fit BG/NBD with standard errors and score: P(alive), E[purchases], P(no purchase)."""
    from models.histories import PurchaseHistories
    from models.purchases import BetaGeoModel

    histories = PurchaseHistories(base)
    model = BetaGeoModel().fit(histories)
    model.predict_alive(histories)
    model.predict_purchases(histories, horizon_days=HORIZON_DAYS)
    model.predict_no_purchase(histories, horizon_days=HORIZON_DAYS)


def with_spend(base: pd.DataFrame) -> None:
    """Do the same, and fit Gamma-Gamma with standard errors and predict spend."""
    from models.spend import GammaGammaModel

    ours(base)
    GammaGammaModel().fit(base).predict_spend(base)


def in_lifetimes(base: pd.DataFrame) -> None:
    """Do the same in lifetimes, whose P(no purchase) is its probability of 0 purchases."""
    from lifetimes import BetaGeoFitter

    columns = (base["frequency"], base["recency"], base["T"])
    model = BetaGeoFitter().fit(*columns)
    model.conditional_probability_alive(*columns)
    model.conditional_expected_number_of_purchases_up_to_time(HORIZON_DAYS, *columns)


WAYS: dict[str, Callable[[pd.DataFrame], None]] = {"ours": ours, "spend": with_spend, "lifetimes": in_lifetimes}


def main() -> None:
    """Take the shortest of so many runs: the others waited for somebody else."""
    way, file, runs = sys.argv[1:]
    base = pd.read_parquet(file)
    seconds = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        WAYS[way](base.head(1000))  # imports are not what is measured
        for _ in range(int(runs)):
            start = time.perf_counter()
            WAYS[way](base)
            seconds.append(time.perf_counter() - start)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps({"seconds": min(seconds), "peak_gb": peak_kib * 1024 / 1e9}))


if __name__ == "__main__":
    main()
