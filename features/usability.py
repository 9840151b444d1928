"""The facts of a check: how usable the records are, why the rest is not, and what to do about it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from features.mapping import Source
from features.records import Records, TableReport
from features.suspicions import Suspicion, suspicions

MEANINGS = {
    "missing_customer": "no customer id",
    "missing_instant": "no date",
    "missing_amount": "no amount, and no quantity × unit price",
    "bad_id": "id over 128 characters or with control characters",
    "bad_instant": "date that cannot be read, or before 1900",
    "bad_day": "day that cannot be read",
    "bad_number": "number that cannot be read, not-a-number or infinite",
    "bad_flag": "neither yes nor no",
    "too_large": "amount, quantity or discount beyond 1e12",
    "clock_skew": "more than 24 hours in the future",
    "duplicate_line": "line_id seen before, same content",
    "conflicting_line": "line_id used for different lines",
    "conflicting_master": "a second master for an id that has one, or two at one instant",
    "cyclic_link": "link that would lead an id back to itself",
    "duplicate_link": "link that is there already",
    "superseded_customer": "a later row of the same customer counts",
    "unknown_kind": "kind is not in the contract",
    "unknown_channel": "consent for a channel that does not exist",
    "out_of_range": "number outside its bounds",
    "malformed_line": "line without the header's columns",
    "trimmed": "blanks around a value removed",
    "unicode_form": "letters brought to one Unicode form (NFC)",
    "lower_case": "capitals in a code lowered",
    "return_sign": "positive amount of a return made negative",
    "discount_sign": "negative discount made positive",
    "unknown_timezone": "unknown zone replaced by the source's",
    "withdrawn_everywhere": "refusal for an unknown channel kept for every channel",
}

REMEDIES = {
    "missing_customer": "Guest sales cannot be scored. If a card, phone or e-mail tells who it was, fill the id in.",
    "missing_instant": "Fill the date in: a record without a day cannot be placed before or after a prediction.",
    "missing_amount": "Fill in the amount, or quantity and unit price; 0 is allowed for something given away.",
    "bad_id": "Shorten or clean the id in the system that wrote it.",
    "bad_instant": 'Say how the date is written: { column = "…", format = "%m/%d/%Y %H:%M" }. A day must exist.',
    "bad_day": 'Say how the day is written: { column = "…", format = "%d.%m.%Y" }.',
    "bad_number": 'Correct the number; decimal commas are read with { column = "…", decimal = "," }.',
    "bad_flag": "Write true or false, yes or no, 1 or 0.",
    "too_large": "No line is worth that: correct the number, or check that the right column is mapped.",
    "clock_skew": "Correct the date; appointments and pre-orders belong in the log once they have happened.",
    "duplicate_line": "Nothing to do: the first copy counts. If lines go missing, line_id does not identify a line.",
    "conflicting_line": "Decide which line is right and remove the other, or leave line_id out.",
    "conflicting_master": "Decide who the id is and remove the other link; the link known first counts until then.",
    "cyclic_link": "Remove one link of the circle: a person needs one master_id that is nobody else's.",
    "duplicate_link": "Nothing to do: the link known first counts.",
    "superseded_customer": "Nothing to do, unless the rows are different persons: then their ids must differ.",
    "unknown_kind": "Use the contract's kinds, listed in features/contract.py under INTERACTION_KINDS.",
    "unknown_channel": "Use email, sms, phone, app, mail or social: a consent for anything else allows nothing.",
    "out_of_range": "Correct the number: satisfaction 1 to 5, nps 0 to 10, margin_rate 0 to 1, propensity over 0 to 1.",
    "malformed_line": "The line has more or fewer cells than the header: put texts that hold the delimiter in quotes.",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """Empty values of one mapped column, over all inputs of its table that have it."""

    table: str
    column: str
    empty: int
    rows: int


@dataclass(frozen=True, slots=True)
class Usability:
    """The facts of a check; ``first_day`` and ``last_day`` are None without a usable order.

    ``customers`` bought something in ``orders`` orders; ``returns`` are orders that only gave something back.
    ``has_times`` is False where orders hold days only. ``net_amount`` is in the source's currency, returns taken off.
    """

    name: str
    customers: int
    orders: int
    returns: int
    net_amount: float
    first_day: date | None
    last_day: date | None
    has_times: bool
    timezone: str
    currency: str
    margin_rate: float | None
    margin_known_share: float
    consent_default: str
    reports: tuple[TableReport, ...]
    suspicions: tuple[Suspicion, ...]

    @property
    def rows(self) -> int:
        """Input rows of all tables."""
        return sum(report.rows for report in self.reports)

    @property
    def quarantined(self) -> int:
        """Rows set aside in all tables."""
        return sum(report.quarantined for report in self.reports)

    @property
    def days(self) -> int:
        """Calendar days from the first order to the last, both counted."""
        return (self.last_day - self.first_day).days + 1 if self.first_day and self.last_day else 0

    @property
    def clv_basis(self) -> str:
        """Whether every customer's value can be counted in margin, or for want of one in revenue."""
        return "margin" if self.margin_rate is not None or self.margin_known_share == 1 else "revenue"

    @property
    def missing(self) -> tuple[Missing, ...]:
        """Mapped columns with empty values, table by table."""
        return tuple(entry for report in self.reports for entry in _missing(report) if entry.empty)


def usability(source: Source, records: Records) -> Usability:
    """Gather the facts of a check from records that were read as ``source`` says."""
    orders = records.tables["orders"]
    per_order = orders.group_by("customer_id", "order_id").aggregate(
        bought=(~orders.is_return).any(),
        first=orders.local_at.min(),
        last=orders.local_at.max(),
        timed=(orders.local_at != orders.local_at.truncate("D")).any(),
        net=orders.amount.sum(),
        lines=(~orders.is_return).sum(),
        with_margin=(~orders.is_return & orders.margin.notnull()).sum(),
    )
    customers, placed, returned, first, last, timed, net, lines, with_margin = (
        per_order.aggregate(
            customers=per_order.customer_id.nunique(where=per_order.bought),
            orders=per_order.bought.sum(),
            returns=(~per_order.bought).sum(),
            first=per_order["first"].min(),
            last=per_order["last"].max(),
            timed=per_order.timed.any(),
            net=per_order.net.sum(),
            lines=per_order.lines.sum(),
            with_margin=per_order.with_margin.sum(),
        )
        .to_pyarrow()
        .to_pylist()[0]
        .values()
    )
    return Usability(
        name=records.name,
        customers=customers or 0,
        orders=placed or 0,
        returns=returned or 0,
        net_amount=net or 0.0,
        first_day=first and first.date(),
        last_day=last and last.date(),
        has_times=bool(timed),
        timezone=records.timezone,
        currency=records.currency,
        margin_rate=records.economics.margin_rate,
        margin_known_share=with_margin / lines if lines else 0.0,
        consent_default=records.consent_default,
        reports=records.reports,
        suspicions=suspicions(source, records),
    )


def meaning(code: str) -> str:
    """Return a reason or a correction in words."""
    return MEANINGS.get(code) or f"{code.removeprefix('missing_')} is missing"


def remedy(code: str) -> str:
    """Return what to do about rows set aside for a reason."""
    return REMEDIES.get(code) or f"Fill in {code.removeprefix('missing_')}, which every row needs."


def _missing(report: TableReport) -> list[Missing]:
    totals: dict[str, tuple[int, int]] = {}
    for read in report.inputs:
        for column, empty in read.missing.items():
            before = totals.get(column, (0, 0))
            totals[column] = (before[0] + empty, before[1] + read.rows)
    return [Missing(report.table, column, empty, rows) for column, (empty, rows) in totals.items()]


def first_rows(records: Records, table: str) -> Mapping[str, str]:
    """Return the first quarantined row of each reason of a table, as it stands in its file."""
    if records.quarantine.empty:
        return {}
    first = records.quarantine[records.quarantine["table"] == table].drop_duplicates("reason")
    return {str(row.reason): f"{row.file}, row {row.row}: {_in_words(str(row.original))}" for row in first.itertuples()}


def _in_words(original: str) -> str:
    values = json.loads(original).items()
    return ", ".join(f"{name} {'(empty)' if value in (None, '') else value}" for name, value in values)
