"""Published data, the oracle, and customers whose truth is known."""

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest


def lifetimes_data(name: str) -> Path:
    spec = importlib.util.find_spec("lifetimes")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "datasets" / name


@pytest.fixture(scope="session")
def cdnow() -> pd.DataFrame:
    """CDNOW's 1/10 sample over 39 weeks, in weeks."""
    names = {"x": "frequency", "t_x": "recency", "zbar": "monetary_value"}
    return pd.read_csv(lifetimes_data("cdnow_customers_summary_with_transactions.csv")).rename(columns=names)


@pytest.fixture(scope="session")
def cdnow_purchases() -> pd.DataFrame:
    """CDNOW's 1/10 sample over 78 weeks: one row per customer and day with a purchase."""
    names = ["master_id", "customer_id", "day", "units", "value"]
    rows = pd.read_csv(lifetimes_data("CDNOW_sample.txt"), sep=r"\s+", header=None, names=names, dtype={"day": str})
    return rows.assign(day=pd.to_datetime(rows["day"], format="%Y%m%d")).drop_duplicates(["customer_id", "day"])


@pytest.fixture(scope="session")
def oracle() -> ModuleType:
    """Return lifetimes, which warns when imported under pandas 3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lifetimes
    return lifetimes


def simulate(params: dict[str, float], *, chance_at_birth: bool, n: int, horizon: float, seed: int) -> pd.DataFrame:
    """Live customers from birth to ``T + horizon``: the summary at T, and what came after it."""
    rng = np.random.default_rng(seed)
    age = np.floor(rng.uniform(10, 400, n))
    speed = rng.gamma(params["r"], 1 / params["alpha"], n)
    leave = rng.beta(params["a"], params["b"], n)
    now, x, recency, future = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    wait = np.full(n, np.inf)
    alive = rng.random(n) > leave if chance_at_birth else np.ones(n, dtype=bool)
    alive_at_age = alive.copy()
    who = np.flatnonzero(alive)
    while len(who):
        now[who] += rng.exponential(1 / np.maximum(speed[who], 1e-12))
        who = who[now[who] <= age[who] + horizon]
        before = now[who] <= age[who]
        past, later = who[before], who[~before]
        x[past] += 1
        recency[past] = now[past]
        future[later] += 1
        wait[later] = np.minimum(wait[later], now[later] - age[later])
        leaves = rng.random(len(who)) < leave[who]
        alive_at_age[who[leaves & before]] = False
        who = who[~leaves]
    return pd.DataFrame(
        {"frequency": x, "recency": recency, "T": age, "future": future, "wait": wait, "alive": alive_at_age}
    )


@pytest.fixture(scope="session")
def simulated():
    return simulate
