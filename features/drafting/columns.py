"""What one column of a file holds, judged by its values: dates and how they are written, numbers, ids, flags."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from features.cleaning import BLANKS, FALSE, OFFSET, TRUE, family
from features.drafting.opening import ROW, Opened
from features.inputs import identifier

ENOUGH = 0.98  # of the values must read as a kind for the column to be of it
DAY_FORMATS = (
    "%Y%m%d",
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y年%m月%d日",
    "%d.%m.%y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%d %B %Y",
)
TIME_FORMATS = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p", "%H%M%S", " %H:%M:%S %z")
PROBES = 200  # values that a format is tried on before the whole column is


@dataclass(frozen=True, slots=True)
class Dates:
    """How a column's dates are written.

    ``format`` is None where the reader needs none; ``other`` is a second format that reads every value too, and
    ``why`` says how the two were told apart (empty when they could not be).
    """

    format: str | None
    has_hours: bool
    zoned: bool
    other: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's name and what its values say; ``numbers`` is the decimal sign where they are numbers."""

    name: str
    rows: int
    filled: int
    distinct: int
    dates: Dates | None
    numbers: str | None
    whole: bool
    negative: int
    flags: bool
    common: tuple[str, ...]

    @property
    def is_id(self) -> bool:
        """Whether the values can name something: no dates, no fractions."""
        return self.filled > 0 and self.dates is None and (self.numbers is None or self.whole)

    @property
    def unique(self) -> bool:
        """Whether no filled value stands twice."""
        return 0 < self.filled == self.distinct

    @property
    def empty_share(self) -> float:
        """Share of rows without a value."""
        return 1 - self.filled / self.rows if self.rows else 0.0


def look(connection: duckdb.DuckDBPyConnection, opened: Opened) -> tuple[Column, ...]:
    """Profile every column of an opened input."""
    return tuple(_column(connection, opened, name, kind) for name, kind in opened.columns.items())


def _column(connection: duckdb.DuckDBPyConnection, opened: Opened, name: str, duckdb_type: str) -> Column:
    word, kind = f"nullif(trim({identifier(name)}::VARCHAR, {BLANKS}), '')", family(duckdb_type)
    # Everything is judged on distinct values, each as often as it stands there.
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE value AS SELECT {word} AS word, count(*) AS n, min({ROW}) AS place "
        f"FROM {opened.relation} GROUP BY 1 HAVING word IS NOT NULL"
    )
    comma = "try_cast(replace(regexp_replace(word, '[.\\s\u00a0\u202f'']', '', 'g'), ',', '.') AS DOUBLE)"
    filled, distinct, dots, commas, marked, whole, minus, flags = connection.execute(
        "SELECT coalesce(sum(n), 0), count(*), sum(n) FILTER (WHERE dot IS NOT NULL), "
        "sum(n) FILTER (WHERE comma IS NOT NULL), "
        "coalesce(sum(n) FILTER (WHERE comma IS NOT NULL AND regexp_matches(word, ',\\d{1,2}$')), 0), "
        "sum(n) FILTER (WHERE coalesce(dot, comma) = trunc(coalesce(dot, comma))), "
        "sum(n) FILTER (WHERE coalesce(dot, comma) < 0), "
        f"sum(n) FILTER (WHERE lower(word) IN {TRUE} OR lower(word) IN {FALSE}) "
        f"FROM (SELECT word, n, try_cast(word AS DOUBLE) AS dot, {comma} AS comma FROM value)"
    ).fetchall()[0]
    common = connection.execute("SELECT word FROM value ORDER BY n DESC, word LIMIT 12").fetchall()
    enough = ENOUGH * filled
    dates = _dates(connection, opened, name, kind) if filled else None
    numbers = None
    if filled and dates is None and kind in ("text", "integer", "float"):
        numbers = "," if marked and (commas or 0) >= enough else "." if (dots or 0) >= enough else None
    return Column(
        name=name,
        rows=opened.rows,
        filled=int(filled),
        distinct=distinct,
        dates=dates,
        numbers=numbers,
        whole=numbers is not None and (whole or 0) >= enough,
        negative=int(minus or 0) if numbers else 0,
        flags=bool(filled) and (kind == "flag" or (flags or 0) >= enough),
        common=tuple(value for (value,) in common),
    )


def _dates(connection: duckdb.DuckDBPyConnection, opened: Opened, name: str, kind: str) -> Dates | None:
    if kind in ("instant", "zoned", "day"):
        hours = kind != "day" and _any(connection, "word::TIMESTAMP <> date_trunc('day', word::TIMESTAMP)")
        return Dates(None, hours, kind == "zoned")
    if kind not in ("text", "integer"):
        return None
    iso = "CASE WHEN regexp_matches(word, '^\\d{4}-\\d\\d?-\\d\\d?') THEN try_cast(word AS TIMESTAMPTZ) END"
    if kind == "text" and _reads(connection, iso):
        return Dates(
            None,
            _any(connection, "regexp_matches(word, '\\d:\\d')"),
            _any(connection, f"regexp_matches(word, {OFFSET})"),
        )
    days, times = (DAY_FORMATS, TIME_FORMATS) if kind == "text" else (DAY_FORMATS[:1], TIME_FORMATS[:1])
    formats = [day + time for day in days for time in times]
    if not _reads(connection, f"try_strptime(word, {formats!r})", PROBES):
        return None
    fits = [fit for fit in formats if _reads(connection, _in_years(fit), PROBES)]
    fits = [fit for fit in fits if _reads(connection, _in_years(fit))]
    if not fits:
        return None
    has_hours = "%H" in fits[0] or "%I" in fits[0]
    if len(fits) == 1:
        return Dates(fits[0], has_hours, "%z" in fits[0])
    chosen, why = _told_apart(connection, opened, name, fits[0], fits[1])
    return Dates(chosen, has_hours, False, next(fit for fit in fits if fit != chosen), why)


def _in_years(format_: str) -> str:
    return f"CASE WHEN year(try_strptime(word, '{format_}')) BETWEEN 1900 AND 2100 THEN 1 END"


def _reads(connection: duckdb.DuckDBPyConnection, test: str, most: int | None = None) -> bool:
    """Whether a test reads nearly all values, or nearly all of the first few."""
    values = f"(SELECT word, 1 AS n FROM value ORDER BY place LIMIT {most})" if most else "value"
    read, filled = connection.execute(
        f"SELECT coalesce(sum(n) FILTER (WHERE ({test}) IS NOT NULL), 0), sum(n) FROM {values}"
    ).fetchall()[0]
    return bool(read >= ENOUGH * filled)


def _any(connection: duckdb.DuckDBPyConnection, test: str) -> bool:
    return bool(connection.execute(f"SELECT 1 FROM value WHERE {test} LIMIT 1").fetchall())


def _told_apart(
    connection: duckdb.DuckDBPyConnection, opened: Opened, name: str, first: str, second: str
) -> tuple[str, str]:
    """Choose between day-month and month-day: no date lies ahead, and files are mostly written in order of time."""
    latest = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    ahead, back = {}, {}
    for fit in (first, second):
        day = f"try_strptime(trim({identifier(name)}::VARCHAR, {BLANKS}), '{fit}')"
        ahead[fit], back[fit] = connection.execute(
            f"SELECT count(*) FILTER (WHERE day > TIMESTAMP '{latest}'), count(*) FILTER (WHERE day < before) FROM "
            f"(SELECT {day} AS day, lag({day}) OVER (ORDER BY {ROW}) AS before FROM {opened.relation})"
        ).fetchall()[0]
    if (ahead[first] == 0) != (ahead[second] == 0):
        chosen, other = (first, second) if ahead[first] == 0 else (second, first)
        return chosen, f"read as {other}, {ahead[other]:,} would lie in the future"
    if back[first] != back[second]:
        chosen, other = (first, second) if back[first] < back[second] else (second, first)
        return chosen, f"so they run forward in the file; read as {other} they jump back {back[other]:,} times"
    return first, ""


def names(columns: Iterator[Column] | tuple[Column, ...]) -> str:
    """Return column names in one line."""
    return ", ".join(column.name for column in columns)
