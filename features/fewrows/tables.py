"""Arrow at both ends: columns made of its tables when they are read, and its columns made of results."""

from collections.abc import Callable, Mapping

import ibis.expr.datatypes as dt
import numpy as np
import pyarrow as pa

from features.fewrows.columns import Column, blank, kind_of

Reader = Callable[[pa.ChunkedArray], Column]
Writer = Callable[[Column], pa.Array]


class Given:
    """The tables that a program runs over, of which those without rows may be left out, and its parameters."""

    def __init__(self, tables: Mapping[str, pa.Table], moment: Mapping[str, Column]) -> None:
        self.moment = moment
        self._tables = tables

    def rows(self, table: str) -> int:
        """Return how many rows a table has."""
        return self._tables[table].num_rows if table in self._tables else 0

    def column(self, table: str, name: str, read: Reader) -> Column:
        """Return a column of a table."""
        if table in self._tables:
            return read(self._tables[table][name])
        return read(pa.chunked_array([], pa.null()))


def reading(dtype: dt.DataType) -> Reader:
    """Return what makes a column of Arrow's."""
    kind = kind_of(dtype)
    unit = {True: "datetime64[us]", False: "datetime64[D]"}[dtype.is_timestamp()] if dtype.is_temporal() else None
    filling = pa.scalar(0 if unit else blank(kind), dtype.to_pyarrow())

    def read(column: pa.ChunkedArray) -> Column:
        valid = np.ones(len(column), bool)
        if column.null_count:
            valid, column = column.is_valid().to_numpy(), column.fill_null(filling.cast(column.type))
        values = column.to_numpy()
        return Column((values if unit is None else values.astype(unit)).astype(kind, copy=False), valid)

    return read


def writing(dtype: dt.DataType) -> Writer:
    """Return what makes a column Arrow's."""
    if dtype.is_temporal():
        unit = "datetime64[us]" if dtype.is_timestamp() else "datetime64[D]"
        return lambda column: pa.array(column.values.astype(unit), mask=~column.valid)
    kind = pa.string() if dtype.is_string() else None
    return lambda column: pa.array(column.values, kind, mask=~column.valid)
