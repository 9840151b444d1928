"""One pass over an input: every row cleaned, judged and counted into the stage of its table.

A stage holds a contract table's columns and, under names of its own, what was found about each row. A row's place in
its file is its place in the stage (DuckDB keeps both in the order of insertion), so no number is stored with it.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest

import duckdb

from features import rules
from features.cleaning import DUCKDB_TYPES, Cleaned, clean
from features.contract import TABLES, Table
from features.inputs import Input, identifier, literal
from features.mapping import Source
from features.sections import Section
from features.toml_values import suggestion
from perennial.errors import SourceError

# ``print`` is a hash of the whole row; the marks have one bit for each contract column, in the table's order.
MARKS = ("faults", "blanks", "conversions", "naives")
BOOKKEEPING: Mapping[str, str] = {
    "section_": "INTEGER",
    "part_": "INTEGER",
    "reason_": "VARCHAR",
    "correction_": "VARCHAR",
    "original_": "VARCHAR",
    "print_": "UBIGINT",
    **{f"{mark}_": "BIGINT" for mark in MARKS},
}


def stage_name(table: Table) -> str:
    """Return the name of a table's stage."""
    return f"staged_{table.name}"


def columns_sql(table: Table) -> str:
    """Return a contract table's columns with their DuckDB types."""
    return ", ".join(f"{identifier(column.name)} {DUCKDB_TYPES[column.kind]}" for column in table.columns)


def create_stage(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Create the empty stage of a table."""
    kept = ", ".join(f"{name} {type_}" for name, type_ in BOOKKEEPING.items())
    connection.execute(f"CREATE TABLE {stage_name(table)} ({columns_sql(table)}, {kept})")


def bit(table: Table, name: str) -> int:
    """Return a contract column's bit in the marks."""
    return 1 << [column.name for column in table.columns].index(name)


def cleaned_columns(source: Source, section: Section, opened: Input) -> dict[str, Cleaned]:
    """Return the SQL of every mapped column, or raise for a column that is not there or has a changed type."""
    by_name = {column.name: column for column in section.contract.columns}
    cleaned = {}
    for name, mapped in section.fields.items():
        duckdb_type, typed = "VARCHAR", opened.typed
        if mapped.column is not None:
            require_column(section, name, mapped.column, opened)
            duckdb_type, typed = opened.columns[mapped.column], typed and mapped.column not in opened.exact
            if opened.holds_nothing(mapped.column):
                cleaned[name] = Cleaned("NULL")
                continue
        if mapped.format is not None:
            _check_format(opened.connection, f"{section.where}: {name}", mapped.format)
        try:
            cleaned[name] = clean(by_name[name], mapped, duckdb_type, mapped.timezone or source.timezone, typed=typed)
        except SourceError as error:
            raise SourceError(f"{section.where}: {opened.name}: {error}") from None
    return cleaned


def require_column(section: Section, name: str, column: str, opened: Input) -> None:
    """Raise with the nearest name when an input lacks a mapped column."""
    if column not in opened.columns:
        raise SourceError(
            f"{section.where}: {name} = {column!r}: {opened.name} has no such column"
            f"{suggestion(column, opened.columns)} (columns: {', '.join(opened.columns)})"
        )


def _check_format(connection: duckdb.DuckDBPyConnection, where: str, given: str) -> None:
    try:
        connection.execute(f"SELECT try_strptime('', {literal(given)})")
    except duckdb.Error:
        raise SourceError(f"{where}: format = {given!r} is no date format; write it like '%d/%m/%Y %H:%M'") from None


def staging_sql(
    source: Source,
    section: Section,
    opened: Input,
    cleaned: Mapping[str, Cleaned],
    table: Table,
    place: tuple[int, int],
    latest: str,
) -> str:
    """Return one INSERT of an input's rows, judged.

    ``place`` numbers the section and the input, ``latest`` is the SQL of the last believable instant in UTC.
    """
    names = ", ".join(identifier(column.name) for column in table.columns)
    return (
        f"INSERT INTO {stage_name(table)} SELECT {names}, {place[0]}, {place[1]}, verdict, correction, "
        f"CASE WHEN verdict IS NOT NULL THEN {original_sql(opened, 'raw_')} END, "
        f"print_, {', '.join(f'{mark}_' for mark in MARKS)} "
        f"FROM ({judged_sql(source, section, opened, cleaned, table, latest, _marks(table, cleaned))})"
    )


def judged_sql(
    source: Source,
    section: Section,
    opened: Input,
    cleaned: Mapping[str, Cleaned],
    table: Table,
    latest: str,
    marks: Iterable[str] = (),
) -> str:
    """Return the query of columns cleaned, then derived level by level, then the verdict on each row, or correction.

    ``marks`` are further columns, computed from the cleaned ones.
    """
    columns = [
        f"({cleaned[column.name].value if column.name in cleaned else 'NULL'})::{DUCKDB_TYPES[column.kind]} "
        f"AS {identifier(column.name)}"
        for column in table.columns
    ]
    tested = ", ".join((*columns, *_tests(cleaned)))
    query = f"SELECT {tested}, print_, raw_ FROM ({_prepared(opened, cleaned)}) AS src"
    given = (f"{identifier(name)} AS given_{name}" for name in rules.GIVEN.get(table.name, ()))
    query = f"SELECT {', '.join(('*', *marks, *given))} FROM ({query})"
    for level in rules.derivations(table, section, source, source.timezone or "UTC"):
        if level:
            replaced = ", ".join(f"{sql} AS {identifier(name)}" for name, sql in level.items())
            query = f"SELECT * REPLACE ({replaced}) FROM ({query})"
    reason, correction = rules.reasons(table, cleaned, latest), rules.corrections(table, cleaned)
    return (
        f"SELECT *, {reason} AS verdict, CASE WHEN verdict IS NULL THEN {correction} END AS correction FROM ({query})"
    )


def print_sql(opened: Input, row: str) -> str:
    """Return the hash of a whole row."""
    return f"hash({', '.join(f'{row}.{identifier(name)}' for name in opened.columns)})"


def original_sql(opened: Input, row: str) -> str:
    """Return a row as it stands in its input, as JSON."""
    values = ", ".join(f"{literal(name)}: {row}.{identifier(name)}::VARCHAR" for name in opened.columns)
    return f"to_json({{{values}}})::VARCHAR"


def _prepared(opened: Input, cleaned: Mapping[str, Cleaned]) -> str:
    """Return the query of an input's rows with the columns that cleaning refers to, level by level."""
    query = f"SELECT src.*, src AS raw_, {print_sql(opened, 'src')} AS print_ FROM {opened.relation} AS src"
    for level in zip_longest(*(sql.prepared for sql in cleaned.values())):
        columns = [f"{sql} AS {identifier(name)}" for name, sql in filter(None, level)]
        query = f"SELECT src.*, {', '.join(columns)} FROM ({query}) AS src"
    return query


def _tests(cleaned: Mapping[str, Cleaned]) -> Iterable[str]:
    for name, sql in cleaned.items():
        yield f"coalesce({sql.fault}, false) AS {rules.fault_name(name)}"
        yield f"coalesce({sql.converted}, false) AS {identifier(f'converted_{name}')}"
        yield f"coalesce({sql.naive}, false) AS naive_{name}"
        yield from (f"{test} AS {code}_{name}" for code, test in sql.changes.items())


def _marks(table: Table, cleaned: Mapping[str, Cleaned]) -> Iterable[str]:
    """Return the columns of bits: which values are unreadable, blank, converted, without a zone."""
    names = [column.name for column in TABLES[table.name].columns if column.name in cleaned]
    tests: Mapping[str, Callable[[str], str]] = {
        "faults": rules.fault_name,
        "blanks": lambda name: f"{name} IS NULL AND NOT {rules.fault_name(name)}",
        "conversions": lambda name: f"converted_{name}",
        "naives": lambda name: f"naive_{name}",
    }
    for mark in MARKS:
        bits = [f"CASE WHEN {tests[mark](name)} THEN {bit(table, name)} ELSE 0 END" for name in names]
        yield f"{' + '.join(bits)} AS {mark}_"
