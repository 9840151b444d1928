"""Customers whose histories are simulated, in whole days: one cohort, three years, and odd small samples."""

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]


def cohort(n: int, seed: int) -> pd.DataFrame:
    """Customers acquired within 84 days and followed for 39 weeks at most, as CDNOW's were; int16 columns."""
    rng = np.random.default_rng(seed)
    return _lived(np.floor(rng.uniform(190, 274, n)), rng)


def three_years(n: int, seed: int) -> pd.DataFrame:
    """Customers aged 1 to 1,095 days; int16 columns."""
    rng = np.random.default_rng(seed)
    return _lived(np.floor(rng.uniform(1, 1096, n)), rng)


def _lived(age: Floats, rng: np.random.Generator) -> pd.DataFrame:
    """Let customers live as MBG/NBD has it and spend as Gamma-Gamma has it."""
    n = len(age)
    speed, leave = rng.gamma(0.55, 1 / 45, n), rng.beta(0.9, 1.6, n)
    now, x, recency = np.zeros(n), np.zeros(n), np.zeros(n)
    who = np.flatnonzero(rng.random(n) > leave)
    while len(who):
        now[who] += rng.exponential(1 / np.maximum(speed[who], 1e-9))
        who = who[now[who] <= age[who]]
        x[who] += 1
        recency[who] = np.ceil(now[who])
        who = who[rng.random(len(who)) > leave[who]]
    spend = rng.gamma(np.maximum(6.25 * x, 1e-9)) / np.maximum(x, 1) / rng.gamma(3.7, 1 / 15, n)
    whole = {"frequency": x, "recency": np.minimum(recency, age), "T": age}
    columns = {name: values.astype(np.int16) for name, values in whole.items()}
    return pd.DataFrame({**columns, "monetary_value": np.where(x > 0, spend, np.nan)})


def odd_sample(seed: int) -> pd.DataFrame:
    """Return a small sample that random parameters, units and accidents have made odd."""
    rng = np.random.default_rng(seed)
    n = int(np.exp(rng.uniform(np.log(5), np.log(2000))))
    age = np.ceil(rng.uniform(1, np.exp(rng.uniform(1, 7)), n))
    x = np.minimum(rng.poisson(rng.gamma(np.exp(rng.normal(-0.5, 1)), np.exp(rng.normal(0.5, 1)), n)), 10_000)
    recency = np.where(x > 0, np.ceil(age * rng.beta(np.maximum(x, 1), np.exp(rng.normal(0, 1)), n)), 0.0)
    accident = rng.integers(8)
    if accident == 0:
        x[0], recency[0] = 10**6, age[0]
    elif accident == 1:
        recency = np.where(x > 0, age, 0.0)
    elif accident == 2:
        age[:] = age.max()
    elif accident == 3:
        x, recency = np.minimum(x, 1), np.where(x > 0, np.minimum(recency, 1.0), 0.0)
    elif accident == 4:
        x[:], recency[:], age[:] = x[0], recency[0], age[0]
    unit = [1.0, 24.0, 1 / 7, 1 / 365][rng.integers(4)]
    return pd.DataFrame({"frequency": x, "recency": np.minimum(recency, age) * unit, "T": age * unit}, dtype=float)


def _lifetimes_file(name: str) -> Path:
    spec = importlib.util.find_spec("lifetimes")
    if spec is None or spec.submodule_search_locations is None:
        raise FileNotFoundError("the package lifetimes, which brings CDNOW, is not installed")
    return Path(spec.submodule_search_locations[0]) / "datasets" / name


def cdnow_sample() -> pd.DataFrame:
    """CDNOW's 1/10 sample over 39 weeks, in weeks, as published."""
    names = {"x": "frequency", "t_x": "recency", "zbar": "monetary_value"}
    return pd.read_csv(_lifetimes_file("cdnow_customers_summary_with_transactions.csv")).rename(columns=names)


def cdnow_days(name: str, header: int | None) -> pd.DataFrame:
    """CDNOW's purchases, one row per customer and day, from the sample's or the whole cohort's file."""
    names = (
        ["customer_id", "day", "units", "value"] if header == 0 else ["old_id", "customer_id", "day", "units", "value"]
    )
    rows = pd.read_csv(_lifetimes_file(name), sep=r"\s+", header=header, names=names, dtype={"day": str})
    return rows.assign(day=pd.to_datetime(rows["day"], format="%Y%m%d")).drop_duplicates(["customer_id", "day"])


def cdnow_history(purchases: pd.DataFrame) -> pd.DataFrame:
    """Frequency, recency and T in days at 1997-09-30, and the purchases of the 39 weeks after it."""
    past = purchases[purchases["day"] < "1997-10-01"]
    days = past.groupby("customer_id")["day"].agg(["min", "max", "size"])
    later = purchases[purchases["day"] >= "1997-10-01"].groupby("customer_id").size()
    return pd.DataFrame(
        {
            "frequency": days["size"] - 1,
            "recency": (days["max"] - days["min"]).dt.days,
            "T": (pd.Timestamp("1997-09-30") - days["min"]).dt.days,
            "future": later.reindex(days.index).fillna(0.0),
        }
    )
