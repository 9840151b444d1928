"""The door to one file: Parquet or delimited text, told apart by its first bytes."""

from pathlib import Path

import duckdb

from features.delimited import open_text
from features.inputs import Input, open_parquet
from perennial.errors import SourceError


def open_file(
    connection: duckdb.DuckDBPyConnection, relation: str, path: Path, encoding: str | None, folder: Path
) -> Input:
    """Open a file under the name ``relation``; ``folder`` takes a copy where text is not UTF-8."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened ({error.strerror})") from None
    if not magic:
        raise SourceError(f"{path}: the file is empty; the last results stay as they are")
    if magic == b"PAR1" or path.suffix.lower() in (".parquet", ".pq"):
        return open_parquet(connection, relation, path)
    if magic == b"PK\x03\x04":
        raise SourceError(f"{path}: this is a workbook or zip archive; save the sheet as CSV (UTF-8) and name that")
    return open_text(connection, relation, path, encoding, folder)
