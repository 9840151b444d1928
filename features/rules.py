"""What makes a row of each contract table unusable, what is put right, and what is derived.

All rules are SQL over cleaned columns. A row carries one quarantine reason or one correction: the first that
applies, in the order written here, so that counts by reason add up.
"""

from collections.abc import Mapping
from zoneinfo import available_timezones

from features.cleaning import BAD, Cleaned
from features.contract import CONTACT_CHANNELS, INTERACTION_KINDS, Kind, Table
from features.inputs import identifier, literal
from features.mapping import Source
from features.sections import Section

# Columns whose value before derivation a correction is judged by; staging keeps them as given_….
GIVEN: Mapping[str, tuple[str, ...]] = {
    "orders": ("amount", "quantity", "discount"),
    "customers": ("timezone",),
    "consents": ("channel", "purpose"),
}
MONEY = ("amount", "unit_price", "discount", "margin")
# Numbers that have bounds; a missing one passes.
BOUNDS: Mapping[str, str] = {
    "customers": "margin_rate BETWEEN 0 AND 1",
    "offers": "propensity > 0 AND propensity <= 1",
    "interactions": "CASE kind WHEN 'satisfaction' THEN value BETWEEN 1 AND 5 "
    "WHEN 'nps' THEN value BETWEEN 0 AND 10 ELSE true END",
}


def _case(conditions: Mapping[str, str]) -> str:
    branches = " ".join(f"WHEN {condition} THEN {literal(code)}" for code, condition in conditions.items())
    return f"CASE {branches} END" if branches else "NULL"


def fault_name(column: str) -> str:
    """Return the name of the staging column that says a value could not be read."""
    return identifier(f"fault_{column}")


def derivations(table: Table, section: Section, source: Source, zone: str) -> list[dict[str, str]]:
    """Return the columns to replace, level by level; each level sees the one before."""
    levels: list[dict[str, str]] = []
    if table.name == "orders":
        levels += _orders(section, source)
    if table.name == "customers":
        known = ", ".join(literal(name) for name in sorted(available_timezones()))
        levels.append({"timezone": f"CASE WHEN timezone IN ({known}) THEN timezone ELSE {literal(zone)} END"})
    if table.name == "consents":
        levels.append({"channel": "lower(channel)", "purpose": "coalesce(lower(purpose), 'marketing')"})
        allowed = ", ".join(map(literal, CONTACT_CHANNELS))
        levels.append({"channel": f"CASE WHEN channel IN ({allowed}) THEN channel END"})
    if table.instant:
        local = table.instant if zone == "UTC" else f"({table.instant} AT TIME ZONE 'UTC') AT TIME ZONE {literal(zone)}"
        levels.append({"known_at": f"coalesce(known_at, {table.instant})", "local_at": local})
    return levels


def _orders(section: Section, source: Source) -> list[dict[str, str]]:
    """Fill amount, currency, the return mark, the order id and, by category, margin.

    A cancelled order or a negative quantity makes the line a return, whose amount is made negative.
    """
    prefix = section.cancelled_prefix
    cancelled = f"coalesce(starts_with(order_id, {literal(prefix)}), false)" if prefix else "false"
    code = f"coalesce(upper(currency), {literal(source.currency)})"
    rates = " ".join(f"WHEN {literal(name)} THEN {rate!r}" for name, rate in source.rates.items())
    by_category = source.economics.margin_rate_by_category
    margins = " ".join(f"WHEN {literal(name)} THEN {rate!r}" for name, rate in by_category.items())
    rate = f"CASE {code} {rates} ELSE 1.0 END" if rates else "1.0"
    return [
        {"amount": "coalesce(amount, quantity * unit_price)", "discount": "abs(discount)", "currency": code},
        {column: f"{column} * ({rate})" for column in MONEY} if rates else {},
        {
            "is_return": f"{cancelled} OR coalesce(quantity < 0, false) OR coalesce(amount < 0, false)",
            "given_amount": "amount",
        },
        {
            "amount": "CASE WHEN is_return THEN -abs(amount) ELSE amount END",
            **({"margin": f"coalesce(margin, amount * CASE category {margins} END)"} if margins else {}),
            "quantity": f"CASE WHEN {cancelled} THEN -abs(quantity) ELSE quantity END",
            # the customer is not in it: two ids of one person at one instant are one order once they are united
            "order_id": "coalesce(order_id, '@' || strftime(ordered_at, '%Y-%m-%dT%H:%M:%S.%f'))",
        },
    ]


def reasons(table: Table, mapped: Mapping[str, Cleaned], latest: str) -> str:
    """Return the SQL of a row's quarantine reason, or NULL; ``latest`` is that of the last believable instant, UTC."""
    conditions = {"missing_customer": f"customer_id IS NULL AND NOT {fault_name('customer_id')}"}
    conditions |= _unreadable(table, mapped)
    for column in table.columns:
        if column.required and column.name != "customer_id":
            code = "missing_instant" if column.kind is Kind.INSTANT else f"missing_{column.name}"
            conditions[code] = f"{identifier(column.name)} IS NULL"
    instants = [column.name for column in table.columns if column.kind is Kind.INSTANT and column.name in mapped]
    if instants:
        conditions["clock_skew"] = " OR ".join(f"{name} > {latest}" for name in instants)
    if table.name == "orders":
        conditions["missing_amount"] = "amount IS NULL"
        # sums are exact in millionths of 64 bits: beyond a million million no line is money any more
        conditions["too_large"] = (
            "NOT abs(amount) <= 1e12 OR abs(quantity) > 1e12 OR abs(discount) > 1e12 OR abs(margin) > 1e12"
        )
    if table.name == "interactions":
        conditions["unknown_kind"] = f"kind NOT IN ({', '.join(map(literal, INTERACTION_KINDS))})"
    if table.name == "consents":
        conditions["unknown_channel"] = "granted AND given_channel IS NOT NULL AND channel IS NULL"
    if table.name in BOUNDS:
        conditions["out_of_range"] = f"NOT ({BOUNDS[table.name]})"
    return _case(conditions)


def _unreadable(table: Table, mapped: Mapping[str, Cleaned]) -> dict[str, str]:
    """Return one condition per kind of value: any mapped column of that kind could not be read."""
    grouped: dict[str, list[str]] = {}
    for column in table.columns:
        if column.name in mapped and column.kind in BAD:
            grouped.setdefault(BAD[column.kind], []).append(fault_name(column.name))
    return {code: " OR ".join(tests) for code, tests in grouped.items()}


def corrections(table: Table, mapped: Mapping[str, Cleaned]) -> str:
    """Return the SQL of a row's correction, or NULL.

    A withdrawn consent for a channel nobody knows is kept as a withdrawal for every channel: losing it would
    let messages out that the customer refused.
    """
    conditions: dict[str, str] = {}
    if table.name == "orders":
        conditions["return_sign"] = "given_amount > 0 AND amount < 0 OR given_quantity > 0 AND quantity < 0"
        conditions["discount_sign"] = "given_discount < 0"
    if table.name == "customers":
        conditions["unknown_timezone"] = "given_timezone IS NOT NULL AND given_timezone <> timezone"
    if table.name == "consents":
        conditions["withdrawn_everywhere"] = "NOT granted AND given_channel IS NOT NULL AND channel IS NULL"
        conditions["lower_case"] = "lower(given_channel) <> given_channel OR lower(given_purpose) <> given_purpose"
    codes = dict.fromkeys(code for cleaned in mapped.values() for code in cleaned.changes)
    for code in codes:
        names = [name for name, cleaned in mapped.items() if code in cleaned.changes]
        conditions[code] = " OR ".join(identifier(f"{code}_{name}") for name in names)
    return _case(conditions)
