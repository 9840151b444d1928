"""The source file: a TOML that says where each contract column stands in a business's own files."""

import codecs
import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from features.contract import TABLES, Kind, Table
from features.records import Economics
from perennial.errors import SourceError

ConsentDefault = Literal["allow", "refuse"]
TOP_KEYS = ("name", "currency", "timezone", "consent_default", "economics", "rates")
SECTION_KEYS = ("path", "encoding")
FIELD_KEYS = ("column", "constant", "format", "timezone", "decimal")
KINDS_OF_KEY = {
    "format": (Kind.INSTANT, Kind.DAY),
    "timezone": (Kind.INSTANT,),
    "decimal": (Kind.NUMBER,),
}
# Below this likeness an unknown key under [customers] is the business's own attribute, above it a slip of the pen.
SLIP_LIKENESS = 0.75


@dataclass(frozen=True, slots=True)
class Field:
    """Where one contract column comes from: a source column, or one constant for every row."""

    column: str | None = None
    constant: str | float | bool | None = None
    format: str | None = None
    timezone: str | None = None
    decimal: Literal[".", ","] = "."


@dataclass(frozen=True, slots=True)
class Section:
    """One ``[table]`` (or one of several ``[[table]]``) of a source file.

    ``where`` is how messages name it; ``attributes`` are columns of the business's own under ``[customers]``.
    """

    table: str
    where: str
    path: str
    fields: Mapping[str, Field]
    attributes: tuple[str, ...] = ()
    cancelled_prefix: str | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Source:
    """A source file, parsed and checked; the records it names are not opened yet."""

    path: Path
    currency: str
    timezone: str | None = None
    name: str = "records"
    consent_default: ConsentDefault = "refuse"
    economics: Economics = field(default_factory=Economics)
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    sections: tuple[Section, ...] = ()

    def files(self, section: Section) -> list[Path]:
        """Return the section's files in name order; relative paths start at the source file's folder."""
        pattern = self.path.parent / section.path
        if pattern.is_file():
            return [pattern]
        found = sorted(file for file in _matching(pattern) if file.is_file())
        if pattern.is_dir():
            raise SourceError(f"{section.where}: path = {section.path!r} is a folder; write '{section.path}/*.parquet'")
        if not found:
            near = [file.name for file in pattern.parent.glob("*")] if pattern.parent.is_dir() else []
            raise SourceError(f"{section.where}: path = {section.path!r}: no such file{suggestion(pattern.name, near)}")
        return found


def _matching(pattern: Path) -> Iterable[Path]:
    """Return what a pattern matches; everything before its first part with a sign is a plain folder."""
    parts = pattern.parts
    first = next((i for i, part in enumerate(parts) if any(sign in part for sign in "*?[")), None)
    return [] if first is None else Path(*parts[:first]).glob(str(Path(*parts[first:])))


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """Return ``; did you mean …?`` for the nearest candidate, or nothing when none is near."""
    by_folded = {candidate.casefold().replace("_", ""): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.casefold().replace("_", ""), by_folded, n=1, cutoff=0.5)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""


def load_source(path: Path) -> Source:
    """Parse and check a source file; any fault is one line naming the file, the section and the key."""
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SourceError(f"{path}: no such source file; `perennial check --source FILE` takes its path") from None
    except IsADirectoryError:
        raise SourceError(f"{path} is a folder; name the source file in it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not a TOML file in UTF-8: {error}") from None
    _known(content, (*TOP_KEYS, *TABLES), f"{path}")
    sections = tuple(section for name in TABLES if name in content for section in _sections(path, name, content[name]))
    if not any(section.table == "orders" for section in sections):
        raise SourceError(f"{path}: no [orders] section; it names the file of orders and its columns")
    return Source(
        path=path,
        currency=_currency(path, content),
        timezone=_zone(content.get("timezone"), f"{path}: timezone"),
        name=_text(content.get("name", path.stem), f"{path}: name"),
        consent_default=_consent_default(path, content),
        economics=_economics(path, content.get("economics", {})),
        rates=_rates(path, content),
        sections=sections,
    )


def _known(given: Mapping[str, Any], allowed: Iterable[str], where: str) -> None:
    allowed = tuple(allowed)
    for key in given:
        if key not in allowed:
            raise SourceError(f"{where}: unknown key {key!r}{suggestion(key, allowed)} (keys: {', '.join(allowed)})")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SourceError(f"{where} = {value!r} must be a text in quotes")
    return value


def _number(value: object, where: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise SourceError(f"{where} = {value!r} must be a number from {low:g} to {high:g}")
    return float(value)


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise SourceError(f"{where} must be a section with keys, not {value!r}")
    return value


def _currency(path: Path, content: Mapping[str, Any]) -> str:
    if "currency" not in content:
        raise SourceError(f'{path}: currency is missing; write the code the amounts are in, like currency = "EUR"')
    value = _text(content["currency"], f"{path}: currency")
    return checked_currency(value, f"{path}: currency")


def checked_currency(value: str, where: str) -> str:
    """Return a three-letter currency code in capitals, or raise."""
    code = value.strip().upper()
    if not (len(code) == 3 and code.isascii() and code.isalpha()):
        raise SourceError(f"{where} = {value!r} is no currency code; write three letters, like 'EUR'")
    return code


def _zone(value: object, where: str) -> str | None:
    return None if value is None else checked_zone(_text(value, where), where)


def checked_zone(value: str, where: str) -> str:
    """Return an IANA zone name that exists, or raise with the nearest one."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        hint = suggestion(value, available_timezones())
        raise SourceError(f"{where} = {value!r} is no known zone{hint} (like 'Europe/London' or 'UTC')") from None
    return value


def _consent_default(path: Path, content: Mapping[str, Any]) -> ConsentDefault:
    value = content.get("consent_default", "refuse")
    if value not in ("allow", "refuse"):
        raise SourceError(f"{path}: consent_default = {value!r} must be 'allow' or 'refuse'")
    return cast("ConsentDefault", value)


def _economics(path: Path, given: object) -> Economics:
    where = f"{path}: [economics]"
    values = _mapping(given, where)
    _known(values, ("margin_rate", "discount_rate_per_year"), where)
    numbers = {key: _number(value, f"{where} {key}", 0, 1) for key, value in values.items()}
    return Economics(**numbers)


def _rates(path: Path, content: Mapping[str, Any]) -> Mapping[str, float]:
    """Read ``CODE = value of one unit in the source's currency``."""
    where = f"{path}: [rates]"
    rates = {
        checked_currency(code, f"{where} key"): _number(rate, f"{where} {code}", 0, math.inf)
        for code, rate in _mapping(content.get("rates", {}), where).items()
    }
    own = _currency(path, content)
    for code, rate in rates.items():
        if code == own:
            raise SourceError(f"{where} {code}: the source is in {own} itself; name other currencies only")
        if not 0 < rate < math.inf:
            raise SourceError(f"{where} {code} = {rate!r} must be above 0: what one {code} is worth")
    return MappingProxyType(rates)


def _sections(path: Path, name: str, given: object) -> list[Section]:
    if isinstance(given, list):
        return [
            _section(TABLES[name], f"{path}: [[{name}]] number {position}", entry)
            for position, entry in enumerate(given, 1)
        ]
    return [_section(TABLES[name], f"{path}: [{name}]", given)]


def _section(table: Table, where: str, given: object) -> Section:
    values = dict(_mapping(given, where))
    if "url" in values:
        raise SourceError(f"{where}: url: databases cannot be read yet; export to Parquet or CSV and give its path")
    if "path" not in values:
        raise SourceError(f'{where}: path is missing; it names the file with the rows, like path = "{table.name}.csv"')
    attributes = _attributes(table, values)
    own_keys = (*SECTION_KEYS, *(("cancelled_prefix",) if table.name == "orders" else ()))
    _known(values, (*own_keys, *table.mappable, *attributes), where)
    fields = {
        column.name: _field(values[column.name], column.kind, f"{where}: {column.name}")
        for column in table.columns
        if column.name in values and not column.derived
    }
    require(table, fields, where)
    if "cancelled_prefix" in values and "order_id" not in fields:
        raise SourceError(f"{where}: cancelled_prefix marks order ids, so order_id must be mapped too")
    return Section(
        table=table.name,
        where=where,
        path=_text(values["path"], f"{where}: path"),
        fields=MappingProxyType(fields),
        attributes=tuple(_text(values[key], f"{where}: {key}") for key in attributes),
        cancelled_prefix=_text(values["cancelled_prefix"], f"{where}: cancelled_prefix")
        if "cancelled_prefix" in values
        else None,
        encoding=_encoding(values.get("encoding", "utf-8"), where),
    )


def _attributes(table: Table, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys under ``[customers]`` that are attributes of the business's own and not a slip of the pen."""
    if table.name != "customers":
        return ()
    known = (*SECTION_KEYS, *table.mappable)
    return tuple(
        key
        for key in values
        if key not in known and not difflib.get_close_matches(key, known, n=1, cutoff=SLIP_LIKENESS)
    )


def require(table: Table, fields: Mapping[str, Field], where: str, columns: Iterable[str] = ()) -> None:
    """Raise unless every required contract column is mapped; ``columns`` are where a near name is sought."""
    for column in table.columns:
        if column.required and column.name not in fields:
            hint = suggestion(column.name, columns) or f"; say which column holds it ({column.meaning})"
            raise SourceError(f"{where}: {column.name} is missing{hint}")
    if table.name == "orders" and "amount" not in fields and not {"quantity", "unit_price"} <= fields.keys():
        raise SourceError(f"{where}: map amount, or both quantity and unit_price")


def _field(given: object, kind: Kind, where: str) -> Field:
    if isinstance(given, str):
        return Field(column=_text(given, where))
    if not isinstance(given, dict):
        raise SourceError(f"{where} = {given!r}: name a column in quotes, or write {{ constant = {given!r} }}")
    _known(given, FIELD_KEYS, where)
    for key in given:
        if kind not in KINDS_OF_KEY.get(key, (kind,)):
            raise SourceError(f"{where}: {key} does not apply to a column of kind {kind.value}; leave it out")
    if ("column" in given) == ("constant" in given):
        raise SourceError(f"{where}: give either column or constant")
    decimal = given.get("decimal", ".")
    if decimal not in (".", ","):
        raise SourceError(f"{where}: decimal = {decimal!r} must be '.' or ','")
    return Field(
        column=_text(given["column"], f"{where}: column") if "column" in given else None,
        constant=_constant(given.get("constant"), where),
        format=_text(given["format"], f"{where}: format") if "format" in given else None,
        timezone=_zone(given.get("timezone"), f"{where}: timezone"),
        decimal=cast("Literal['.', ',']", decimal),
    )


def _constant(value: object, where: str) -> str | float | bool | None:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise SourceError(f"{where}: constant = {value!r} must be one text, number, date, true or false")


def _encoding(value: object, where: str) -> str:
    name = _text(value, f"{where}: encoding")
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise SourceError(f"{where}: encoding = {name!r} is not known; try 'utf-8', 'gb18030' or 'cp1252'") from None
