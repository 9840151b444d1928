"""Read every input of a source into the contract's tables, keeping count of every row."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from types import MappingProxyType

import duckdb
import ibis

from features import remarks, staging
from features.contract import TABLES, Table
from features.counting import Part, count, count_identical, keep_quarantined, unreadable
from features.inputs import Input, identifier, literal, require_rows, scan
from features.links import NO_LINKS, Links
from features.mapping import Source
from features.records import Records, TableReport
from features.repeats import judge_repeats
from features.sections import Section, with_attributes
from features.staging import stage_name
from features.workspace import Workspace
from perennial.errors import SourceError

# Clocks of tills and servers differ; an instant further ahead than a day is a wrong clock, not a late one.
CLOCK_TOLERANCE = timedelta(hours=24)
QUARANTINE = ibis.schema(
    {"input": "int32", "table": "string", "file": "string", "row": "int64", "reason": "string", "original": "string"}
)
Opener = Callable[[Workspace], Iterable[tuple[Section, Iterable[Input]]]]


@dataclass(frozen=True)
class _Reader:
    """One reading of a source; ``latest`` is the SQL of the last believable instant, naive UTC."""

    source: Source
    workspace: Workspace
    latest: str

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        return self.workspace.connection

    def table(self, name: str) -> Table:
        return with_attributes(TABLES[name], self.source.attributes(name))


def read(source: Source, workspace: Workspace, open_inputs: Opener) -> Records:
    """Stage, judge and load what ``open_inputs`` yields; nothing of a source is usable until all of it is."""
    latest = datetime.now(UTC).replace(tzinfo=None) + CLOCK_TOLERANCE
    reader = _Reader(source, workspace, f"TIMESTAMP {literal(latest.isoformat(sep=' '))}")
    given: dict[str, list[tuple[Section, Input]]] = {name: [] for name in TABLES}
    workspace.connection.execute(
        'CREATE TABLE quarantine (input INTEGER, "table" VARCHAR, file VARCHAR, row BIGINT, reason VARCHAR, '
        "original VARCHAR)"
    )
    try:
        for section, inputs in open_inputs(workspace):
            given[section.table] += [(section, opened) for opened in inputs]
        reports = [report for name in TABLES if (report := _read_table(reader, name, given[name])) is not None]
    finally:
        for _, opened in chain.from_iterable(given.values()):
            opened.release()
    return Records(
        tables=MappingProxyType({name: workspace.table(name, reader.table(name).schema) for name in TABLES}),
        timezone=source.timezone or "UTC",
        currency=source.currency,
        economics=source.economics,
        consent_default=source.consent_default,
        name=source.name,
        reports=tuple(reports),
        links=_links(workspace) if given["identities"] else NO_LINKS,
        fairness=source.fairness,
        quarantined=workspace.table("quarantine", QUARANTINE),
    )


def _links(workspace: Workspace) -> Links:
    rows = workspace.connection.execute("SELECT customer_id, master_id, known_at FROM identities").fetchall()
    return Links.of(*zip(*rows, strict=True)) if rows else NO_LINKS


def _read_table(reader: _Reader, name: str, given: list[tuple[Section, Input]]) -> TableReport | None:
    """Read all inputs of one table; without any the table is empty and has no report."""
    table, connection = reader.table(name), reader.connection
    if not given:
        connection.execute(f"CREATE TABLE {name} ({staging.columns_sql(table)})")
        return None
    staging.create_stage(connection, table)
    sections = list(dict.fromkeys(section.where for section, _ in given))
    parts: list[Part] = []
    for section, opened in given:
        parts.append(_stage(reader, table, section, opened, (sections.index(section.where), len(parts))))
    count(connection, table, parts)
    for part in parts:
        require_rows(part.opened, f"{part.section.where}: {part.opened.name}", part.rows, part.malformed)
    if reader.source.timezone is None:
        _refuse_naive(parts)
    if name == "orders":
        _refuse_currencies(reader, parts)
    judge_repeats(connection, table, [section for section, _ in given])
    count_identical(connection, table, parts)
    notes = [note for part in parts for note in unreadable(connection, part)]
    for position, part in enumerate(parts):
        keep_quarantined(connection, table, part, position)
        part.opened.close()
    return _load(reader, table, parts, notes)


def _stage(reader: _Reader, table: Table, section: Section, opened: Input, place: tuple[int, int]) -> Part:
    """Stage one input."""
    opened.prepare()
    cleaned = staging.cleaned_columns(reader.source, section, opened)
    used, malformed = scan(
        opened,
        f"{section.where}: {opened.name}",
        lambda form: staging.staging_sql(reader.source, section, form, cleaned, table, place, reader.latest),
    )
    return Part(section, used, malformed)


def _refuse_naive(parts: Iterable[Part]) -> None:
    for part in parts:
        for name, rows in part.marks["naives"].items():
            if part.section.fields[name].timezone is None:
                raise SourceError(
                    f"{part.section.where}: {name}: {rows:,} instants in {part.opened.name} have no zone of their own; "
                    'say on whose clock they are: timezone = "Europe/London" at the top of the source file'
                )


def _refuse_currencies(reader: _Reader, parts: list[Part]) -> None:
    own = reader.source.currency
    known = ", ".join(map(literal, (own, *reader.source.rates)))
    found = reader.connection.execute(
        "SELECT currency, count(*), min(part_) FROM staged_orders "
        f"WHERE reason_ IS NULL AND currency NOT IN ({known}) GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    if found:
        listed = ", ".join(f"{code} ({rows:,} lines)" for code, rows, _ in found[:5])
        raise SourceError(
            f"{parts[found[0][2]].section.where}: currency: {listed}, but the source is in {own}; "
            f"add a [rates] section with what one {found[0][0]} is worth in {own}"
        )


def _load(reader: _Reader, table: Table, parts: list[Part], notes: list[str]) -> TableReport:
    """Make the stage the contract table, without a copy, and report on the rows left out."""
    connection, stage = reader.connection, stage_name(table)
    counts = connection.execute(
        f"SELECT reason_, correction_, count(*) FROM {stage} GROUP BY ALL ORDER BY 3 DESC, 1, 2"
    ).fetchall()
    connection.execute(f"DELETE FROM {stage} WHERE reason_ IS NOT NULL")
    names = ", ".join(identifier(column.name) for column in table.columns)
    connection.execute(f"CREATE VIEW {table.name} AS SELECT {names} FROM {stage}")
    reasons = {reason: rows for reason, _, rows in counts if reason is not None}
    if malformed := sum(part.malformed for part in parts):
        reasons["malformed_line"] = malformed
    corrected = {correction: rows for _, correction, rows in counts if correction is not None}
    conversions = sum((part.marks["conversions"] for part in parts), Counter[str]())
    return TableReport(
        table=table.name,
        rows=sum(part.rows + part.malformed for part in parts),
        accepted=sum(rows for reason, correction, rows in counts if reason is None and correction is None),
        corrected=sum(corrected.values()),
        quarantined=sum(reasons.values()),
        corrections=MappingProxyType(corrected),
        reasons=MappingProxyType(reasons),
        conversions=MappingProxyType(dict(conversions)),
        notes=(*notes, *remarks.of_table(connection, reader.source, TABLES[table.name])),
        inputs=tuple(part.report for part in parts),
    )
