"""One file of rows as it stands: a table that a model is trained on, or that one scores, outside the contract."""

import tempfile
from pathlib import Path

import duckdb
import pandas as pd

from features.files import open_file
from features.inputs import require_rows, scan
from features.toml_values import suggestion
from perennial.errors import SourceError


def read_table(path: Path) -> pd.DataFrame:
    """Return a Parquet file's columns with their types, or a CSV's as text; rows in the file's order.

    Raises
    ------
    SourceError
        When the file is missing, empty, damaged, names a column twice or has lines without all columns.
    """
    with duckdb.connect() as connection, tempfile.TemporaryDirectory(prefix="perennial-") as folder:
        given = open_file(connection, "given", Path(path), None, Path(folder))
        opened, malformed = scan(given, str(path), lambda form: f"CREATE TABLE rows AS FROM {form.relation}")
        if malformed:
            line, text = connection.execute(
                f"SELECT row, line FROM {opened.relation}_malformed ORDER BY row LIMIT 1"
            ).fetchall()[0]
            raise SourceError(
                f"{path}: {malformed:,} lines do not have the {len(opened.columns)} columns of the header, the first "
                f"in row {line:,}: {text!r}"
            )
        table = connection.execute("FROM rows").df()
    require_rows(opened, str(path), len(table), malformed)
    return table


def require_column(table: pd.DataFrame, name: str, what: str, path: Path) -> str:
    """Return the name, or raise SourceError with the nearest column."""
    names = [str(column) for column in table.columns]
    if name in names:
        return name
    near = suggestion(name, names)
    raise SourceError(f"{path}: has no column {name!r} ({what}){near or '; it has ' + ', '.join(names[:12])}")
