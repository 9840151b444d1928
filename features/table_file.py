"""One file of rows as it stands: a table that a model is trained on, or that one scores, outside the contract."""

from pathlib import Path

import duckdb
import pandas as pd

from features.inputs import ROW, open_file
from features.mapping import suggestion
from perennial.errors import SourceError


def read_table(path: Path) -> pd.DataFrame:
    """Return a Parquet file's columns with their types, or a CSV's as text; rows in the file's order.

    Raises
    ------
    SourceError
        When the file is missing, empty, damaged, names a column twice or has lines without all columns.
    """
    connection = duckdb.connect()
    opened = open_file(connection, "rows", Path(path), "utf-8")
    if opened.malformed:
        line = min(opened.malformed)
        raise SourceError(
            f"{path}: {len(opened.malformed):,} lines do not have the {len(opened.columns)} columns of the header, the "
            f"first in row {line:,}: {opened.malformed[line]!r}"
        )
    return connection.execute(f"SELECT * EXCLUDE ({ROW}) FROM {opened.relation} ORDER BY {ROW}").df()


def require_column(table: pd.DataFrame, name: str, what: str, path: Path) -> str:
    """Return the name, or raise SourceError with the nearest column."""
    names = [str(column) for column in table.columns]
    if name in names:
        return name
    near = suggestion(name, names)
    raise SourceError(f"{path}: has no column {name!r} ({what}){near or '; it has ' + ', '.join(names[:12])}")
