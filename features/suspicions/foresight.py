"""Suspicions about columns that know the future: written after what a model is to predict.

A customers table is one picture, taken when it was exported. A column in it that follows the log to its end (last
order, total spend, a closed account) gives training an answer that scoring will not have.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features.contract import TABLES
from features.inputs import identifier
from features.mapping import Source
from features.records import Records
from features.suspicions.finding import Ask, Suspicion, share

WINDOW_DAYS = 90
FEWEST_CUSTOMERS, FEWEST_OF_EACH = 200, 30
# Silence itself ranks who stays silent with an AUC near 0.8 on every published log here; nothing honest reaches this.
TELLS_ALL = 0.97
FOLLOWS = 0.9
MOST_LEVELS = 50
SAMPLE = 200_000
# Contract columns that identify or address a person and say nothing about them.
NOT_ASKED = frozenset({"customer_id", "name", "email", "phone", "referred_by", "timezone", "language"})


def find(source: Source, records: Records, ask: Ask) -> Iterator[Suspicion]:
    """Look at the mapped columns of [customers], and at instants that were known too early or too late."""
    yield from _known_too_early(records, ask)
    yield from _created_too_late(records, ask)
    last = ask("SELECT max(local_at) FROM placed")[0][0]
    outcome = _outcome(records, last)
    if outcome is None:
        return
    yield from _columns(source, records, outcome)


def _known_too_early(records: Records, ask: Ask) -> Iterator[Suspicion]:
    for report in records.reports:
        instant = TABLES[report.table].instant
        if not instant or not report.accepted + report.corrected:
            continue
        rows, most = ask(f"SELECT count(*), max({instant} - known_at) FROM {report.table} WHERE known_at < {instant}")[
            0
        ]
        if rows:
            yield Suspicion(
                "known_before_it_happened",
                report.table,
                f"{rows:,} rows of [{report.table}] were known before they happened, by up to {_span(most)}.",
                "Map known_at to the column that says when the row was written, or leave it out.",
                rows,
            )


def _span(most: timedelta) -> str:
    return f"{most.days:,} days" if most.days else f"{most.seconds / 3600:.1f} hours"


def _created_too_late(records: Records, ask: Ask) -> Iterator[Suspicion]:
    late, both, example = ask(
        "SELECT count(*) FILTER (WHERE created_at::DATE > first), count(*), "
        "min(customer_id) FILTER (WHERE created_at::DATE > first) FROM (SELECT customer_id, created_at FROM customers "
        "WHERE created_at IS NOT NULL) JOIN (SELECT customer_id, min(ordered_at)::DATE AS first FROM placed "
        "GROUP BY 1) USING (customer_id)"
    )[0]
    if both >= 20 and late >= 0.2 * both:
        yield Suspicion(
            "created_after_first_order",
            "customers",
            f"{late:,} of {both:,} customers with orders ({share(late, both)}) were created after their first order, "
            f"like {example!r}.",
            "Does created_at hold the last change or an import instead? Then leave it out; the first order is enough.",
            late,
            (str(example),),
        )


def _outcome(records: Records, last: datetime) -> pd.DataFrame | None:
    """Return one row per customer of the past: whether silent since, and what the log's end says of them."""
    cutoff = (last - timedelta(days=WINDOW_DAYS)).isoformat()
    connection = records.tables["orders"].get_backend().con
    frame: pd.DataFrame = connection.execute(
        f"SELECT customer_id, max(local_at) < TIMESTAMP '{cutoff}' AS silent, max(local_at)::DATE AS last_order, "
        "count(*) AS orders, any_value(spend) AS spend FROM placed JOIN (SELECT customer_id, sum(amount) AS spend FROM "
        f"orders GROUP BY 1) USING (customer_id) GROUP BY 1 HAVING min(local_at) < TIMESTAMP '{cutoff}' "
        f"ORDER BY hash(customer_id) LIMIT {SAMPLE}"
    ).df()
    silent = int(frame["silent"].sum())
    if len(frame) < FEWEST_CUSTOMERS or min(silent, len(frame) - silent) < FEWEST_OF_EACH:
        return None
    return frame.set_index("customer_id")


def _columns(source: Source, records: Records, outcome: pd.DataFrame) -> Iterator[Suspicion]:
    """Judge every mapped column of [customers], attributes of the business's own among them."""
    columns = {
        name: given.column
        for section in source.sections
        if section.table == "customers"
        for name, given in section.fields.items()
        if given.column and name not in NOT_ASKED
    }
    if not columns:
        return
    listed = ", ".join(f"{identifier(name)}::VARCHAR AS {identifier(name)}" for name in columns)
    connection = records.tables["orders"].get_backend().con
    values = connection.execute(f"SELECT customer_id, {listed} FROM customers").df().set_index("customer_id")
    for name, column in columns.items():
        yield from _judge(name, column, outcome.join(values[name].rename("value"), how="inner"))


def _judge(name: str, column: str, joined: pd.DataFrame) -> Iterator[Suspicion]:
    if len(joined) < FEWEST_CUSTOMERS:
        return
    active = joined[~joined["silent"]]
    for fact, words in (
        ("last_order", "the day of the last order"),
        ("orders", "the number of orders"),
        ("spend", "the total spend"),
    ):
        same = _same(active["value"], active[fact])
        if same >= FOLLOWS:
            yield Suspicion(
                "knows_the_future",
                "customers",
                f"{column!r} is {words} up to the end of the log for {share(same, 1)} of the customers who still buy: "
                "it changes with what is to be predicted.",
                f"Leave {name} out of [customers]; Perennial computes it from the orders as each day saw it.",
                len(joined),
            )
            return
    score = _separation(joined["value"], joined["silent"])
    if score >= TELLS_ALL:
        yield Suspicion(
            "knows_the_future",
            "customers",
            f"{column!r} tells who bought nothing in the last {WINDOW_DAYS} days almost perfectly (AUC {score:.3f}): "
            "it was probably written afterwards.",
            f"Leave {name} out of [customers] unless it was known {WINDOW_DAYS} days before; it would look brilliant "
            "in training and fail on the day.",
            len(joined),
        )


def _same(values: pd.Series, truth: pd.Series) -> float:
    if pd.api.types.is_numeric_dtype(truth):
        numbers = pd.to_numeric(values, errors="coerce")
        if numbers.nunique() < 5:
            return 0.0
        return float((abs(numbers - truth) <= 0.005 * abs(truth)).mean())
    days = pd.to_datetime(values, errors="coerce", format="mixed", utc=True).dt.tz_localize(None)
    return float((abs((days - pd.to_datetime(truth)).dt.days) <= 1).mean())


def _separation(values: pd.Series, silent: pd.Series) -> float:
    """Return the AUC of the best simple reading of a column: as a number, a date, or levels."""
    missing = values.isna() | (values.str.strip() == "")
    scores = [_auc(missing.astype(float), silent)]
    for read in (pd.to_numeric(values, errors="coerce"), _days(values)):
        if read.notna().sum() >= 0.9 * (~missing).sum() > 0:
            scores.append(_auc(read.fillna(read.min() - 1), silent))
            break
    if values.nunique() <= MOST_LEVELS:
        level = values.fillna("")
        scores.append(_auc(silent.groupby(level).transform("mean"), silent))
    return max(scores)


def _days(values: pd.Series) -> pd.Series:
    read = pd.to_datetime(values, errors="coerce", format="mixed", utc=True)
    return (read - pd.Timestamp(0, tz="UTC")).dt.total_seconds()


def _auc(score: pd.Series, silent: pd.Series) -> float:
    """Mann-Whitney's U over its maximum, whichever way round."""
    ranks, n = score.rank().to_numpy(), int(silent.sum())
    auc = (ranks[silent.to_numpy()].sum() - n * (n + 1) / 2) / (n * (len(silent) - n))
    return float(np.maximum(auc, 1 - auc))
