"""Validated records in one engine, and the instant they are looked at from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Literal
from zoneinfo import ZoneInfo

import ibis
import pandas as pd
import pyarrow as pa

from features.contract import CUSTOMERS
from features.links import NO_LINKS, Links
from perennial.errors import SourceError

# Beyond these an instant is a slip, and arithmetic on it leaves the calendar.
YEARS = range(1900, 2201)
QUARANTINE_COLUMNS = ("table", "file", "row", "reason", "original")


@dataclass(frozen=True, slots=True)
class AsOf:
    """An instant a snapshot describes: everything counted is strictly before it.

    ``day`` is its calendar day in the source's zone; the last whole day before it is ``day - 1``.
    """

    instant: datetime
    day: date

    @classmethod
    def parse(cls, value: "str | date | datetime | AsOf", timezone: str) -> "AsOf":
        """Read an ISO day (its first instant in the zone) or instant (naive: on the zone's wall clock)."""
        if isinstance(value, AsOf):
            return value
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                raise SourceError(
                    f"as-of {value!r} is not a date; write it like 2017-10-01 or 2017-10-01T12:00:00+02:00"
                ) from None
        if not isinstance(value, datetime):
            value = datetime.combine(value, time.min)
        zone = ZoneInfo(timezone)
        if value.year not in YEARS:
            raise SourceError(f"as-of {value.date()} lies outside the years {YEARS[0]} to {YEARS[-1]}")
        local = value.replace(tzinfo=zone) if value.tzinfo is None else value.astimezone(zone)
        return cls(local.astimezone(UTC), local.date())

    @property
    def naive_utc(self) -> datetime:
        """The instant as canonical tables hold it: UTC without a zone mark."""
        return self.instant.replace(tzinfo=None)

    def earlier(self, days: int, timezone: str) -> "AsOf":
        """Return the first instant of the day ``days`` calendar days before this one's."""
        return AsOf.parse(self.day - timedelta(days=days), timezone)


@dataclass(frozen=True, slots=True)
class Economics:
    """What money means in a source. ``margin_rate`` is None when the business did not say.

    ``margin_rate_by_category`` gives lines that name no margin of their own the one of their category.
    """

    margin_rate: float | None = None
    discount_rate_per_year: float = 0.10
    margin_rate_by_category: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def clv_basis(self) -> Literal["margin", "revenue"]:
        """Whether values are margin or, for want of a margin, revenue."""
        return "revenue" if self.margin_rate is None else "margin"


@dataclass(frozen=True, slots=True)
class InputReport:
    """How one file or frame was read.

    ``encoding`` and ``delimiter`` are None where the file itself says its types (Parquet) and for frames. ``missing``
    counts empty values by mapped contract column, ``unused`` are columns nobody asked for, ``identical`` counts rows
    that repeat another row in every column.
    """

    file: str
    rows: int
    encoding: str | None
    delimiter: str | None
    missing: Mapping[str, int]
    unused: tuple[str, ...]
    identical: int


@dataclass(frozen=True, slots=True)
class TableReport:
    """What became of one table's input rows; ``accepted + corrected + quarantined == rows``.

    A corrected row was changed and kept. ``corrections`` counts corrected and ``reasons`` quarantined rows, each
    row once; ``conversions`` counts type conversions by column, ``notes`` are remarks that change no row.
    """

    table: str
    rows: int
    accepted: int
    corrected: int
    quarantined: int
    corrections: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    reasons: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    conversions: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()
    inputs: tuple[InputReport, ...] = ()


@dataclass(frozen=True)
class Records:
    """Canonical tables (every contract table is there, empty when the source has none) and their facts.

    ``customers`` has a column of text for each attribute of the business's own behind the contract's columns.
    ``links`` are the rows of ``identities`` made ready to be followed. ``fairness`` names columns of ``customers`` by
    whose words models are judged, and which none may read. ``few`` are the rows of the tables that have
    some, where they are few and at hand.
    """

    tables: Mapping[str, ibis.Table]
    timezone: str
    currency: str
    economics: Economics = Economics()
    consent_default: Literal["allow", "refuse"] = "refuse"
    name: str = "records"
    reports: tuple[TableReport, ...] = ()
    links: Links = NO_LINKS
    fairness: tuple[str, ...] = ()
    quarantined: ibis.Table | None = None
    few: Mapping[str, pa.Table] | None = None

    @cached_property
    def quarantine(self) -> pd.DataFrame:
        """The rows left out, each with table, file, row number, reason and its content as JSON: all in memory.

        They may be many; ``quarantined`` is the same as a table to be asked for less.
        """
        if self.quarantined is None:
            return pd.DataFrame(columns=list(QUARANTINE_COLUMNS))
        frame: pd.DataFrame = self.quarantined.order_by("input", "row").drop("input").to_pyarrow().to_pandas()
        return frame

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the business's own columns of ``customers``: text, read as it stands."""
        return tuple(name for name in self.tables["customers"].columns if name not in CUSTOMERS.schema)

    def as_of(self, value: str | date | datetime | AsOf | None = None) -> AsOf:
        """Read an instant in the source's zone; None is the day after the last order."""
        if value is not None:
            chosen = AsOf.parse(value, self.timezone)
            if chosen.instant > datetime.now(UTC) + timedelta(days=1):
                raise SourceError(f"as-of {chosen.day} lies in the future: nothing is known of the days before it yet")
            return chosen
        last = self.tables["orders"].local_at.max().to_pyarrow().as_py()
        if last is None:
            raise SourceError(f"{self.name}: no usable order, so no day to describe; see `perennial check`")
        return AsOf.parse(last.date() + timedelta(days=1), self.timezone)
