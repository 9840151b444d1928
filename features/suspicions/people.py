"""Suspicions about who the customers are: accounts that are no person, ids that do not meet."""

from collections.abc import Iterator

from features.contract import TABLES
from features.records import Records
from features.suspicions.finding import Ask, Suspicion, share

# No person orders so; a till, a marketplace or "guest" booked as one customer does.
TIMES_MEDIAN = 1_000
TIMES_WITH_SHARE, SHARE = 50, 0.05
ORDERS_PER_DAY, FEWEST_ORDERS = 10, 100
FEWEST_CUSTOMERS = 20


def find(records: Records, ask: Ask) -> Iterator[Suspicion]:
    """Look for house accounts, and for tables whose ids are not those of the orders."""
    yield from _house_accounts(ask)
    for report in records.reports:
        if report.table not in ("orders", "identities") and report.accepted + report.corrected:
            yield from _strangers(ask, report.table)


def _house_accounts(ask: Ask) -> Iterator[Suspicion]:
    found = ask(
        "WITH daily AS (SELECT customer_id, local_at::DATE AS day, count(*) AS orders FROM placed GROUP BY 1, 2), "
        "each AS (SELECT customer_id, sum(orders) AS orders, median(orders) AS per_day FROM daily GROUP BY 1) "
        "SELECT customer_id, orders::BIGINT, per_day, (SELECT median(orders) FROM each), "
        "(SELECT sum(orders) FROM each) "
        f"FROM each WHERE orders >= {TIMES_MEDIAN} * (SELECT median(orders) FROM each) "
        f"OR (per_day >= {ORDERS_PER_DAY} AND orders >= {FEWEST_ORDERS}) "
        f"OR (orders >= {TIMES_WITH_SHARE} * (SELECT median(orders) FROM each) "
        f"AND orders >= {SHARE} * (SELECT sum(orders) FROM each)) ORDER BY orders DESC, 1"
    )
    if not found:
        return
    ids = ", ".join(f"{row[0]!r} ({row[1]:,} orders)" for row in found[:5])
    orders, (_, most, per_day, median, total) = sum(row[1] for row in found), found[0]
    them = "One customer orders" if len(found) == 1 else f"{len(found):,} customers order"
    yield Suspicion(
        "house_account",
        "orders",
        f"{them} like no person does: {ids}. The median customer has {median:g}; the largest has {most / median:,.0f} "
        f"times that, {per_day:g} on a typical day, and {share(most, total)} of all orders.",
        "A till, a marketplace or a guest account? Export without it, or leave its customer id empty: rows without a "
        "customer are set aside and counted.",
        orders,
        tuple(str(row[0]) for row in found[:5]),
    )


def _strangers(ask: Ask, table: str) -> Iterator[Suspicion]:
    """Ids that would meet those of the orders if written alike."""
    alike = "ltrim(lower(regexp_replace(customer_id, '[^A-Za-z0-9]', '', 'g')), '0')"
    there, met, alike_met, example = ask(
        "WITH known AS (SELECT DISTINCT customer_id FROM orders), "
        f"alike AS (SELECT DISTINCT {alike} AS id FROM known), "
        f"here AS (SELECT DISTINCT customer_id FROM {table}) SELECT count(*), "
        "count(*) FILTER (WHERE customer_id IN (FROM known)), "
        f"count(*) FILTER (WHERE {alike} IN (FROM alike)), "
        "min(customer_id) FILTER (WHERE customer_id NOT IN (FROM known)) FROM here"
    )[0]
    if there < FEWEST_CUSTOMERS or (met and alike_met - met < 0.05 * there):
        return
    orders_id = ask("SELECT min(customer_id) FROM orders")[0][0]
    known = TABLES[table].name
    same = (
        f"; {alike_met - met:,} more would be if zeros, signs and capitals were written alike"
        if alike_met > met
        else ""
    )
    yield Suspicion(
        "ids_do_not_meet",
        known,
        f"{met:,} of {there:,} customers in [{known}] are found in [orders]{same} ({known}: {example!r}, orders: "
        f"{orders_id!r}).",
        f"Map the column of [{known}] that holds the same id as the orders, or write both alike in the exports.",
        there - met,
        (str(example),),
    )
