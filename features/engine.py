"""The one way results leave the engine, or are kept in it."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import ibis
import pandas as pd
import pyarrow as pa


def fetch(*tables: ibis.Table) -> pd.DataFrame:
    """Run table expressions of the same columns, one after the other, and return their rows in that order.

    Dates come as ``datetime.date``, text as ``str``, unknown numbers as NaN. Goes through Arrow: Ibis's own
    ``execute`` asks pandas for an option that pandas 3 deprecates, and copies twice.
    """
    frame: pd.DataFrame = pa.concat_tables([table.to_pyarrow() for table in tables]).to_pandas()
    return frame


def keep(table: ibis.Table, stack: ExitStack) -> ibis.Table:
    """Compute a table once, as the engine's own temporary one, which it can move to disk; dropped with the stack."""
    with _without_warning():
        kept: ibis.Table = stack.enter_context(table.cache())
    return kept


def open_table(backend: ibis.BaseBackend, name: str) -> ibis.Table:
    """Return a table that stands in an engine."""
    with _without_warning():
        return backend.table(name)


@contextmanager
def _without_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        # Ibis 12 asks for the schema by a name that DuckDB 2 has deprecated.
        warnings.filterwarnings("ignore", r"fetch_arrow_table\(\) is deprecated", DeprecationWarning)
        yield
