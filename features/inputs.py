"""Open one file or frame as a DuckDB relation, or say in one line why it cannot be read."""

import codecs
import csv
import gzip
import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import duckdb
import pandas as pd

from perennial.errors import SourceError

ROW = "perennial_row"
DELIMITERS = (",", ";", "\t", "|")
HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Input:
    """One opened file or frame.

    ``relation`` is a DuckDB relation whose column ``perennial_row`` numbers the data rows from 1;
    ``columns`` are its own columns with their DuckDB types; ``typed`` is False where all are text (CSV);
    ``malformed`` holds the lines of a CSV that do not have its columns, by row number; ``encoding`` and ``delimiter``
    are how a CSV was read, None for anything else.
    """

    name: str
    relation: str
    columns: Mapping[str, str]
    typed: bool
    rows: int
    malformed: Mapping[int, str]
    encoding: str | None = None
    delimiter: str | None = None


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """Quote a text for SQL."""
    return "'" + value.replace("'", "''") + "'"


def open_frame(connection: duckdb.DuckDBPyConnection, relation: str, name: str, frame: pd.DataFrame) -> Input:
    """Open a DataFrame under the name ``relation``; an empty one is allowed."""
    view = f"{relation}_frame"
    connection.register(view, frame.reset_index(drop=True))
    connection.execute(f"CREATE TEMP VIEW {relation} AS SELECT row_number() OVER () AS {ROW}, * FROM {view}")
    return Input(name, relation, _columns(connection, relation), True, len(frame), {})


def open_file(connection: duckdb.DuckDBPyConnection, relation: str, path: Path, encoding: str) -> Input:
    """Open a Parquet or delimited text file under the name ``relation``."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened ({error.strerror})") from None
    if not magic:
        raise SourceError(f"{path}: the file is empty; the last results stay as they are")
    if magic == b"PAR1" or path.suffix.lower() in (".parquet", ".pq"):
        opened = _open_parquet(connection, relation, path)
    elif magic == b"PK\x03\x04":
        raise SourceError(f"{path}: this is a workbook or zip archive; save the sheet as CSV (UTF-8) and name that")
    else:
        opened = _open_text(connection, relation, path, encoding)
    if opened.rows == 0:
        raise SourceError(f"{path}: the file has a header but no rows; the last results stay as they are")
    return opened


def close(connection: duckdb.DuckDBPyConnection, opened: Input) -> None:
    """Forget an opened input."""
    kind = "VIEW" if opened.typed else "TABLE"
    connection.execute(f"DROP {kind} {opened.relation}")
    connection.unregister(f"{opened.relation}_frame")


def _columns(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    described = connection.execute(f"DESCRIBE {relation}").fetchall()
    return {row[0]: row[1] for row in described if row[0] != ROW}


def _open_parquet(connection: duckdb.DuckDBPyConnection, relation: str, path: Path) -> Input:
    try:
        connection.execute(
            f"CREATE TEMP VIEW {relation} AS SELECT file_row_number + 1 AS {ROW}, * EXCLUDE (file_row_number) "
            f"FROM read_parquet({literal(glob_free(path))}, file_row_number=true)"
        )
        rows = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0]
    except duckdb.Error as error:
        raise unreadable(path, error) from None
    return Input(path.name, relation, _columns(connection, relation), True, rows, {})


def glob_free(path: Path) -> str:
    """Return the path so that DuckDB takes its brackets and stars literally."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))


def unreadable(path: Path | str, error: Exception) -> SourceError:
    """Return the error for a file whose bytes are damaged."""
    first = str(error).splitlines()[0]
    return SourceError(f"{path}: the file is damaged or cut short, so none of it is used ({first})")


def _open_text(connection: duckdb.DuckDBPyConnection, relation: str, path: Path, encoding: str) -> Input:
    names, delimiter = _header(path, encoding)
    with tempfile.TemporaryDirectory(prefix="perennial-") as folder:
        plain = encoding in ("utf-8", "utf-8-sig")
        readable = path if plain else _as_utf8(path, encoding, Path(folder), newline="")
        try:
            malformed = _load_text(connection, relation, path, readable, names, delimiter)
        except duckdb.InvalidInputException:
            # DuckDB stops at line ends of more than one kind, which joined files have: bring them to one.
            readable = _as_utf8(path, encoding, Path(folder), newline=None)
            try:
                malformed = _load_text(connection, relation, path, readable, names, delimiter)
            except duckdb.Error as error:
                raise unreadable(path, error) from None
    rows = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0]
    if malformed and not rows:
        raise SourceError(
            f"{path}: no line has the {len(names)} columns of the header, read with the delimiter {delimiter!r}; "
            "write header and lines with one delimiter"
        )
    _number_around(connection, relation, rows, malformed)
    return Input(
        path.name,
        relation,
        _columns(connection, relation),
        False,
        rows + len(malformed),
        malformed,
        encoding,
        delimiter,
    )


def _load_text(
    connection: duckdb.DuckDBPyConnection, relation: str, path: Path, readable: Path, names: list[str], delimiter: str
) -> dict[int, str]:
    """Load all columns as text and return the malformed lines by row number."""
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    rejects, scans = f"{relation}_rejects", f"{relation}_scans"
    try:
        connection.execute(
            f"CREATE TEMP TABLE {relation} AS SELECT row_number() OVER () AS {ROW}, * FROM read_csv("
            f"{literal(glob_free(readable))}, auto_detect=false, header=true, delim={literal(delimiter)}, quote='\"', "
            f"escape='\"', columns={{{columns}}}, compression={literal('gzip' if _is_gzip(readable) else 'none')}, "
            f"store_rejects=true, rejects_table={literal(rejects)}, rejects_scan={literal(scans)}, rejects_limit=0)"
        )
    except duckdb.IOException as error:
        raise unreadable(path, error) from None
    errors = connection.execute(f"SELECT line, error_type, csv_line FROM {rejects} ORDER BY line").fetchall()
    connection.execute(f"DROP TABLE {rejects}; DROP TABLE {scans}")
    for line, kind, text in errors:
        if kind == "INVALID ENCODING":
            raise _wrong_encoding(path, int(line))
        if kind == "UNQUOTED VALUE" and "\n" in text.strip():
            raise SourceError(f"{path}: line {line} opens a quote that never closes, so what follows cannot be read")
    return {int(line) - 1: text.strip() for line, _, text in errors}


def _number_around(
    connection: duckdb.DuckDBPyConnection, relation: str, rows: int, malformed: Mapping[int, str]
) -> None:
    """Renumber the good rows so that the malformed ones keep their place in the count."""
    if malformed:
        connection.execute(
            f"UPDATE {relation} SET {ROW} = place FROM (SELECT place, row_number() OVER (ORDER BY place) AS position "
            f"FROM (SELECT unnest(range(1, {rows + len(malformed) + 1})) AS place) "
            f"WHERE place NOT IN (SELECT unnest($1))) WHERE {ROW} = position",
            [list(malformed)],
        )


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _bytes(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if _is_gzip(path) else path.open("rb")


def _head(path: Path) -> bytes:
    try:
        with _bytes(path) as file:
            return file.read(HEAD_BYTES)
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from None


def _header(path: Path, encoding: str) -> tuple[list[str], str]:
    head = _head(path)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not encoding.startswith("utf-16"):
        raise SourceError(f'{path}: the text is UTF-16; add encoding = "utf-16" to its section')
    if encoding.startswith("utf-8"):
        try:
            text = head.splitlines()[0].decode("utf-8-sig")
        except UnicodeDecodeError:
            raise _wrong_encoding(path, 1) from None
    else:
        text = head.decode(encoding, errors="replace")
    line = text.splitlines()[0] if text.splitlines() else ""
    delimiter = max(DELIMITERS, key=lambda sign: _outside_quotes(line).count(sign))
    names = [name.strip() for name in next(csv.reader(io.StringIO(line), delimiter=delimiter), [])]
    if not any(names):
        raise SourceError(f"{path}: the first line is empty; it must name the columns")
    folded = [name.casefold() for name in names]
    twice = [name for name in names if folded.count(name.casefold()) > 1]
    if twice:
        raise SourceError(f"{path}: the header names columns alike: {', '.join(map(repr, twice))}")
    return names, delimiter


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _as_utf8(path: Path, encoding: str, folder: Path, newline: str | None) -> Path:
    target = folder / "utf8.csv"
    try:
        with (
            io.TextIOWrapper(_bytes(path), encoding=encoding, newline=newline) as source,
            target.open("w", encoding="utf-8", newline="") as sink,
        ):
            shutil.copyfileobj(source, sink, HEAD_BYTES)
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not {encoding} at byte {error.start}; change encoding in its section") from None
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from None
    return target


def _wrong_encoding(path: Path, line: int) -> SourceError:
    """Name the likely encoding: in Chinese text both bytes of a common sign are high, in Western text seldom."""
    raw = b"".join(part for part in _head(path).splitlines(keepends=True) if not part.isascii())
    foreign = [sign for sign in raw.decode("gb18030", errors="replace") if not sign.isascii()]
    chinese = sum(bool(sign.encode("gb2312", errors="ignore")) for sign in foreign)
    likely = "gb18030" if foreign and chinese > 0.8 * len(foreign) else "cp1252"
    return SourceError(
        f'{path}: line {line} is not UTF-8; it looks like {likely}: add encoding = "{likely}" to its section, '
        "or save the file as UTF-8"
    )
