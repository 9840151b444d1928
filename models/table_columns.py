"""Columns of any table as numbers for a model: what each one holds, learned once and asked for again when scoring.

A column is a *number* when at least ``NUMBER_SHARE`` of its filled values are numbers and there are more than two of
them, else a *category*. A number is passed on as it is, beside a sign of whether it is missing. A category gets one 0/1
place for each of its ``MOST_VALUES`` most frequent values that stand in ``LEAST_ROWS`` rows or more, and one for all
others together: missing, rare, or never seen in training. Left out, with a note: columns without content, dates (a date
is not an age), identifiers and free text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from features.toml_values import suggestion
from models.matrix import Floats
from perennial.errors import SourceError

NUMBER_SHARE = 0.95
MOST_VALUES = 50
LEAST_ROWS = 10
_CODE = re.compile(r"[+-]?0\d+")  # 007 is a code: as a number it would lose its zeros
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\b|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}\b")
_NAMED_ID = re.compile(r"(^|[_\s.-])(id|uuid|guid|key|no|nr|number|code)$|[a-z](Id|ID)$|(编号|号码|证号)$")

Kind = Literal["number", "category"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column the model goes by.

    ``places``: a category's values with a place of their own; ``typical``: median or most frequent value;
    ``others``: whether training had missing (or rare) values, which then have a place.
    """

    name: str
    kind: Kind
    places: tuple[str, ...]
    typical: float | str
    others: bool

    @property
    def width(self) -> int:
        """Places in the matrix."""
        return (1 if self.kind == "number" else len(self.places)) + self.others

    def encode(self, column: pd.Series) -> Floats:
        """Return the column's places (n, width)."""
        if self.kind == "number":
            number = numbers(column)
            parts = [number, np.isnan(number).astype(np.float64)]
        else:
            place = pd.Index(self.places).get_indexer(pd.Index(texts(column)))
            parts = [
                *(place == np.arange(len(self.places))[:, None]).astype(np.float64),
                (place < 0).astype(np.float64),
            ]
        return np.column_stack(parts[: self.width])

    def unknown(self, column: pd.Series) -> int:
        """Count filled values that mean nothing to the model: text among numbers, categories without a place."""
        text = texts(column)
        known = ~np.isnan(numbers(column)) if self.kind == "number" else text.isin(self.places)
        return int((text.notna() & ~known).sum())


@dataclass(frozen=True, slots=True)
class Columns:
    """Every column a model goes by, in a fixed order."""

    columns: tuple[Column, ...]

    @classmethod
    def learn(cls, table: pd.DataFrame) -> tuple[Self, tuple[str, ...]]:
        """Return the usable columns of a table, and a note on each one left out or read in part."""
        found, notes = [], []
        for name in table.columns:
            column, note = _learn(str(name), table[name])
            found += [column] if column else []
            notes += [f"{name}: {note}"] if note else []
        return cls(tuple(found)), tuple(notes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def spans(self) -> tuple[slice, ...]:
        """Where each column's places stand in the matrix."""
        ends = np.cumsum([column.width for column in self.columns], dtype=int)
        return tuple(slice(int(end) - column.width, int(end)) for column, end in zip(self.columns, ends, strict=True))

    def encode(self, table: pd.DataFrame) -> Floats:
        """Return the matrix (n, sum of widths)."""
        return np.column_stack([column.encode(table[column.name]) for column in self.columns])

    def check(self, table: pd.DataFrame) -> tuple[str, ...]:
        """Raise SourceError where a column is missing or holds something else; return notes on unknown values."""
        missing = [name for name in self.names if name not in table.columns]
        if missing:
            near = suggestion(missing[0], map(str, table.columns)) if len(missing) == 1 else ""
            named = ", ".join(map(repr, missing))
            raise SourceError(f"the table lacks the columns {named}{near}; the model needs them as in training")
        return tuple(note for column in self.columns if (note := _note(column, table[column.name])))

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values for an artefact."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]]) -> Self:
        """Read what `to_json` wrote."""
        return cls(tuple(Column(**{**column, "places": tuple(column["places"])}) for column in columns))


def texts(column: pd.Series) -> pd.Series:
    """Return values as texts without blanks around them, missing where empty; 1, 1.0 and True read alike everywhere."""
    if pd.api.types.is_bool_dtype(column):
        column = column.map({True: "True", False: "False"})
    elif pd.api.types.is_numeric_dtype(column):
        column = column.map(_number_text, na_action="ignore")
    elif column.dtype == object:
        column = column.map(
            lambda value: _number_text(value) if isinstance(value, float) else value, na_action="ignore"
        )
    text = column.astype("string").str.strip()
    return text.mask(text == "")


def numbers(column: pd.Series) -> Floats:
    """Return values as finite numbers (n,), NaN where they are none."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        column = pd.to_numeric(texts(column), errors="coerce")
    number = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(number), number, np.nan)


def _number_text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _learn(name: str, column: pd.Series) -> tuple[Column | None, str]:
    text = texts(column)
    filled = text.dropna()
    distinct = filled.nunique()
    if not distinct:
        return None, "left out, it is empty"
    if distinct == 1 and len(filled) == len(text):
        return None, f"left out, it is {filled.iloc[0]!r} in every row"
    if pd.api.types.is_datetime64_any_dtype(column) or filled.str.match(_DATE).mean() >= NUMBER_SHARE:
        return None, "left out, it holds dates; a column with the days from each date to a fixed day could be used"
    number = numbers(column)
    coded = not pd.api.types.is_numeric_dtype(column) and filled.str.fullmatch(_CODE).any()
    if np.isfinite(number).sum() >= NUMBER_SHARE * len(filled) and distinct > 2 and not coded:
        return _learn_number(name, number, len(filled))
    return _learn_category(name, text)


def _learn_number(name: str, number: Floats, filled: int) -> tuple[Column | None, str]:
    known = number[~np.isnan(number)]
    if _identifies(name, known):
        return None, "left out, it numbers the rows: an identifier"
    unread = filled - len(known)
    note = f"{unread:,} values are no numbers and count as missing" if unread else ""
    return Column(name, "number", (), float(np.median(known)), len(known) < len(number)), note


def _identifies(name: str, known: Floats) -> bool:
    """Whether whole numbers, each in one row, are consecutive or named like an identifier."""
    if len(known) < LEAST_ROWS or len(np.unique(known)) < len(known) or (known % 1 != 0).any():
        return False
    return bool(known.max() - known.min() == len(known) - 1 or _NAMED_ID.search(name))


def _learn_category(name: str, text: pd.Series) -> tuple[Column | None, str]:
    counts = text.value_counts().sort_index(kind="stable").sort_values(ascending=False, kind="stable")
    own = counts[counts >= LEAST_ROWS][:MOST_VALUES]
    if own.empty:
        return (
            None,
            f"left out, none of its {len(counts):,} values stands in {LEAST_ROWS} rows: an identifier or free text",
        )
    rare = len(counts) - len(own)
    note = f"{rare:,} of {len(counts):,} values are rare and count as one" if rare else ""
    others = bool(int(own.sum()) < len(text))
    return Column(name, "category", tuple(map(str, own.index)), str(own.index[0]), others), note


def _note(column: Column, values: pd.Series) -> str:
    unknown, filled = column.unknown(values), int(texts(values).notna().sum())
    if not unknown:
        return ""
    if column.kind == "number" and unknown > (1 - NUMBER_SHARE) * filled:
        raise SourceError(
            f"{column.name}: {unknown:,} of {filled:,} values are no numbers, but the model learned numbers there"
        )
    if unknown == filled:
        learned = ", ".join(map(repr, column.places[:5]))
        raise SourceError(f"{column.name}: none of its {filled:,} values is one that the model learned ({learned})")
    what = "are no numbers and count as missing" if column.kind == "number" else "are rare or new and count as missing"
    return f"{column.name}: {unknown:,} values {what}"
