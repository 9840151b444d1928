"""The records that features prove themselves on, at inner rolling origins, and how a gain is told from noise.

Every label window closes before the final hold-out begins, so nothing decided here is judged by it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.company import generate
from features.engine import fetch
from features.records import AsOf, Records
from features.sources import read_records, records_from_frames
from perennial.shipped import unpack
from training.dataset import gather
from training.metrics import Floats

NORMAL_99 = 2.576
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ONLINE_RETAIL = """
currency = "GBP"
timezone = "Europe/London"
[orders]
path = "{path}"
order_id = "InvoiceNo"
customer_id = "CustomerID"
ordered_at = "InvoiceDate"
quantity = "Quantity"
unit_price = "UnitPrice"
product_id = "StockCode"
cancelled_prefix = "C"
"""
GROCERY = """
currency = "EUR"
timezone = "UTC"
[orders]
path = "{path}"
customer_id = "cust"
ordered_at = "date"
amount = {{ constant = "1" }}
"""


@dataclass(frozen=True)
class Origin:
    """Rows to learn from, to calibrate on and to judge on, each later than the one before."""

    learn: pd.DataFrame
    calibrate: pd.DataFrame
    judge: pd.DataFrame


@dataclass(frozen=True)
class Subject:
    """A set of records with its horizon; ``origins`` are as many as its history has room for, three at most.

    Of large sets every ``one_in``-th customer is taken: features are local to a customer, so the rest is not missed.
    """

    read: Callable[[Path], Records]
    horizon_days: int
    origins: int
    one_in: int = 1


def _shipped(name: Any) -> Callable[[Path], Records]:
    return lambda folder: read_records(unpack(name, folder))


def _online_retail(folder: Path) -> Records:
    source = folder / "source.toml"
    source.write_text(ONLINE_RETAIL.format(path=DATA / "online_retail_2010_2011.parquet"), encoding="utf-8")
    return read_records(source)


def _grocery(folder: Path) -> Records:
    source = folder / "source.toml"
    source.write_text(GROCERY.format(path=DATA / "grocery_elog.csv.gz"), encoding="utf-8")
    return read_records(source)


def _company(customers: int, days: int) -> Callable[[Path], Records]:
    return lambda _folder: records_from_frames(
        generate(customers, days=days).tables, currency="EUR", consent_default="allow"
    )


SUBJECTS = {
    "complete-journey": Subject(_shipped("complete-journey"), 28, 3),
    # 90 days need 360 before the hold-out, and this log has 283
    "online-retail": Subject(_online_retail, 60, 2),
    "cdnow": Subject(_shipped("cdnow"), 90, 2, one_in=3),
    "grocery": Subject(_grocery, 90, 2),
    "company": Subject(_company(6_000, 720), 60, 2),
    # what compares with a year before needs a log of three, and what is rare needs many customers
    "company-three-years": Subject(_company(20_000, 1_095), 90, 2),
}


def origins(records: Records, subject: Subject) -> tuple[Origin, ...]:
    """Return the inner origins, the latest first; the first one's window closes where the final hold-out begins."""
    end: AsOf = records.as_of()
    found = []
    for back in range(1, subject.origins + 1):
        as_of = end.earlier(subject.horizon_days * back, records.timezone)
        data = gather(records, as_of, subject.horizon_days, needs_labels=True)
        assert data.plan is not None
        rows = (*data.learned(data.plan.judged), data.heldout)
        days = (data.plan.judged.window_days, data.plan.judged.window_days, subject.horizon_days)
        parts = (_thinned(part, subject.one_in) for part in rows)
        found.append(
            Origin(*(_with_responses(part, records, within) for part, within in zip(parts, days, strict=True)))
        )
    return tuple(found)


def _with_responses(rows: pd.DataFrame, records: Records, days: int) -> pd.DataFrame:
    """Return the rows with ``responded``: whether the customer redeemed an offer within so many days."""
    outcomes = fetch(records.tables["outcomes"].filter(lambda table: table.kind == "redeemed"))
    asked = rows[["customer_id", "as_of"]].reset_index()
    told = asked.merge(outcomes[["customer_id", "occurred_at"]], on="customer_id")
    waited = told["occurred_at"].dt.tz_localize("UTC") - told["as_of"]
    within = told[(waited >= pd.Timedelta(0)) & (waited < pd.Timedelta(days=days))]
    responded = pd.Series(rows.index.isin(within["index"]).astype(np.float64), rows.index, name="responded")
    return pd.concat([rows, responded], axis=1)


def _thinned(rows: pd.DataFrame, one_in: int) -> pd.DataFrame:
    chosen = pd.util.hash_array(rows["customer_id"].to_numpy(dtype=object)) % one_in == 0
    kept: pd.DataFrame = rows[chosen]
    return kept.reset_index(drop=True)


def figure(gains: Floats, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the mean gain over all rows with its interval; useful when that lies above 0."""
    value, error = _clustered_mean(gains, pd.factorize(rows["customer_id"])[0])
    low, high = value - NORMAL_99 * error, value + NORMAL_99 * error
    return {"gain": [round(number, 6) for number in (value, low, high)], "useful": bool(low > 0)}


def _clustered_mean(values: Floats, codes: np.ndarray) -> tuple[float, float]:
    """Return the mean and its standard error when rows of one customer belong together."""
    mean = float(values.mean())
    sums = np.bincount(codes, weights=values - mean)
    return mean, float(np.sqrt((sums**2).sum()) / len(values))
