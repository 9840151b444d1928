"""The same rows whoever else is looked at, whenever, and whatever comes later: how many break that promise."""

import hashlib
from datetime import timedelta

import numpy as np
import pandas as pd

from benchmarks.features_alone import Alone, ByCustomer
from benchmarks.features_records import DAYS
from features.records import AsOf, Records
from features.snapshot import build_snapshot

KEYS = ("customer_id", "as_of")


def pairs(records: Records, count: int, seed: int) -> int:
    """Return how many random (customer, as_of) pairs, each from the customer's records alone, differ from the batch."""
    rng = np.random.default_rng(seed)
    batch = build_snapshot(records, _moments(records, rng, 20))
    keys, values = list(batch[list(KEYS)].itertuples(index=False, name=None)), _numbers(batch)
    alone, differing = ByCustomer(records), 0
    for place in rng.integers(len(batch), size=count).tolist():
        customer, as_of = keys[place]
        row = build_snapshot(alone.of(customer), AsOf.parse(as_of.to_pydatetime(), "UTC"))
        same_key = list(row[list(KEYS)].itertuples(index=False, name=None)) == [keys[place]]
        differing += not (same_key and np.array_equal(_numbers(row)[0], values[place], equal_nan=True))
    return differing


def many(records: Records, count: int, seed: int, cutoffs: int = 40) -> int:
    """Return how many pairs differ when random subsets of customers are built at many cutoffs together."""
    rng = np.random.default_rng(seed + 1)
    moments = _moments(records, rng, cutoffs)
    batch = build_snapshot(records, moments).set_index(["customer_id", "as_of"]).sort_index()
    customers = batch.index.get_level_values(0).unique()
    alone, seen, differing = Alone(records), 0, 0
    while seen < count:
        subset = rng.choice(customers, size=min(2_000, len(customers) // 2), replace=False)
        rows = build_snapshot(alone.of(list(subset)), moments).set_index(["customer_id", "as_of"])
        differing += 0 if _same(rows, batch.loc[rows.index]) else len(rows)
        seen += len(rows)
    return differing


def appends(records: Records, count: int, seed: int) -> int:
    """Return how many random appended or late lines change a byte of an earlier snapshot."""
    rng = np.random.default_rng(seed + 2)
    alone = Alone(records)
    customers = alone.customers()
    last = records.as_of()
    changed, batch = 0, 50
    for _ in range(max(1, count // batch)):
        subset = alone.of(list(rng.choice(customers, size=20, replace=False)))
        cutoff = last.earlier(int(rng.integers(30, DAYS - 60)), "UTC")
        before = _fingerprint(build_snapshot(subset, [cutoff.earlier(45, "UTC"), cutoff]))
        alone.append_after(cutoff, batch, rng)
        changed += batch * (before != _fingerprint(build_snapshot(subset, [cutoff.earlier(45, "UTC"), cutoff])))
    return changed


def _moments(records: Records, rng: np.random.Generator, count: int) -> list[AsOf]:
    last = records.as_of()
    seconds = rng.integers(0, (DAYS - 60) * 86_400, size=count)
    return [AsOf.parse(last.instant - timedelta(seconds=int(back)), "UTC") for back in seconds]


def _same(rows: pd.DataFrame, expected: pd.DataFrame) -> bool:
    return rows.index.equals(expected.index) and np.array_equal(rows.to_numpy(), expected.to_numpy(), equal_nan=True)


def _numbers(rows: pd.DataFrame) -> np.ndarray:
    return rows.drop(columns=list(KEYS)).to_numpy()


def _fingerprint(rows: pd.DataFrame) -> str:
    return hashlib.sha256(rows.to_parquet(index=False)).hexdigest()
