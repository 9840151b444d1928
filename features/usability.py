"""What `perennial check` prints: how usable the records are, and why the rest is not."""

from dataclasses import dataclass
from datetime import date

from features.records import Records, TableReport

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
    "bad_instant": 'say how the date is written: { column = "…", format = "%m/%d/%Y %H:%M" }',
    "bad_day": 'say how the day is written: { column = "…", format = "%d.%m.%Y" }',
    "bad_number": 'decimal commas are read with { column = "…", decimal = "," }',
}


@dataclass(frozen=True, slots=True)
class Usability:
    """The facts of a check; ``first_day`` and ``last_day`` are None without a usable order."""

    name: str
    customers: int
    orders: int
    first_day: date | None
    last_day: date | None
    timezone: str
    currency: str
    clv_basis: str
    consent_default: str
    reports: tuple[TableReport, ...]

    @property
    def rows(self) -> int:
        """Input rows of all tables."""
        return sum(report.rows for report in self.reports)


def usability(records: Records) -> Usability:
    """Gather the facts of a check."""
    orders = records.tables["orders"]
    facts = orders.aggregate(
        customers=orders.customer_id.nunique(),
        orders=(orders.customer_id + "\n" + orders.order_id).nunique(),
        first=orders.local_at.min(),
        last=orders.local_at.max(),
    ).to_pyarrow()
    customers, placed, first, last = facts.to_pylist()[0].values()
    return Usability(
        name=records.name,
        customers=customers,
        orders=placed,
        first_day=first and first.date(),
        last_day=last and last.date(),
        timezone=records.timezone,
        currency=records.currency,
        clv_basis=records.economics.clv_basis,
        consent_default=records.consent_default,
        reports=records.reports,
    )


def render(records: Records) -> str:
    """Return the check as text for a terminal."""
    facts = usability(records)
    lines = [
        f"{facts.name}: {facts.rows:,} rows in {', '.join(report.table for report in facts.reports)}",
        *_summary(facts),
        "",
    ]
    lines.append(f"{'table':<14}{'rows':>12}{'accepted':>12}{'corrected':>12}{'quarantined':>13}")
    for report in facts.reports:
        lines.append(
            f"{report.table:<14}{report.rows:>12,}{report.accepted:>12,}{report.corrected:>12,}{report.quarantined:>13,}"
        )
    for report in facts.reports:
        lines += _details(report, _first_rows(records, report.table))
    return "\n".join(lines)


def _summary(facts: Usability) -> list[str]:
    if facts.first_day is None:
        return ["No usable order. The reasons below say why."]
    basis = "margin" if facts.clv_basis == "margin" else "revenue (no margin given: see [economics] margin_rate)"
    return [
        f"{facts.customers:,} customers with {facts.orders:,} orders from {facts.first_day} to {facts.last_day} "
        f"({facts.timezone}), in {facts.currency}",
        f"Customer value is counted in {basis}; without a consent record contact is "
        f"{'allowed' if facts.consent_default == 'allow' else 'refused'}",
    ]


def _first_rows(records: Records, table: str) -> dict[str, str]:
    """Return the first quarantined row of each reason, as it stands in its file."""
    if records.quarantine.empty:
        return {}
    first = records.quarantine[records.quarantine["table"] == table].drop_duplicates("reason")
    return {str(row.reason): f"{row.file}, row {row.row}: {row.original}" for row in first.itertuples()}


def _details(report: TableReport, first_rows: dict[str, str]) -> list[str]:
    lines = []
    for code, count in report.reasons.items():
        lines.append(f"  quarantined {count:,}: {code} ({_meaning(code)})")
        lines += [f"    {text}" for text in (first_rows.get(code), REMEDIES.get(code)) if text]
    lines += [f"  corrected {count:,}: {code} ({_meaning(code)})" for code, count in report.corrections.items()]
    lines += [f"  converted in {column}: {count:,} values" for column, count in report.conversions.items()]
    lines += [f"  note: {note}" for note in report.notes]
    return ["", report.table, *lines] if lines else []


def _meaning(code: str) -> str:
    return MEANINGS.get(code) or f"{code.removeprefix('missing_')} is missing"
