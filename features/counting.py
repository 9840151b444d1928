"""What a stage tells about its inputs: rows, unreadable, missing and converted values, rows that repeat others."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import duckdb

from features.contract import TABLES, Table
from features.inputs import Input, literal
from features.records import InputReport
from features.sections import Section
from features.staging import MARKS, bit, original_sql, print_sql, stage_name


@dataclass
class Part:
    """One input of a table and what was counted in it.

    ``rows`` and ``first`` (its place in the stage) are of the rows that are there, ``malformed`` of the lines that are
    not; the counters go by contract column, ``first_faults`` holds the place of each column's first unreadable value.
    """

    section: Section
    opened: Input
    malformed: int
    rows: int = 0
    first: int = 0
    identical: int = 0
    marks: Mapping[str, Counter[str]] = field(default_factory=lambda: {mark: Counter() for mark in MARKS})
    first_faults: dict[str, int] = field(default_factory=dict)

    @property
    def report(self) -> InputReport:
        """How the input was read."""
        section, opened = self.section, self.opened
        used = {mapped.column for mapped in section.fields.values()}
        mapped = [
            name
            for name, given in section.fields.items()
            if given.column in opened.columns and name not in section.attributes
        ]
        return InputReport(
            file=opened.name,
            rows=self.rows + self.malformed,
            encoding=opened.encoding,
            delimiter=opened.delimiter,
            missing=MappingProxyType({name: self.marks["blanks"][name] for name in mapped}),
            unused=tuple(name for name in opened.columns if name not in used),
            identical=self.identical,
        )


def count(connection: duckdb.DuckDBPyConnection, table: Table, parts: Sequence[Part]) -> None:
    """Fill in the counts of all parts: rows alike in what was found about them are counted together."""
    contract = [(column.name, bit(table, column.name)) for column in TABLES[table.name].columns]
    marks = [f"{mark}_" for mark in MARKS]
    groups = connection.execute(
        f"SELECT part_, count(*), min(rowid), {', '.join(marks)} FROM {stage_name(table)} GROUP BY ALL ORDER BY 3"
    ).fetchall()
    for position, rows, first, *found in groups:
        part = parts[position]
        part.first = part.first if part.rows else first
        part.rows += rows
        for mark, value in zip(MARKS, found, strict=True):
            part.marks[mark].update({name: rows for name, place in contract if value & place})
        for name, place in contract:
            if found[0] & place:
                part.first_faults.setdefault(name, first)


def count_identical(connection: duckdb.DuckDBPyConnection, table: Table, parts: Sequence[Part]) -> None:
    """Count the rows of each part that repeat another in every column."""
    repeats = connection.execute(
        f"SELECT part_, sum(rows - 1)::BIGINT FROM (SELECT part_, count(*) AS rows FROM {stage_name(table)} "
        "GROUP BY part_, print_ HAVING count(*) > 1) GROUP BY 1"
    ).fetchall()
    for position, rows in repeats:
        parts[position].identical = rows


def unreadable(connection: duckdb.DuckDBPyConnection, part: Part) -> Iterable[str]:
    """Remarks about values that could not be read, with the row of the first in each column."""
    for name, first in part.first_faults.items():
        place = first - part.first + 1
        if part.malformed:
            before = f"SELECT before FROM ({_malformed_before(part)}) WHERE before < {place}"
            place += connection.execute(f"SELECT count(*) FROM ({before})").fetchall()[0][0]
        count_ = part.marks["faults"][name]
        yield f"{part.opened.name}: {name}: {count_:,} values cannot be read, the first in row {place:,}"


def _malformed_before(part: Part) -> str:
    """Return a query of the malformed lines with how many good rows stand before each."""
    rows = f"{part.opened.relation}_malformed"
    return (
        f"SELECT place, row - place AS before FROM (SELECT row, row_number() OVER (ORDER BY row) AS place FROM {rows})"
    )


def keep_quarantined(connection: duckdb.DuckDBPyConnection, table: Table, part: Part, position: int) -> None:
    """Copy a part's unusable rows and its malformed lines to ``quarantine``, with their row numbers in the input."""
    opened, stage = part.opened, stage_name(table)
    order = [*TABLES].index(table.name) * 1_000_000 + position
    names = f"{order}, {literal(table.name)}, {literal(opened.name)}"
    late = f"FROM {stage} WHERE part_ = {position} AND reason_ IS NOT NULL AND original_ IS NULL"
    originals = "SELECT NULL::UBIGINT AS print, NULL::VARCHAR AS content WHERE false"
    if connection.execute(
        f"SELECT 1 {late} LIMIT 1"
    ).fetchall():  # condemned by other rows: their content is read again
        opened.rewind()
        originals = (
            f"SELECT {print_sql(opened, 'src')} AS print, any_value({original_sql(opened, 'src')}) AS content "
            f"FROM {opened.relation} AS src WHERE print IN (SELECT print_ {late}) GROUP BY 1"
        )
    shifts = "SELECT 0 AS before, 0 AS place WHERE false"
    if part.malformed:
        shifts = f"SELECT before, max(place) AS place FROM ({_malformed_before(part)}) GROUP BY 1"
    connection.execute(f"""
        INSERT INTO quarantine SELECT {names}, nth + coalesce(place, 0), reason_, coalesce(original_, content)
        FROM (SELECT rowid - {part.first} + 1 AS nth, reason_, original_, print_ FROM {stage}
              WHERE part_ = {position} AND reason_ IS NOT NULL) AS condemned
        ASOF LEFT JOIN ({shifts}) AS shifts ON condemned.nth > shifts.before
        LEFT JOIN ({originals}) AS originals ON original_ IS NULL AND originals.print = condemned.print_""")
    if part.malformed:
        connection.execute(
            f"INSERT INTO quarantine SELECT {names}, row, 'malformed_line', to_json({{'line': line}})::VARCHAR "
            f"FROM {opened.relation}_malformed"
        )
