"""The tables a business's records are read into: every column, its type and its meaning.

Canonical instants are UTC without a zone mark; ``local_at`` is the same instant on the wall clock
of the source's zone, which is what calendar days, weekends and hours are counted in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType

import ibis


class Kind(StrEnum):
    """What a contract column holds."""

    ID = "id"
    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    INSTANT = "instant"
    DAY = "day"


IBIS_TYPES: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.ID: "string",
        Kind.TEXT: "string",
        Kind.NUMBER: "float64",
        Kind.FLAG: "boolean",
        Kind.INSTANT: "timestamp(6)",
        Kind.DAY: "date",
    }
)


@dataclass(frozen=True, slots=True)
class Column:
    """One contract column. ``derived`` columns are filled by the reader and cannot be mapped."""

    name: str
    kind: Kind
    meaning: str
    required: bool = False
    derived: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One contract table; ``instant`` names the column that says when a row happened."""

    name: str
    columns: tuple[Column, ...]
    instant: str | None

    @property
    def schema(self) -> ibis.Schema:
        """Ibis schema of the canonical table."""
        return _schema(self.columns)

    @property
    def mappable(self) -> tuple[str, ...]:
        """Names a source file may map, in order."""
        return tuple(column.name for column in self.columns if not column.derived)


@cache
def _schema(columns: tuple[Column, ...]) -> ibis.Schema:
    return ibis.schema({column.name: IBIS_TYPES[column.kind] for column in columns})


def _event_columns(instant: str) -> tuple[Column, ...]:
    return (
        Column("customer_id", Kind.ID, "whose record this is", required=True),
        Column(instant, Kind.INSTANT, "when it happened", required=True),
        Column("known_at", Kind.INSTANT, f"when it became known; {instant} unless mapped"),
    )


def _local(instant: str) -> Column:
    return Column("local_at", Kind.INSTANT, f"{instant} on the wall clock of the source's zone", derived=True)


ORDERS = Table(
    "orders",
    (
        *_event_columns("ordered_at"),
        Column(
            "order_id", Kind.ID, "lines that share it and the customer are one order; customer + instant unless mapped"
        ),
        Column("line_id", Kind.ID, "identifies a line; only when mapped can a line be a duplicate"),
        Column("amount", Kind.NUMBER, "net value of the line in the source's currency, negative for returns"),
        Column("quantity", Kind.NUMBER, "units; negative for returns"),
        Column("unit_price", Kind.NUMBER, "price of one unit"),
        Column("discount", Kind.NUMBER, "money taken off the line, at least 0; amount is after it"),
        Column("product_id", Kind.ID, "what was bought"),
        Column("category", Kind.TEXT, "the product's category"),
        Column("channel", Kind.TEXT, "where it was bought"),
        Column("currency", Kind.TEXT, "ISO 4217 code; the source's unless mapped"),
        Column("margin", Kind.NUMBER, "contribution of the line in the source's currency"),
        Column(
            "is_return", Kind.FLAG, "a return or cancellation: netted against spend, never a purchase", derived=True
        ),
        _local("ordered_at"),
    ),
    instant="ordered_at",
)

CUSTOMERS = Table(
    "customers",
    (
        Column("customer_id", Kind.ID, "who", required=True),
        Column("created_at", Kind.INSTANT, "when the customer became known to the business"),
        Column("name", Kind.TEXT, "personal name"),
        Column("email", Kind.TEXT, "e-mail address"),
        Column("phone", Kind.TEXT, "phone number"),
        Column("language", Kind.TEXT, "preferred language, BCP 47"),
        Column("timezone", Kind.TEXT, "IANA zone; the source's unless mapped"),
        Column("birthday", Kind.DAY, "date of birth"),
        Column("referred_by", Kind.ID, "customer who recommended this one"),
        Column("acquisition_channel", Kind.TEXT, "where the customer came from"),
        Column("region", Kind.TEXT, "where the customer lives"),
        Column("margin_rate", Kind.NUMBER, "share of revenue kept, 0 to 1"),
    ),
    instant=None,
)

INTERACTIONS = Table(
    "interactions",
    (
        *_event_columns("occurred_at"),
        Column("interaction_id", Kind.ID, "identifies the interaction"),
        Column("kind", Kind.TEXT, "one of INTERACTION_KINDS", required=True),
        Column("channel", Kind.TEXT, "where it happened"),
        Column("value", Kind.NUMBER, "score of satisfaction (1 to 5) or nps (0 to 10)"),
        _local("occurred_at"),
    ),
    instant="occurred_at",
)

OFFERS = Table(
    "offers",
    (
        *_event_columns("occurred_at"),
        Column("offer_id", Kind.ID, "identifies the offer"),
        Column("action_id", Kind.ID, "catalogue item that was sent", required=True),
        Column("channel", Kind.TEXT, "how it was sent"),
        Column("propensity", Kind.NUMBER, "probability with which the policy chose it, over 0 to 1"),
        Column("control", Kind.FLAG, "held out: nothing was sent"),
        _local("occurred_at"),
    ),
    instant="occurred_at",
)

OUTCOMES = Table(
    "outcomes",
    (
        *_event_columns("occurred_at"),
        Column("offer_id", Kind.ID, "offer it answers"),
        Column("kind", Kind.TEXT, "what followed: redeemed, clicked, bought, complained, unsubscribed", required=True),
        Column("amount", Kind.NUMBER, "money that came with it, in the source's currency"),
        _local("occurred_at"),
    ),
    instant="occurred_at",
)

CONSENTS = Table(
    "consents",
    (
        *_event_columns("occurred_at"),
        Column("channel", Kind.TEXT, "channel it is about; every channel when missing"),
        Column("purpose", Kind.TEXT, "marketing or service; marketing when missing"),
        Column("granted", Kind.FLAG, "given (true) or withdrawn (false)", required=True),
        _local("occurred_at"),
    ),
    instant="occurred_at",
)

IDENTITIES = Table(
    "identities",
    (
        Column("customer_id", Kind.ID, "id as it stands in a source", required=True),
        Column("master_id", Kind.ID, "the one id of the person", required=True),
        Column("known_at", Kind.INSTANT, "when the link became known"),
    ),
    instant=None,
)

TABLES: Mapping[str, Table] = MappingProxyType(
    {table.name: table for table in (ORDERS, CUSTOMERS, INTERACTIONS, OFFERS, OUTCOMES, CONSENTS, IDENTITIES)}
)

INTERACTION_KINDS = (
    "visit",
    "open",
    "click",
    "complaint_opened",
    "complaint_closed",
    "satisfaction",
    "nps",
    "referral",
)
CONTACT_CHANNELS = ("email", "sms", "phone", "app", "mail", "social")
