"""Delimited text files: which encoding and delimiter they have, their header, and the lines that do not fit it."""

import codecs
import csv
import gzip
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

import charset_normalizer
import duckdb

from features.inputs import Input, glob_free, literal, unreadable
from perennial.errors import SourceError

DELIMITERS = (",", ";", "\t", "|")
HEAD_BYTES = 1 << 20
# The longer mark first: that of UTF-32 begins like that of UTF-16.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
# What business software writes when it does not write UTF-8; more candidates only make short texts ambiguous.
LEGACY_ENCODINGS = ("gb18030", "cp1252", "big5", "shift_jis", "cp1251")


@dataclass(frozen=True, kw_only=True)
class TextInput(Input):
    """A delimited text file; ``readable`` is the file itself or a copy in UTF-8 in the workspace."""

    path: Path
    readable: Path
    folder: Path

    def scan(self, faults: str) -> None:
        """Point the relation at the file; ``faults`` says what becomes of lines that do not fit."""
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in self.columns)
        compression = "gzip" if _is_gzip(self.readable) else "none"
        self.connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {self.relation} AS SELECT * FROM read_csv("
            f"{literal(glob_free(self.readable))}, auto_detect=false, header=true, quote='\"', escape='\"', "
            f"delim={literal(self.delimiter or '')}, columns={{{columns}}}, compression='{compression}', {faults})"
        )

    def rewind(self) -> None:
        """Scan the good lines only: the others are known from the first scan."""
        self.scan("ignore_errors=true")

    def repaired(self) -> "TextInput | None":
        """Bring line ends of more than one kind, which joined files have and DuckDB stops at, to one."""
        target = self.folder / f"{self.relation}_lines.csv"
        if self.readable == target:
            return None
        _rewrite(self.readable, target, "utf-8", newline=None)
        again = replace(self, readable=target, relation=f"{self.relation}_lines")
        return _first_scan(again)

    def malformed(self) -> int:
        """Keep the lines that do not fit by row number; raise for what makes the whole file unreadable."""
        rejects = f"{self.relation}_rejects"
        self._refuse(rejects)
        self.connection.execute(
            f"CREATE TEMP TABLE {self.relation}_malformed AS SELECT line::BIGINT - 1 AS row, "
            f"trim(any_value(csv_line), E' \\r\\n') AS line FROM {rejects} GROUP BY ALL"
        )
        count: int = self.connection.execute(f"SELECT count(*) FROM {self.relation}_malformed").fetchall()[0][0]
        return count

    def _refuse(self, rejects: str) -> None:
        fatal = self.connection.execute(
            f"SELECT line, error_type FROM {rejects} WHERE error_type = 'INVALID ENCODING' "
            "OR error_type = 'UNQUOTED VALUE' AND contains(rtrim(csv_line, E'\\r\\n'), E'\\n') ORDER BY line LIMIT 1"
        ).fetchall()
        if not fatal:
            return
        line, kind = fatal[0]
        if kind == "INVALID ENCODING":
            raise _wrong_encoding(self.path, line)
        raise SourceError(f"{self.path}: line {line} opens a quote that never closes, so what follows cannot be read")

    def close(self) -> None:
        """Forget the input and what the first scan left of it."""
        super().close()
        for kind in ("rejects", "scans", "malformed"):
            self.connection.execute(f"DROP TABLE IF EXISTS {self.relation}_{kind}")
        if self.readable != self.path:
            self.readable.unlink(missing_ok=True)


def open_text(
    connection: duckdb.DuckDBPyConnection, relation: str, path: Path, encoding: str | None, folder: Path
) -> TextInput:
    """Open a text file under the name ``relation``; a copy in UTF-8 is written to ``folder`` where DuckDB needs one.

    UTF-8 and, by its byte order mark, UTF-16 are found without a word; anything else must be said by ``encoding``.
    """
    found = _encoding(path, encoding)
    readable = path
    if found not in ("utf-8", "utf-8-sig"):
        readable = folder / f"{relation}.csv"
        _rewrite(path, readable, found, newline="")
    names, delimiter = _header(path, readable)
    opened = TextInput(
        connection=connection,
        name=path.name,
        relation=relation,
        columns=dict.fromkeys(names, "VARCHAR"),
        typed=False,
        encoding=found,
        delimiter=delimiter,
        path=path,
        readable=readable,
        folder=folder,
        no_rows="the file has a header but no rows",
    )
    return _first_scan(opened)


def _first_scan(opened: TextInput) -> TextInput:
    tables = f"rejects_table='{opened.relation}_rejects', rejects_scan='{opened.relation}_scans'"
    opened.scan(f"store_rejects=true, {tables}, rejects_limit=0")
    return opened


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


def _encoding(path: Path, said: str | None) -> str:
    """Return the encoding: what the byte order mark says, else the mapping, else UTF-8."""
    head = _head(path)
    marked = next((name for mark, name in BYTE_ORDER_MARKS if head.startswith(mark)), None)
    if marked and (said is None or said.startswith("utf")):
        return marked
    if said is None and head.count(0) > len(head) / 4:
        raise SourceError(
            f"{path}: every other byte is zero, as in UTF-16 without its mark; add "
            'encoding = "utf-16-le" to its section, or save the file as UTF-8'
        )
    return said or "utf-8"


def _header(path: Path, readable: Path) -> tuple[list[str], str]:
    """Return the column names and the delimiter that parts them."""
    lines = _head(readable).splitlines()
    try:
        line = lines[0].decode("utf-8-sig") if lines else ""
    except UnicodeDecodeError:
        raise _wrong_encoding(path, 1) from None
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


def _rewrite(path: Path, target: Path, encoding: str, newline: str | None) -> None:
    """Write a file again in UTF-8, in pieces; ``newline`` None brings all line ends to one kind."""
    try:
        with (
            io.TextIOWrapper(_bytes(path), encoding=encoding, newline=newline) as source,
            target.open("w", encoding="utf-8", newline="") as sink,
        ):
            while piece := source.read(HEAD_BYTES):
                sink.write(piece)
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not {encoding} at byte {error.start}; change encoding in its section") from None
    except (OSError, EOFError) as error:
        raise unreadable(path, error) from None
    if not encoding.startswith("utf") and _is_utf8(path):
        raise SourceError(f"{path}: the text is UTF-8, not {encoding}, which would garble it; leave encoding out")


def _is_utf8(path: Path) -> bool:
    """Whether a file holds signs beyond ASCII and all of them are UTF-8, which chance does not bring about."""
    decoder, foreign = codecs.getincrementaldecoder("utf-8")(), False
    with _bytes(path) as file:
        try:
            while piece := file.read(HEAD_BYTES):
                decoder.decode(piece)
                foreign = foreign or not piece.isascii()
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return foreign


def _wrong_encoding(path: Path, line: int) -> SourceError:
    """Name the likely encoding, judged by the lines beyond ASCII around the one that cannot be read."""
    foreign: list[bytes] = []
    with _bytes(path) as file:
        for number, text in enumerate(file, 1):
            if number >= line and not text.isascii():
                foreign.append(text)
            if len(foreign) == 200 or number > line + 100_000:
                break
    likely = charset_normalizer.from_bytes(b"".join(foreign), cp_isolation=list(LEGACY_ENCODINGS)).best()
    name = likely.encoding if likely else "cp1252"
    return SourceError(
        f'{path}: line {line} is not UTF-8; it looks like {name}: add encoding = "{name}" to its section, '
        "or save the file as UTF-8"
    )
