"""Read every input of a source into the contract's tables, keeping count of every row."""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import duckdb
import ibis
import pandas as pd

from features import remarks, rules
from features.cleaning import DUCKDB_TYPES, Cleaned, clean
from features.contract import TABLES, Table
from features.inputs import ROW, Input, close, identifier, literal, unreadable
from features.mapping import Section, Source, suggestion
from features.records import InputReport, Records, TableReport
from perennial.errors import SourceError

# Clocks of tills and servers differ; an instant further ahead than a day is a wrong clock, not a late one.
CLOCK_TOLERANCE = timedelta(hours=24)
QUARANTINE_COLUMNS = ("table", "file", "row", "reason", "original")
Opener = Callable[[duckdb.DuckDBPyConnection], Iterable[tuple[Section, Iterable[Input]]]]


@dataclass
class _Draft:
    """Counts of one table while its inputs are read."""

    table: Table
    rows: int = 0
    malformed: int = 0
    conversions: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    inputs: list[InputReport] = field(default_factory=list)
    quarantine: list[pd.DataFrame] = field(default_factory=list)


def read(source: Source, open_inputs: Opener) -> Records:
    """Stage, judge and load what ``open_inputs`` yields; nothing of a source is usable until all of it is."""
    backend = ibis.duckdb.connect()
    connection: duckdb.DuckDBPyConnection = backend.con
    connection.execute("SET TimeZone = 'UTC'")
    latest = datetime.now(UTC).replace(tzinfo=None) + CLOCK_TOLERANCE
    by_table: dict[str, list[tuple[int, Section, list[Input]]]] = {name: [] for name in TABLES}
    for number, (section, inputs) in enumerate(open_inputs(connection)):
        by_table[section.table].append((number, section, list(inputs)))
    reports: list[TableReport] = []
    pieces: list[pd.DataFrame] = []
    for name, table in TABLES.items():
        if not by_table[name]:
            connection.execute(f"CREATE TABLE {name} ({_columns_sql(table)})")
            continue
        draft = _read_table(connection, source, table, by_table[name], latest)
        reports.append(_load(connection, source, draft))
        pieces += draft.quarantine
    return Records(
        tables=MappingProxyType({name: _open_table(backend, name) for name in TABLES}),
        timezone=source.timezone or "UTC",
        currency=source.currency,
        economics=source.economics,
        consent_default=source.consent_default,
        name=source.name,
        reports=tuple(reports),
        quarantine=pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=list(QUARANTINE_COLUMNS)),
    )


def _open_table(backend: ibis.BaseBackend, name: str) -> ibis.Table:
    with warnings.catch_warnings():
        # Ibis 12 asks for the schema by a name that DuckDB 2 has deprecated.
        warnings.filterwarnings("ignore", r"fetch_arrow_table\(\) is deprecated", DeprecationWarning)
        return backend.table(name)


def _stage_name(table: Table) -> str:
    return f"staged_{table.name}"


def _columns_sql(table: Table) -> str:
    return ", ".join(f"{identifier(column.name)} {DUCKDB_TYPES[column.kind]}" for column in table.columns)


def _read_table(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    table: Table,
    given: list[tuple[int, Section, list[Input]]],
    latest: datetime,
) -> _Draft:
    connection.execute(
        f"CREATE TABLE {_stage_name(table)} "
        f"({_columns_sql(table)}, section INTEGER, part INTEGER, {ROW} BIGINT, reason VARCHAR, correction VARCHAR)"
    )
    draft = _Draft(table)
    parts: list[Input] = []
    for number, section, inputs in given:
        for opened in inputs:
            draft.rows += opened.rows
            draft.malformed += len(opened.malformed)
            try:
                _stage(connection, source, section, opened, (number, len(parts)), latest, draft)
            except duckdb.Error as error:
                raise unreadable(f"{section.where}: {opened.name}", error) from None
            parts.append(opened)
    _judge_repeats(connection, table)
    for position, opened in enumerate(parts):
        draft.quarantine += _quarantined(connection, table, opened, position)
        close(connection, opened)
    return draft


def _stage(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    section: Section,
    opened: Input,
    place: tuple[int, int],
    latest: datetime,
    draft: _Draft,
) -> None:
    if not opened.rows:
        draft.inputs.append(remarks.of_input(connection, section, opened))
        return
    cleaned = _cleaned(connection, source, section, opened)
    connection.execute(_staging_sql(source, section, opened, cleaned, place, latest))
    if source.timezone is None:
        _refuse_naive(connection, section, opened, cleaned)
    if section.table == "orders":
        _refuse_currencies(connection, source, section)
    draft.conversions += remarks.conversions(connection, opened, cleaned)
    draft.notes += remarks.unreadable(connection, opened, cleaned)
    draft.notes += remarks.attributes(section, opened)
    draft.inputs.append(remarks.of_input(connection, section, opened))


def _cleaned(
    connection: duckdb.DuckDBPyConnection, source: Source, section: Section, opened: Input
) -> dict[str, Cleaned]:
    """Return the SQL of every mapped column, or raise for a column that is not there or has a changed type."""
    by_name = {column.name: column for column in TABLES[section.table].columns}
    cleaned = {}
    for name, mapped in section.fields.items():
        duckdb_type = "VARCHAR"
        if mapped.column is not None:
            _require_column(section, name, mapped.column, opened)
            duckdb_type = opened.columns[mapped.column]
            if remarks.all_null(connection, opened, mapped.column):
                cleaned[name] = Cleaned("NULL")
                continue
        if mapped.format is not None:
            _check_format(connection, f"{section.where}: {name}", mapped.format)
        try:
            cleaned[name] = clean(
                by_name[name], mapped, duckdb_type, mapped.timezone or source.timezone, typed=opened.typed
            )
        except SourceError as error:
            raise SourceError(f"{section.where}: {opened.name}: {error}") from None
    for attribute in section.attributes:
        _require_column(section, attribute, attribute, opened)
    return cleaned


def _check_format(connection: duckdb.DuckDBPyConnection, where: str, given: str) -> None:
    try:
        connection.execute(f"SELECT try_strptime('', {literal(given)})")
    except duckdb.Error:
        raise SourceError(f"{where}: format = {given!r} is no date format; write it like '%d/%m/%Y %H:%M'") from None


def _require_column(section: Section, name: str, column: str, opened: Input) -> None:
    if column not in opened.columns:
        raise SourceError(
            f"{section.where}: {name} = {column!r}: {opened.name} has no such column"
            f"{suggestion(column, opened.columns)} (columns: {', '.join(opened.columns)})"
        )


def _staging_sql(
    source: Source,
    section: Section,
    opened: Input,
    cleaned: Mapping[str, Cleaned],
    place: tuple[int, int],
    latest: datetime,
) -> str:
    """Return one INSERT: columns cleaned, then derived level by level, then the verdict on each row."""
    table = TABLES[section.table]
    columns = [
        f"({cleaned[column.name].value if column.name in cleaned else 'NULL'})::{DUCKDB_TYPES[column.kind]} "
        f"AS {identifier(column.name)}"
        for column in table.columns
    ]
    for name, sql in cleaned.items():
        columns.append(f"coalesce({sql.fault}, false) AS {rules.fault_name(name)}")
        columns += [f"{test} AS {code}_{name}" for code, test in sql.changes.items()]
    given = ", ".join(f"{identifier(name)} AS given_{name}" for name in rules.GIVEN.get(table.name, ()))
    query = f"SELECT {ROW}, {', '.join(columns)} FROM {opened.relation} AS src"
    query = f"SELECT *{', ' + given if given else ''} FROM ({query})"
    for level in rules.derivations(table, section, source, source.timezone or "UTC"):
        if level:
            replaced = ", ".join(f"{sql} AS {identifier(name)}" for name, sql in level.items())
            query = f"SELECT * REPLACE ({replaced}) FROM ({query})"
    names = ", ".join(identifier(column.name) for column in table.columns)
    reason, correction = rules.reasons(table, cleaned, latest), rules.corrections(table, cleaned)
    return (
        f"INSERT INTO {_stage_name(table)} SELECT {names}, {place[0]}, {place[1]}, {ROW}, "
        f"{reason} AS verdict, CASE WHEN verdict IS NULL THEN {correction} END FROM ({query})"
    )


def _refuse_naive(
    connection: duckdb.DuckDBPyConnection, section: Section, opened: Input, cleaned: Mapping[str, Cleaned]
) -> None:
    for name, sql in cleaned.items():
        if section.fields[name].timezone is None and sql.naive != "false":
            count = connection.execute(f"SELECT count(*) FROM {opened.relation} AS src WHERE {sql.naive}").fetchall()[
                0
            ][0]
            if count:
                raise SourceError(
                    f"{section.where}: {name}: {count:,} instants in {opened.name} have no zone of their own; say on "
                    'whose clock they are: timezone = "Europe/London" at the top of the source file'
                )


def _refuse_currencies(connection: duckdb.DuckDBPyConnection, source: Source, section: Section) -> None:
    known = ", ".join(map(literal, (source.currency, *source.rates)))
    found = connection.execute(
        "SELECT currency, count(*) FROM staged_orders "
        f"WHERE reason IS NULL AND currency NOT IN ({known}) GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    if found:
        listed = ", ".join(f"{code} ({count:,} lines)" for code, count in found[:5])
        raise SourceError(
            f"{section.where}: currency: {listed}, but the source is in {source.currency}; "
            f"add a [rates] section with what one {found[0][0]} is worth in {source.currency}"
        )


def _judge_repeats(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Quarantine repeated lines and superseded customers.

    Equal rows of one line_id keep the one known first, differing ones keep none; of several rows of one
    customer the last one counts.
    """
    stage = _stage_name(table)
    if table.name == "orders":
        facts = ", ".join(identifier(c.name) for c in table.columns if c.name not in ("line_id", "known_at"))
        verdicts = f"""
            SELECT part, {ROW}, CASE WHEN min(print) OVER lines <> max(print) OVER lines THEN 'conflicting_line'
                   WHEN row_number() OVER (PARTITION BY section, line_id ORDER BY known_at, part, {ROW}) > 1
                   THEN 'duplicate_line' END AS verdict
            FROM (SELECT *, hash({facts}) AS print FROM {stage} WHERE reason IS NULL AND line_id IS NOT NULL)
            WINDOW lines AS (PARTITION BY section, line_id)"""
    elif table.name == "customers":
        verdicts = f"""
            SELECT part, {ROW}, CASE WHEN row_number() OVER newest_first > 1 THEN 'superseded_customer' END AS verdict
            FROM {stage} WHERE reason IS NULL
            WINDOW newest_first AS (PARTITION BY customer_id ORDER BY part DESC, {ROW} DESC)"""
    else:
        return
    connection.execute(
        f"UPDATE {stage} SET reason = verdict, correction = NULL FROM ({verdicts}) AS judged "
        f"WHERE judged.verdict IS NOT NULL AND judged.part = {stage}.part AND judged.{ROW} = {stage}.{ROW}"
    )


def _quarantined(
    connection: duckdb.DuckDBPyConnection, table: Table, opened: Input, position: int
) -> list[pd.DataFrame]:
    values = ", ".join(f"{literal(name)}: src.{identifier(name)}::VARCHAR" for name in opened.columns)
    judged = connection.execute(
        f"SELECT {literal(table.name)} AS table, {literal(opened.name)} AS file, {ROW} AS row, staged.reason, "
        f"to_json({{{values}}})::VARCHAR AS original FROM {_stage_name(table)} AS staged "
        f"JOIN {opened.relation} AS src USING ({ROW}) "
        f"WHERE staged.part = {position} AND staged.reason IS NOT NULL ORDER BY {ROW}"
    ).df()
    malformed = pd.DataFrame(
        [
            (table.name, opened.name, row, "malformed_line", json.dumps({"line": line}, ensure_ascii=False))
            for row, line in opened.malformed.items()
        ],
        columns=list(QUARANTINE_COLUMNS),
    )
    pieces = [piece for piece in (judged, malformed) if len(piece)]
    return [pd.concat(pieces).sort_values("row")] if pieces else []


def _load(connection: duckdb.DuckDBPyConnection, source: Source, draft: _Draft) -> TableReport:
    """Make the stage the contract table, without a copy, and report on the rows left out."""
    table, stage = draft.table, _stage_name(draft.table)
    counts = connection.execute(
        f"SELECT reason, correction, count(*) FROM {stage} GROUP BY ALL ORDER BY 3 DESC, 1, 2"
    ).fetchall()
    connection.execute(f"DELETE FROM {stage} WHERE reason IS NOT NULL")
    for bookkeeping in ("section", "part", ROW, "reason", "correction"):
        connection.execute(f"ALTER TABLE {stage} DROP COLUMN {bookkeeping}")
    connection.execute(f"ALTER TABLE {stage} RENAME TO {table.name}")
    reasons = {reason: count for reason, _, count in counts if reason is not None}
    if draft.malformed:
        reasons["malformed_line"] = draft.malformed
    corrected = {correction: count for _, correction, count in counts if correction is not None}
    return TableReport(
        table=table.name,
        rows=draft.rows,
        accepted=sum(count for reason, correction, count in counts if reason is None and correction is None),
        corrected=sum(corrected.values()),
        quarantined=sum(reasons.values()),
        corrections=MappingProxyType(corrected),
        reasons=MappingProxyType(reasons),
        conversions=MappingProxyType({name: count for name, count in draft.conversions.items() if count}),
        notes=(*draft.notes, *remarks.of_table(connection, source, table)),
        inputs=tuple(draft.inputs),
    )
