"""SQL that turns one source column into one contract column, and says which values it could not read.

Nothing here touches a row in Python: each contract column becomes a few DuckDB expressions over the opened
input, evaluated for all rows at once.

Daylight saving: a wall-clock time that occurs twice when clocks go back is read as its second occurrence
(standard time); one that clocks skip when they go forward is read with the offset before the jump, so 02:30
that did not exist becomes 03:30. A test holds DuckDB to this.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from features.contract import Column, Kind
from features.inputs import identifier, literal
from features.sections import Field
from perennial.errors import SourceError

DUCKDB_TYPES: Mapping[Kind, str] = {
    Kind.ID: "VARCHAR",
    Kind.TEXT: "VARCHAR",
    Kind.NUMBER: "DOUBLE",
    Kind.FLAG: "BOOLEAN",
    Kind.INSTANT: "TIMESTAMP",
    Kind.DAY: "DATE",
}
BAD = {
    Kind.ID: "bad_id",
    Kind.NUMBER: "bad_number",
    Kind.FLAG: "bad_flag",
    Kind.INSTANT: "bad_instant",
    Kind.DAY: "bad_day",
}
MAX_ID_LENGTH = 128
BLANKS = "' \t\r\n\u00a0\u3000\ufeff'"
# Sales systems write 0001-01-01 or 1899-12-30 for "no date"; no record of a customer is older than this.
EARLIEST = "TIMESTAMP '1900-01-02'"
OFFSET = r"'\d:\d{2}.*(Z|z|[+-]\d{2}(:?\d{2})?)$'"
TRUE = "('true', 't', 'yes', 'y', '1', '1.0')"
FALSE = "('false', 'f', 'no', 'n', '0', '0.0')"
# Which value families a kind can be read from; anything else is a changed type.
READABLE: Mapping[Kind, frozenset[str]] = {
    Kind.ID: frozenset({"text", "integer", "float", "other"}),
    Kind.TEXT: frozenset({"text", "integer", "float", "flag", "other"}),
    Kind.NUMBER: frozenset({"text", "integer", "float"}),
    Kind.FLAG: frozenset({"text", "integer", "float", "flag"}),
    Kind.INSTANT: frozenset({"text", "instant", "zoned", "day"}),
    Kind.DAY: frozenset({"text", "instant", "zoned", "day"}),
}


@dataclass(frozen=True, slots=True)
class Cleaned:
    """SQL of one contract column.

    ``value`` is NULL where the value is missing or unreadable, ``fault`` is true where something stands there
    that cannot be read, ``changes`` are true where a value was changed to be usable (a correction of the row),
    ``converted`` where only its type was, ``naive`` where an instant has no zone of its own. They may refer to
    ``prepared`` columns of ``src``, computed before them level by level: what several of them need is computed once.
    """

    value: str
    fault: str = "false"
    changes: Mapping[str, str] = field(default_factory=dict)
    converted: str = "false"
    naive: str = "false"
    prepared: tuple[tuple[str, str], ...] = ()


def family(duckdb_type: str) -> str:
    """Return what a DuckDB type holds: text, integer, float, flag, day, instant, zoned or other."""
    if duckdb_type.startswith(("VARCHAR", "ENUM")):
        return "text"
    if duckdb_type.endswith("[]") or duckdb_type.startswith(("STRUCT", "MAP", "UNION", "BLOB", "INTERVAL")):
        return "nested"
    if duckdb_type.startswith("TIMESTAMP"):
        return "zoned" if duckdb_type.endswith("TIME ZONE") or "TZ" in duckdb_type else "instant"
    if duckdb_type.lstrip("U") in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"):
        return "integer"
    if duckdb_type in ("FLOAT", "DOUBLE") or duckdb_type.startswith("DECIMAL"):
        return "float"
    return {"BOOLEAN": "flag", "DATE": "day"}.get(duckdb_type, "other")


def clean(column: Column, mapped: Field, duckdb_type: str, zone: str | None, *, typed: bool) -> Cleaned:
    """Return the SQL for one mapped column; raise when its type cannot hold the kind."""
    if mapped.column is None:
        raw, kind = _constant(mapped), "text"
    else:
        raw, kind = f"src.{identifier(mapped.column)}", family(duckdb_type)
    readable = READABLE[column.kind] | ({"integer"} if mapped.format else frozenset())
    if kind not in readable:
        raise SourceError(
            f"column {mapped.column!r} holds {duckdb_type}, which cannot be read as {column.kind.value} "
            f"for {column.name}; map another column, or convert it in the file"
        )
    given = _Given(column.name, raw, kind, mapped, zone, typed)
    return CLEANERS[column.kind](given)


@dataclass(frozen=True, slots=True)
class _Given:
    """A source column as it stands: its SQL, what family of values it holds, and how the mapping reads it."""

    name: str
    raw: str
    kind: str
    mapped: Field
    zone: str | None
    typed: bool

    @property
    def words(self) -> str:
        """The value as trimmed text, NULL when nothing is left: a prepared column."""
        return f"src.{identifier(f'perennial_words_{self.name}')}"

    @property
    def parsed(self) -> str:
        """The value as its cleaner reads it from the words: a prepared column of the level after them."""
        return f"src.{identifier(f'perennial_parsed_{self.name}')}"

    def prepare(self, parsed: str | None = None) -> tuple[tuple[str, str], ...]:
        """Return the prepared columns, level by level; ``parsed`` is the SQL of the second."""
        words = (f"perennial_words_{self.name}", f"nullif({_trimmed(f'{self.raw}::VARCHAR')}, '')")
        return (words,) if parsed is None else (words, (f"perennial_parsed_{self.name}", parsed))

    @property
    def retyped(self) -> str:
        """Where text or a whole number of a typed file is read as something else."""
        return f"{self.raw} IS NOT NULL" if self.typed and self.kind in ("text", "integer") else "false"


def _trimmed(text: str) -> str:
    """Trim only what may need it: DuckDB's trim of these blanks costs ten times as much as looking."""
    may_need = f"{text} < '!' OR ({text})[-1] < '!' OR strlen({text}) <> length({text})"
    return f"CASE WHEN {may_need} THEN trim({text}, {BLANKS}) ELSE {text} END"


def _constant(mapped: Field) -> str:
    value = mapped.constant
    return literal(str(value).lower() if isinstance(value, bool) else str(value))


def _id(given: _Given) -> Cleaned:
    """Ids are text: leading zeros stay, whole numbers stored as floats lose their ``.0``."""
    raw = given.raw
    if given.kind == "integer":
        return Cleaned(f"{raw}::VARCHAR", converted=f"{raw} IS NOT NULL")
    if given.kind == "float":
        number = f"{raw}::DOUBLE"
        whole = f"{number} = trunc({number}) AND abs({number}) < 1e15"
        value = f"CASE WHEN isnan({number}) THEN NULL WHEN {whole} THEN {raw}::BIGINT::VARCHAR ELSE {raw}::VARCHAR END"
        return Cleaned(value, fault=f"isinf({number})", converted=f"{raw} IS NOT NULL")
    text = _text(given)
    float_like = f"regexp_full_match({text.value}, '\\d+\\.0+')"
    return Cleaned(
        value=f"CASE WHEN {float_like} THEN split_part({text.value}, '.', 1) ELSE {text.value} END",
        fault=f"length({text.value}) > {MAX_ID_LENGTH} OR regexp_matches({text.value}, '\\p{{Cc}}')",
        changes=text.changes,
        converted=float_like if given.kind == "text" else text.converted,
        prepared=text.prepared,
    )


def _text(given: _Given) -> Cleaned:
    if given.kind != "text":
        return Cleaned(f"{given.raw}::VARCHAR", converted=f"{given.raw} IS NOT NULL")
    return Cleaned(
        value=given.parsed,
        changes={
            "trimmed": f"{given.words} <> {given.raw}::VARCHAR",
            "unicode_form": f"{given.parsed} <> {given.words}",
        },
        prepared=given.prepare(f"nfc_normalize({given.words})"),
    )


def _number(given: _Given) -> Cleaned:
    if given.kind != "text":
        finite = f"CASE WHEN isfinite({given.raw}::DOUBLE) THEN {given.raw}::DOUBLE END"
        return Cleaned(finite, fault=f"{given.raw} IS NOT NULL AND ({finite}) IS NULL")
    plain = given.words
    if given.mapped.decimal == ",":
        plain = f"replace(regexp_replace({plain}, '[.\\s\u00a0\u202f'']', '', 'g'), ',', '.')"
    finite = f"CASE WHEN isfinite({given.parsed}) THEN {given.parsed} END"
    return Cleaned(
        value=finite,
        fault=f"{given.words} IS NOT NULL AND ({finite}) IS NULL",
        converted=given.retyped,
        prepared=given.prepare(f"try_cast({plain} AS DOUBLE)"),
    )


def _flag(given: _Given) -> Cleaned:
    if given.kind == "flag":
        return Cleaned(given.raw)
    word = f"lower({given.words})"
    return Cleaned(
        value=given.parsed,
        fault=f"{given.words} IS NOT NULL AND {given.parsed} IS NULL",
        converted=given.retyped,
        prepared=given.prepare(f"CASE WHEN {word} IN {TRUE} THEN true WHEN {word} IN {FALSE} THEN false END"),
    )


def _wall_clock(naive: str, zone: str | None) -> str:
    """Naive wall-clock time in a zone to naive UTC; without a zone the reader refuses such rows."""
    if zone is None or zone == "UTC":
        return naive
    return f"({naive} AT TIME ZONE {literal(zone)}) AT TIME ZONE 'UTC'"


def _instant(given: _Given) -> Cleaned:
    """Keep instants that exist and that a business can mean; everything else is a fault."""
    kept = f"CASE WHEN isfinite({given.parsed}) AND {given.parsed} >= {EARLIEST} THEN {given.parsed} END"
    typed = given.kind in ("zoned", "instant", "day")
    parsed, naive = _moment(given)
    return Cleaned(
        value=kept,
        fault=f"{given.raw if typed else given.words} IS NOT NULL AND ({kept}) IS NULL",
        converted="false" if typed else given.retyped,
        naive=naive,
        prepared=given.prepare(parsed),
    )


def _moment(given: _Given) -> tuple[str, str]:
    """Return the SQL of an instant as naive UTC, and where it has no zone of its own."""
    raw, zone, word, format_ = given.raw, given.zone, given.words, given.mapped.format
    if given.kind == "zoned":
        return f"{raw}::TIMESTAMPTZ AT TIME ZONE 'UTC'", "false"
    if given.kind in ("instant", "day"):
        finite = f"CASE WHEN isfinite({raw}::TIMESTAMP) THEN {raw}::TIMESTAMP END"
        return _wall_clock(finite, zone), f"{raw} IS NOT NULL"
    if format_ and "%z" in format_:
        return f"try_strptime({word}, {literal(format_)}) AT TIME ZONE 'UTC'", "false"
    if format_:
        return _wall_clock(f"try_strptime({word}, {literal(format_)})", zone), f"{word} IS NOT NULL"
    has_offset = f"regexp_matches({word}, {OFFSET})"
    naive = _wall_clock(f"try_cast({word} AS TIMESTAMP)", zone)
    moment = f"CASE WHEN {has_offset} THEN try_cast({word} AS TIMESTAMPTZ) AT TIME ZONE 'UTC' ELSE {naive} END"
    return moment, f"NOT {has_offset}"


def _day(given: _Given) -> Cleaned:
    word = given.words if given.kind in ("text", "integer") else given.raw
    if given.mapped.format:
        day = f"try_strptime({given.words}, {literal(given.mapped.format)})::DATE"
    else:
        day = f"try_cast({word} AS TIMESTAMP)::DATE"
    return Cleaned(
        value=given.parsed,
        fault=f"{word} IS NOT NULL AND {given.parsed} IS NULL",
        converted=given.retyped,
        prepared=given.prepare(day),
    )


CLEANERS: Mapping[Kind, Callable[[_Given], Cleaned]] = {
    Kind.ID: _id,
    Kind.TEXT: _text,
    Kind.NUMBER: _number,
    Kind.FLAG: _flag,
    Kind.INSTANT: _instant,
    Kind.DAY: _day,
}
