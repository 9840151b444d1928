"""Open a file that nobody has described yet, and find out how its text is encoded."""

import codecs
import gzip
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import charset_normalizer
import duckdb

from features.delimited import LEGACY_ENCODINGS
from features.files import open_file
from features.inputs import require_rows, scan
from perennial.errors import SourceError

ROW = "draft_row"
# Enough to tell a column by; more only costs time.
MOST_ROWS = 1_000_000
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Opened:
    """A file as a DuckDB table of at most `MOST_ROWS` rows, numbered by ``draft_row``, with its columns' types.

    ``rows`` are those of the table; ``encoding`` and ``delimiter`` are None for Parquet.
    """

    path: Path
    relation: str
    columns: Mapping[str, str]
    rows: int
    encoding: str | None
    delimiter: str | None


def open_any(connection: duckdb.DuckDBPyConnection, number: int, path: Path) -> Opened:
    """Open a Parquet or text file; raise SourceError for anything else."""
    encoding = encoding_of(path)
    relation = f"looked_at_{number}"
    with tempfile.TemporaryDirectory(prefix="perennial-") as folder:
        given = open_file(connection, f"given_{number}", path, encoding, Path(folder))
        columns = ", ".join('"' + name.replace('"', '""') + '"' for name in given.columns)
        given, malformed = scan(
            given,
            str(path),
            lambda form: (
                f"CREATE TEMP TABLE {relation} AS SELECT row_number() OVER () AS {ROW}, {columns} "
                f"FROM {form.relation} LIMIT {MOST_ROWS}"
            ),
        )
        rows = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0]
        require_rows(given, str(path), rows, malformed)
        given.close()
    return Opened(path, relation, given.columns, rows, given.encoding, given.delimiter)


def encoding_of(path: Path) -> str | None:
    """Return None for Parquet, utf-8 where the whole file is, utf-16 where it says so, else the likeliest."""
    try:
        with _text(path) as file:
            head = file.read(4)
            if head == b"PAR1":
                return None
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            return _encoding(head, file)
    except (OSError, EOFError) as error:
        raise SourceError(f"{path}: cannot be read ({error})") from None


def _encoding(head: bytes, file: IO[bytes]) -> str:
    decoder, piece = codecs.getincrementaldecoder("utf-8")(), head
    foreign: list[bytes] = []
    try:
        while piece:
            foreign = [piece]
            decoder.decode(piece)
            piece = file.read(CHUNK_BYTES)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        lines = [line for line in b"".join([*foreign, file.read(CHUNK_BYTES)]).splitlines() if not line.isascii()]
        sample = b"\n".join(dict.fromkeys(lines[:2_000]))
        found = charset_normalizer.from_bytes(sample, cp_isolation=list(LEGACY_ENCODINGS)).best()
        return found.encoding if found else "cp1252"
    return "utf-8"


def _text(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path)) if zipped else path.open("rb")
