"""CSV for people: opens in Excel with a double click, in any language, and runs nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

BOM = b"\xef\xbb\xbf"  # without it Excel reads Chinese as the machine's old code page
# A cell that starts so is a formula to a spreadsheet; full-width forms are folded by East Asian editions, and
# leading blanks are skipped by some.
_FORMULA = r"^([ \t\r\n]*[=+\-@＝＋－＠]|[\t\r\n])"
_NUMBER = r"^[+-]?\d[\d.,]*([eE][+-]?\d+)?$"
_CONTROLS = r"[\x00-\x1f\x7f]+"
MONEY_DECIMALS = 2
OTHER_DECIMALS = 4


def neutralise(text: pa.Array) -> pa.Array:
    """Return text that a spreadsheet shows instead of running."""
    return pc.replace_substring_regex(pc.replace_substring_regex(text, _FORMULA, r"'\1"), _CONTROLS, " ")


def neutralise_words(text: pa.Array) -> pa.Array:
    """Neutralise all but plain numbers: in rows handed back for correction a number stays what it was."""
    return pc.if_else(pc.match_substring_regex(text, _NUMBER), text, neutralise(text))


def write_csv(
    table: pa.Table, path: Path, money: frozenset[str] = frozenset(), safe: Callable[[pa.Array], pa.Array] = neutralise
) -> None:
    """Write a table as RFC 4180 text with a BOM: text quoted, nulls empty, instants ISO 8601 in UTC.

    Text that a spreadsheet would run is preceded by an apostrophe and control characters become blanks (``safe``).
    Numbers keep 4 decimals, those named in ``money`` 2.
    """
    cells = [
        _cells(table[name], MONEY_DECIMALS if name in money else OTHER_DECIMALS, safe) for name in table.column_names
    ]
    with path.open("wb") as file:
        file.write(BOM)
        # No cell holds a line feed, so every one that comes is the end of a line.
        csv.write_csv(pa.table(cells, names=table.column_names), pa.PythonFile(_Crlf(file), mode="w"))


def _cells(column: pa.ChunkedArray, decimals: int, safe: Callable[[pa.Array], pa.Array]) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        return pc.strftime(pc.cast(column, pa.timestamp("s", tz="UTC")), format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_floating(column.type):
        return pc.round(column, ndigits=decimals)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _per_distinct(column, safe)
    return column


def _per_distinct(column: pa.ChunkedArray, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Change each distinct value once: codes and reasons repeat by the hundred thousand."""
    encoded = column.combine_chunks().dictionary_encode()
    return change(encoded.dictionary).take(encoded.indices)


class _Crlf:
    """A binary file that ends lines the way RFC 4180 asks."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        self._file.write(bytes(data).replace(b"\n", b"\r\n"))
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Leave the file open: its owner closes it."""
