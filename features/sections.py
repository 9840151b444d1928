"""One section of a source file: where the rows of one table stand, and which column holds what."""

import codecs
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from features import toml_values as values
from features.catalogue import FEATURES
from features.contract import TABLES, Column, Kind, Table
from features.toml_values import suggestion
from perennial.errors import SourceError

SECTION_KEYS = ("path", "encoding", "url", "table")
FIELD_KEYS = ("column", "constant", "format", "timezone", "decimal")
KINDS_OF_KEY = {
    "format": (Kind.INSTANT, Kind.DAY),
    "timezone": (Kind.INSTANT,),
    "decimal": (Kind.NUMBER,),
}
# Below this likeness an unknown key under [customers] is the business's own attribute, above it a slip of the pen.
SLIP_LIKENESS = 0.75
# What the program itself says of a customer beside the features; an attribute of the business's own needs another name.
TAKEN = (
    *("as_of", "favourite_category", "favourite_channel", "consented_channels", "last_offer_at", "last_action_id"),
    *("first_order_at", "last_order_at"),
)


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

    ``where`` is how messages name it. Its rows stand in files (``path``) or in a table of a database (``url`` and
    ``relation``; the address may hold a password, so it is not shown). ``attributes`` are the names of the business's
    own columns under ``[customers]``, mapped in ``fields`` like the others. ``encoding`` is None unless the mapping
    says one.
    """

    table: str
    where: str
    fields: Mapping[str, Field]
    path: str = ""
    url: str = field(default="", repr=False)
    relation: str = ""
    attributes: tuple[str, ...] = ()
    cancelled_prefix: str | None = None
    encoding: str | None = None

    @property
    def contract(self) -> Table:
        """The contract's table with the attributes as further columns of text."""
        return with_attributes(TABLES[self.table], self.attributes)


def with_attributes(table: Table, attributes: Iterable[str]) -> Table:
    """Return a table with a column of text for each attribute of the business's own."""
    own = tuple(Column(name, Kind.TEXT, "attribute of the business's own") for name in attributes)
    return replace(table, columns=(*table.columns, *own))


def parse_sections(path: Path, name: str, given: object) -> list[Section]:
    """Read ``[table]`` or every ``[[table]]`` of one name."""
    if isinstance(given, list):
        return [
            _section(TABLES[name], f"{path}: [[{name}]] number {position}", entry)
            for position, entry in enumerate(given, 1)
        ]
    return [_section(TABLES[name], f"{path}: [{name}]", given)]


def _section(table: Table, where: str, given: object) -> Section:
    content = dict(values.mapping(given, where))
    _require_place(table, content, where)
    attributes = _attributes(table, content, where)
    own_keys = (*SECTION_KEYS, *(("cancelled_prefix",) if table.name == "orders" else ()))
    values.known(content, (*own_keys, *table.mappable, *attributes), where)
    texts = {key: values.text(content[key], f"{where}: {key}") for key in own_keys if key in content}
    columns = with_attributes(table, attributes).columns
    fields = {
        column.name: _field(content[column.name], column.kind, f"{where}: {column.name}")
        for column in columns
        if column.name in content and not column.derived
    }
    require(table, fields, where)
    if "cancelled_prefix" in texts and "order_id" not in fields:
        raise SourceError(f"{where}: cancelled_prefix marks order ids, so order_id must be mapped too")
    return Section(
        table=table.name,
        where=where,
        fields=MappingProxyType(fields),
        path=texts.get("path", ""),
        url=texts.get("url", ""),
        relation=texts.get("table", ""),
        attributes=attributes,
        cancelled_prefix=texts.get("cancelled_prefix"),
        encoding=_encoding(texts["encoding"], where) if "encoding" in texts else None,
    )


def _require_place(table: Table, content: Mapping[str, Any], where: str) -> None:
    """Raise unless a section says where its rows stand: in files, or in one table of a database."""
    if "path" in content and ("url" in content or "table" in content):
        raise SourceError(f"{where}: give path (files) or url and table (a database), not both")
    if "path" in content:
        return
    if "url" not in content and "table" not in content:
        raise SourceError(
            f'{where}: path is missing; it names the file with the rows, like path = "{table.name}.csv" '
            "(or url and table, for rows in PostgreSQL)"
        )
    for key, example in (("url", "postgresql://user:${PGPASSWORD}@host/database"), ("table", f"public.{table.name}")):
        if key not in content:
            raise SourceError(f'{where}: {key} is missing; a database is read with url and table, {key} = "{example}"')
    if "encoding" in content:
        raise SourceError(f"{where}: encoding does not apply to a database; leave it out")


def _attributes(table: Table, content: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Keys under ``[customers]`` that are attributes of the business's own and not a slip of the pen."""
    if table.name != "customers":
        return ()
    allowed = (*SECTION_KEYS, *table.mappable)
    own = tuple(
        key
        for key in content
        if key not in allowed and not difflib.get_close_matches(key, allowed, n=1, cutoff=SLIP_LIKENESS)
    )
    for name in own:
        if name in TAKEN or name in FEATURES:
            raise SourceError(f"{where}: {name}: Perennial computes this itself; name your attribute otherwise")
        if sum(name.casefold() == other.casefold() for other in own) > 1:
            raise SourceError(f"{where}: {name}: two attributes are named alike; capitals do not tell them apart")
    return own


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
        return Field(column=values.text(given, where))
    if not isinstance(given, dict):
        raise SourceError(f"{where} = {given!r}: name a column in quotes, or write {{ constant = {given!r} }}")
    values.known(given, FIELD_KEYS, where)
    for key in given:
        if kind not in KINDS_OF_KEY.get(key, (kind,)):
            raise SourceError(f"{where}: {key} does not apply to a column of kind {kind.value}; leave it out")
    if ("column" in given) == ("constant" in given):
        raise SourceError(f"{where}: give either column or constant")
    decimal = given.get("decimal", ".")
    if decimal not in (".", ","):
        raise SourceError(f"{where}: decimal = {decimal!r} must be '.' or ','")
    return Field(
        column=values.text(given["column"], f"{where}: column") if "column" in given else None,
        constant=_constant(given.get("constant"), where),
        format=values.text(given["format"], f"{where}: format") if "format" in given else None,
        timezone=values.zone(given.get("timezone"), f"{where}: timezone"),
        decimal=cast("Literal['.', ',']", decimal),
    )


def _constant(value: object, where: str) -> str | float | bool | None:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise SourceError(f"{where}: constant = {value!r} must be one text, number, date, true or false")


def _encoding(name: str, where: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise SourceError(f"{where}: encoding = {name!r} is not known; try 'utf-8', 'gb18030' or 'cp1252'") from None
