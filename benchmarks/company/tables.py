"""From numbers to the contract's tables, as Arrow: text is written once and pointed to."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.company.settings import FIRST_DAY, Flags, Floats, Ints

EPOCH_SECONDS = int(FIRST_DAY.timestamp())


def texts(codes: Ints, words: Sequence[str], missing: Flags | None = None) -> pa.DictionaryArray:
    """Return the word of each code; null where ``missing``."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=missing), pa.array(words, pa.string()))


def numbered(prefix: str, *numbers: Ints) -> pa.Array:
    """Return texts such as ``R12-3``."""
    parts = [pc.cast(pa.array(number), pa.string()) for number in numbers]
    return pc.binary_join_element_wise(pa.scalar(prefix), pc.binary_join_element_wise(*parts, "-"), "")


def customer_ids(first: int, count: int, prefix: str = "C") -> pa.Array:
    """Return the ids of ``count`` customers: a letter and seven digits."""
    digits = pc.cast(pa.array(np.arange(first, first + count)), pa.string())
    return pc.binary_join_element_wise(pa.scalar(prefix), pc.utf8_lpad(digits, 7, "0"), "")


def instants(days: Floats) -> pa.Array:
    """Return days of the log as instants, in whole seconds; null where infinite."""
    absent = ~np.isfinite(days)
    seconds = np.floor(np.where(absent, 0.0, days) * 86_400).astype(np.int64) + EPOCH_SECONDS
    return pa.array((seconds * 1_000_000).view("datetime64[us]"), mask=absent)


def frame(table: pa.Table) -> pd.DataFrame:
    """Return a table with plain texts."""
    plain = [
        pc.cast(column, pa.string()) if pa.types.is_dictionary(column.type) else column for column in table.columns
    ]
    plain_table: pd.DataFrame = pa.table(plain, names=table.column_names).to_pandas()
    return plain_table


def in_log(day: Floats, days: int) -> Ints:
    """Return the positions of what happened inside the log, by time."""
    inside = np.flatnonzero((day >= 0) & (day < days))
    return inside[np.argsort(day[inside], kind="stable")]
