"""Suspicions about what was bought: codes that are no product, quantities that cancel out, rows that stand twice."""

from collections.abc import Iterator

from features.records import Records
from features.suspicions.finding import Ask, Suspicion, share

# A form that a twentieth of the codes share is one of the catalogue's own.
COMMON_FORM = 0.05
FEWEST_CODES, ODD_CODES = 50, 0.02
# Identical rows happen by chance where a row holds a day and no order; beyond this they look exported twice.
IDENTICAL_SHARE = 0.005
EXTREME_TIMES = 50


def find(records: Records, ask: Ask) -> Iterator[Suspicion]:
    """Look for non-product codes, extreme pairs and identical rows."""
    yield from _codes(records, ask)
    yield from _pairs(ask)
    yield from _identical(records)


def _codes(records: Records, ask: Ask) -> Iterator[Suspicion]:
    """Codes written unlike the catalogue's bulk, when they are few: postage, fees, vouchers and manual entries."""
    form = r"regexp_replace(regexp_replace(product_id, '[0-9]+', '9', 'g'), '[^\W\d_]+', 'A', 'g')"
    rows = ask(
        "WITH codes AS (SELECT product_id, count(*) AS lines, "
        "quantile_cont(price, 0.95) / nullif(quantile_cont(price, 0.05), 0) AS spread, sum(abs(amount)) AS money "
        "FROM (SELECT product_id, amount, coalesce(unit_price, abs(amount / nullif(quantity, 0))) AS price FROM orders "
        f"WHERE product_id IS NOT NULL) GROUP BY 1), formed AS (SELECT *, {form} AS form FROM codes), "
        "judged AS (SELECT *, count(*) OVER (PARTITION BY form) AS alike, count(*) OVER () AS total FROM formed) "
        f"SELECT product_id, lines, spread, money, total, (SELECT median(spread) FROM judged), "
        f"(SELECT string_agg(DISTINCT form, ' or ') FROM judged WHERE alike >= {COMMON_FORM} * total) "
        f"FROM judged WHERE alike < {COMMON_FORM} * total ORDER BY lines DESC, 1"
    )
    if not rows or rows[0][4] < FEWEST_CODES or len(rows) > ODD_CODES * rows[0][4]:
        return
    usual_spread, forms = rows[0][5] or 1, rows[0][6]
    vague = [row[0] for row in rows if row[2] and row[2] >= 3 * usual_spread]
    listed = ", ".join(f"{row[0]} ({row[1]:,} lines)" for row in rows[:12])
    more = f" and {len(rows) - 12} more" if len(rows) > 12 else ""
    prices = f" Prices of {', '.join(vague[:6])} vary far more than those of products." if vague else ""
    lines, money = sum(row[1] for row in rows), sum(row[3] for row in rows)
    yield Suspicion(
        "non_product_codes",
        "orders",
        f"{len(rows):,} of {rows[0][4]:,} codes in product_id are written unlike the others ({forms}, 9 for digits, A "
        f"for letters) and stand on {lines:,} lines worth {money:,.0f} {records.currency}: {listed}{more}.{prices}",
        "Postage, fees, vouchers, manual entries? They count as spend and as products: leave them out of the export "
        "unless they earn money.",
        lines,
        tuple(row[0] for row in rows[:12]),
    )


def _pairs(ask: Ask) -> Iterator[Suspicion]:
    """An extreme line and its exact opposite: a slip and its correction."""
    pairs = ask(
        f"WITH extreme AS (SELECT customer_id, product_id, order_id, amount, quantity, ordered_at FROM orders "
        f"WHERE abs(amount) >= {EXTREME_TIMES} * (SELECT quantile_cont(abs(amount), 0.99) FROM orders "
        "WHERE amount <> 0)) "
        "SELECT a.customer_id, a.order_id, b.order_id, a.amount, a.quantity, a.ordered_at, b.ordered_at "
        "FROM extreme AS a JOIN extreme AS b ON a.customer_id = b.customer_id AND a.amount = -b.amount "
        "AND a.product_id IS NOT DISTINCT FROM b.product_id WHERE a.amount > 0 ORDER BY a.amount DESC, a.order_id"
    )
    if not pairs:
        return
    listed = [
        f"customer {who} {f'{units:,.0f} units, ' if units else ''}{amount:,.2f} in order {bought} and back in {back}"
        for who, bought, back, amount, units, _, _ in pairs[:3]
    ]
    yield Suspicion(
        "opposite_extremes",
        "orders",
        f"{len(pairs):,} extreme lines are cancelled by their exact opposite: {'; '.join(listed)}.",
        "Slips that were put right: remove both lines. Net spend is right, but order value and largest order are not.",
        2 * len(pairs),
        tuple(str(pair[1]) for pair in pairs[:3]),
    )


def _identical(records: Records) -> Iterator[Suspicion]:
    for report in records.reports:
        for read in report.inputs:
            if read.identical >= max(2, IDENTICAL_SHARE * read.rows):
                yield Suspicion(
                    "identical_rows",
                    report.table,
                    f"{read.identical:,} of {read.rows:,} rows of {read.file} ({share(read.identical, read.rows)}) "
                    "repeat another row in every column. They are kept.",
                    "Exported twice? If so remove the repeats, or map line_id: then a repeated line counts once.",
                    read.identical,
                )
