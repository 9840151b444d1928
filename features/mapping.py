"""The source file: a TOML that says where each contract column stands in a business's own files."""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from features import toml_values as values
from features.contract import CUSTOMERS, TABLES, Kind
from features.records import Economics
from features.sections import Section, parse_sections
from features.toml_values import suggestion
from perennial.errors import SourceError

ConsentDefault = Literal["allow", "refuse"]
BY_CATEGORY = "margin_rate_by_category"
TOP_KEYS = ("name", "currency", "timezone", "consent_default", "economics", "rates", "fairness")
# Words that many customers share; a name or an address is one customer's.
GROUPING = tuple(
    column.name
    for column in CUSTOMERS.columns
    if column.kind is Kind.TEXT and column.name not in ("name", "email", "phone")
)


@dataclass(frozen=True, slots=True)
class Source:
    """A source file, parsed and checked; the records it names are not opened yet.

    ``fairness`` names the customers' attributes by which a churn model is judged; no model reads them.
    """

    path: Path
    currency: str
    timezone: str | None = None
    name: str = "records"
    consent_default: ConsentDefault = "refuse"
    economics: Economics = field(default_factory=Economics)
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    sections: tuple[Section, ...] = ()
    fairness: tuple[str, ...] = ()

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

    def attributes(self, table: str) -> tuple[str, ...]:
        """Return the attributes of the business's own that the sections of a table map, each once."""
        return tuple(
            dict.fromkeys(name for section in self.sections if section.table == table for name in section.attributes)
        )


def _matching(pattern: Path) -> Iterable[Path]:
    """Return what a pattern matches; everything before its first part with a sign is a plain folder."""
    parts = pattern.parts
    first = next((i for i, part in enumerate(parts) if any(sign in part for sign in "*?[")), None)
    return [] if first is None else Path(*parts[:first]).glob(str(Path(*parts[first:])))


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
    values.known(content, (*TOP_KEYS, *TABLES), f"{path}")
    sections = tuple(
        section for name in TABLES if name in content for section in parse_sections(path, name, content[name])
    )
    if not any(section.table == "orders" for section in sections):
        raise SourceError(f"{path}: no [orders] section; it names the file of orders and its columns")
    return Source(
        path=path,
        currency=_currency(path, content),
        timezone=values.zone(content.get("timezone"), f"{path}: timezone"),
        name=values.text(content.get("name", path.stem), f"{path}: name"),
        consent_default=_consent_default(path, content),
        economics=_economics(path, content.get("economics", {})),
        rates=_rates(path, content),
        sections=sections,
        fairness=_fairness(path, content.get("fairness", {}), sections),
    )


def _currency(path: Path, content: Mapping[str, Any]) -> str:
    if "currency" not in content:
        raise SourceError(f'{path}: currency is missing; write the code the amounts are in, like currency = "EUR"')
    return values.checked_currency(values.text(content["currency"], f"{path}: currency"), f"{path}: currency")


def _consent_default(path: Path, content: Mapping[str, Any]) -> ConsentDefault:
    value = content.get("consent_default", "refuse")
    if value not in ("allow", "refuse"):
        raise SourceError(f"{path}: consent_default = {value!r} must be 'allow' or 'refuse'")
    return cast("ConsentDefault", value)


def _economics(path: Path, given: object) -> Economics:
    where = f"{path}: [economics]"
    content = values.mapping(given, where)
    values.known(content, [each.name for each in fields(Economics)], where)
    numbers = {key: value for key, value in content.items() if key != BY_CATEGORY}
    return Economics(
        **{key: values.number(value, f"{where} {key}", 0, 1) for key, value in numbers.items()},
        margin_rate_by_category=_by_category(content.get(BY_CATEGORY, {}), f"{path}: [economics.{BY_CATEGORY}]"),
    )


def _by_category(given: object, where: str) -> Mapping[str, float]:
    rates = {name: values.number(rate, f"{where} {name}", 0, 1) for name, rate in values.mapping(given, where).items()}
    return MappingProxyType(rates)


def _rates(path: Path, content: Mapping[str, Any]) -> Mapping[str, float]:
    """Read ``CODE = value of one unit in the source's currency``."""
    where = f"{path}: [rates]"
    rates = {
        values.checked_currency(code, f"{where} key"): values.number(rate, f"{where} {code}", 0, math.inf)
        for code, rate in values.mapping(content.get("rates", {}), where).items()
    }
    own = _currency(path, content)
    for code, rate in rates.items():
        if code == own:
            raise SourceError(f"{where} {code}: the source is in {own} itself; name other currencies only")
        if not 0 < rate < math.inf:
            raise SourceError(f"{where} {code} = {rate!r} must be above 0: what one {code} is worth")
    return MappingProxyType(rates)


def _fairness(path: Path, given: object, sections: Iterable[Section]) -> tuple[str, ...]:
    """Read the attributes that groups of customers are told by; each must be mapped."""
    where = f"{path}: [fairness]"
    content = values.mapping(given, where)
    values.known(content, ("attributes",), where)
    named = content.get("attributes", [])
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise SourceError(f'{where} attributes = {named!r} must be a list of names, like attributes = ["region"]')
    customers = [section for section in sections if section.table == CUSTOMERS.name]
    usable = {
        name for section in customers for name in section.fields if name in GROUPING or name in section.attributes
    }
    for name in named:
        if name not in usable:
            listed = ", ".join(sorted(usable)) or "none"
            raise SourceError(
                f"{where} attributes: {name!r} is no attribute that [customers] maps; map it there, like "
                f'{name} = "your column", or leave it out here (mapped: {listed}){suggestion(name, usable)}'
            )
    return tuple(dict.fromkeys(named))
