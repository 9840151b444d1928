"""What decisions and a customer's page need to know, and models must not: who and where, consent, the last contact."""

from dataclasses import dataclass
from typing import Any

import ibis
import pandas as pd

from features import habits, offers
from features.contract import CONTACT_CHANNELS
from features.engine import fetch
from features.identities import as_known
from features.occasions import view
from features.online import few_rows, rows_of_few
from features.plan import rows_at
from features.records import AsOf, Records
from features.windows import micro, seen, total

READ = ("orders", "customers", "offers", "consents")
ATTRIBUTES = ("language", "timezone", "region", "birthday", "margin_rate")
INSTANTS = ("last_offer_at", "first_order_at", "last_order_at")
FACTS = ("favourite_category", "favourite_channel", "last_action_id", *INSTANTS)


def build_context(records: Records, as_of: AsOf) -> pd.DataFrame:
    """Return one row per customer of the snapshot at ``as_of``, sorted by customer_id.

    Columns: ``customer_id, language, timezone, region`` (str), ``birthday`` (date), ``margin_rate`` (0 to 1: the
    customer's, else what the lines of their purchases kept where they name a margin, else the source's),
    ``favourite_category`` (most spent on), ``favourite_channel`` (most orders), ``consented_channels`` (lists: those of
    CONTACT_CHANNELS open to marketing), ``last_offer_at``, ``last_action_id``, ``first_order_at``, ``last_order_at``
    (datetime64[us, UTC]), and the business's own attributes under their own names (str). What is not known is NaN, NaT
    or None.
    """
    few = None if records.attributes else few_rows(records, READ)
    build = _context_in_order
    rows = rows_at(records, as_of, build) if few is None else rows_of_few(few, as_of, build)
    return completed(rows.to_pandas(), Defaults.of(records))


def attributes_of(records: Records, as_of: AsOf, names: tuple[str, ...]) -> pd.DataFrame:
    """Return ``customer_id`` and columns of ``customers`` (str), one row per person known by ``as_of``.

    What is not known of a person is missing, who is not in ``customers`` is absent.
    """
    return fetch(_latest(as_known(records, as_of).tables["customers"], names))


@dataclass(frozen=True)
class Defaults:
    """What holds for a customer of whom the records do not say it."""

    timezone: str
    margin_rate: float | None
    consent: bool

    @classmethod
    def of(cls, records: Records) -> "Defaults":
        """Return what a source says of everyone."""
        return cls(records.timezone, records.economics.margin_rate, records.consent_default == "allow")


def completed(frame: pd.DataFrame, defaults: Defaults) -> pd.DataFrame:
    """Return the context of the customers in some rows of `context_expression`, wherever an engine computed them."""
    frame = frame.assign(timezone=frame["timezone"].fillna(defaults.timezone))
    margin_rate = frame["margin_rate"].astype("float64").clip(0.0, 1.0)
    frame["margin_rate"] = margin_rate if defaults.margin_rate is None else margin_rate.fillna(defaults.margin_rate)
    for name in INSTANTS:
        frame[name] = frame[name].dt.tz_localize("UTC")
    said = frame[[_said(channel) for channel in CONTACT_CHANNELS]].astype("boolean").fillna(defaults.consent)
    frame["consented_channels"] = [
        [channel for channel, open_ in zip(CONTACT_CHANNELS, row, strict=True) if open_]
        for row in said.to_numpy(dtype=bool).tolist()
    ]
    columns = ("favourite_category", "favourite_channel", "consented_channels", "last_offer_at", "last_action_id")
    known = {"customer_id", *ATTRIBUTES, *FACTS, *columns, *map(_said, CONTACT_CHANNELS)}
    own = [name for name in frame.columns if name not in known]
    return frame[["customer_id", *ATTRIBUTES, *columns, "first_order_at", "last_order_at", *own]]


def _context_in_order(records: Records, as_of: AsOf) -> ibis.Table:
    return context_expression(records, as_of).order_by("customer_id")


def context_expression(records: Records, as_of: AsOf) -> ibis.Table:
    """Return what the records themselves say: one row per customer who bought, with a flag per contact channel."""
    records, attributes = as_known(records, as_of), (*ATTRIBUTES, *records.attributes)
    log = view(records, as_of)
    bought = log.orders.filter(log.orders.lines_bought > 0)
    row = bought.group_by("customer_id").aggregate(
        first_order_at=bought.ordered_at.min(), last_order_at=bought.ordered_at.max()
    )
    sent = offers.received(log.offers)
    channels = habits.channel_orders(log.orders)
    parts = {
        "attributes": _latest(log.customers, attributes),
        "margins": _margins(records, as_of),
        "categories": _first(log.categories, ("category",), log.categories.gross.desc(), "category"),
        "channels": _first(channels, ("channel",), channels.orders.desc(), "channel"),
        "offers": _first(sent, ("action_id", "occurred_at"), sent.occurred_at.desc(), "action_id"),
        "consents": _consents(records, as_of),
    }
    for name, part in parts.items():
        row = row.left_join(part, "customer_id", rname=f"{{name}}_{name}")
    row = row.mutate(margin_rate=ibis.coalesce(row.margin_rate, row.own_margin_rate))
    return row.select(
        "customer_id",
        *attributes,
        *map(_said, CONTACT_CHANNELS),
        "first_order_at",
        "last_order_at",
        favourite_category=row.category,
        favourite_channel=row.channel,
        last_action_id=row.action_id,
        last_offer_at=row.occurred_at,
    )


def _latest(customers: ibis.Table, attributes: tuple[str, ...]) -> ibis.Table:
    """Return what is known of each person: of several ids of one, the word of the latest created that has one.

    An id without ``created_at`` counts as the earliest; of two created at one instant the greater word counts.
    """
    created = customers.created_at.cast("string").fill_null("")
    words = {name: customers[name] for name in attributes}
    latest = {
        name: word.argmax(created + " " + word.cast("string"), where=word.notnull())  # noqa: PD004 (Ibis)
        for name, word in words.items()
    }
    return customers.group_by("customer_id").aggregate(**latest)


def _margins(records: Records, as_of: AsOf) -> ibis.Table:
    """Return the share of revenue kept of each customer's purchases, over the lines that have a margin.

    Below 0 or above 1 where lines were sold at a loss or their margin is wrong.
    """
    lines = seen(records.tables["orders"], "ordered_at", as_of)
    lines = lines.filter(~lines.is_return, lines.margin.notnull(), lines.amount > 0)  # noqa: PD004 (Ibis)
    sums = lines.group_by("customer_id").aggregate(kept=total(micro(lines.margin)), gross=total(micro(lines.amount)))
    share = sums.kept.cast("float64") / sums.gross.cast("float64")
    return sums.select("customer_id", own_margin_rate=share)


def _first(table: ibis.Table, columns: tuple[str, ...], *order: Any) -> ibis.Table:
    """Return columns of each customer's first row; the order ends in what breaks ties, so the answer never varies."""
    rank = ibis.row_number().over(ibis.window(group_by="customer_id", order_by=order))
    return table.mutate(rank=rank).filter(lambda ranked: ranked.rank == 0).select("customer_id", *columns)


def _said(channel: str) -> str:
    return f"consent_{channel}"


def _consents(records: Records, as_of: AsOf) -> ibis.Table:
    """Return each customer's latest word on marketing through each channel; null where none was said.

    A consent without a channel is about every channel, one without a purpose about marketing; of two words at the
    same instant the refusal counts.
    """
    consents = seen(records.tables["consents"], "occurred_at", as_of)
    consents = consents.filter(consents.purpose.fill_null("marketing") == "marketing")
    channels = ibis.array(list(CONTACT_CHANNELS)).unnest().name("contact").as_table()
    about = consents.channel.fill_null(channels.contact) == channels.contact
    words = consents.join(channels, about)
    rank = ibis.row_number().over(
        group_by=("customer_id", "contact"), order_by=(words.occurred_at.desc(), words.granted.asc())
    )
    latest = words.mutate(rank=rank).filter(lambda ranked: ranked.rank == 0)
    return latest.group_by("customer_id").aggregate(
        **{_said(channel): latest.granted.any(where=latest.contact == channel) for channel in CONTACT_CHANNELS}
    )
