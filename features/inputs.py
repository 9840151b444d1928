"""Open one Parquet file or frame as a DuckDB relation, or say in one line why it cannot be read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

from perennial.errors import SourceError


@dataclass(frozen=True, kw_only=True)
class Input:
    """One opened file, frame or database table; its rows are scanned when the relation is queried.

    ``relation`` is a DuckDB view of the rows in their order; ``columns`` are its columns with their DuckDB types;
    ``typed`` is False where all are text (CSV), and ``exact`` are columns of numbers that come as text to keep every
    digit. ``encoding`` and ``delimiter`` are how a text file is read, None for anything else.
    """

    connection: duckdb.DuckDBPyConnection
    name: str
    relation: str
    columns: Mapping[str, str]
    typed: bool = True
    exact: frozenset[str] = frozenset()
    encoding: str | None = None
    delimiter: str | None = None
    may_be_empty: bool = False
    no_rows: str = "the file has no rows"

    def prepare(self) -> None:
        """Make the relation ready for its first scan."""

    def rewind(self) -> None:
        """Make the relation ready to be scanned once more."""

    def repaired(self) -> "Input | None":
        """Return the input in a form that DuckDB can scan after a scan failed, or None."""
        return None

    def malformed(self) -> int:
        """Return how many lines of the last scan lack the header's columns; they stand in ``<relation>_malformed``."""
        return 0

    def holds_nothing(self, column: str) -> bool:
        """Whether a typed column is NULL throughout: its type then says nothing either."""
        if not self.typed:
            return False
        query = f"SELECT 1 FROM {self.relation} WHERE {identifier(column)} IS NOT NULL LIMIT 1"
        return not self.connection.execute(query).fetchall()

    def close(self) -> None:
        """Forget the input."""
        self.connection.execute(f"DROP VIEW {self.relation}")
        self.connection.unregister(f"{self.relation}_frame")
        self.release()

    def release(self) -> None:
        """Let go of what the input holds outside the engine; more than once is no fault."""


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Quote a text for SQL."""
    return "'" + value.replace("'", "''") + "'"


def described(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return a relation's columns with their DuckDB types."""
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {relation}").fetchall()}


def open_frame(connection: duckdb.DuckDBPyConnection, relation: str, name: str, frame: pd.DataFrame) -> Input:
    """Open a DataFrame under the name ``relation``; an empty one is allowed."""
    view = f"{relation}_frame"
    connection.register(view, frame.reset_index(drop=True))
    connection.execute(f"CREATE TEMP VIEW {relation} AS SELECT * FROM {view}")
    columns = described(connection, relation)
    return Input(connection=connection, name=name, relation=relation, columns=columns, may_be_empty=True)


def open_parquet(connection: duckdb.DuckDBPyConnection, relation: str, path: Path) -> Input:
    """Open a Parquet file under the name ``relation``."""
    try:
        connection.execute(f"CREATE TEMP VIEW {relation} AS SELECT * FROM read_parquet({literal(glob_free(path))})")
        columns = described(connection, relation)
    except duckdb.Error as error:
        raise unreadable(path, error) from None
    return Input(connection=connection, name=path.name, relation=relation, columns=columns)


def scan(opened: Input, where: str, query: Callable[[Input], str]) -> tuple[Input, int]:
    """Run a query over an input's rows, in another form where DuckDB stumbles over the first.

    Returns
    -------
    The input as it was read, and how many of its lines are malformed.
    """
    while True:
        try:
            opened.connection.execute(query(opened))
            return opened, opened.malformed()
        except duckdb.Error as error:
            repaired = opened.repaired() if isinstance(error, duckdb.InvalidInputException) else None
            if repaired is None:
                raise unreadable(where, error) from None
            opened = repaired


def require_rows(opened: Input, where: str, rows: int, malformed: int) -> None:
    """Raise for an input without a single usable row, unless it may be empty."""
    if rows or opened.may_be_empty:
        return
    if malformed:
        raise SourceError(
            f"{where}: no line has the {len(opened.columns)} columns of the header, read with the delimiter "
            f"{opened.delimiter!r}; write header and lines with one delimiter"
        )
    raise SourceError(f"{where}: {opened.no_rows}; the last results stay as they are")


def glob_free(path: Path) -> str:
    """Return the path so that DuckDB takes its brackets and stars literally."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))


def unreadable(path: Path | str, error: Exception) -> SourceError:
    """Return the error for a file whose bytes are damaged."""
    first = str(error).splitlines()[0]
    return SourceError(f"{path}: the file is damaged or cut short, so none of it is used ({first})")
