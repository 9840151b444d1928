"""Verdicts that need more than one row: repeated lines, superseded customers, links that contradict each other."""

from collections.abc import Iterable

import duckdb
import pandas as pd

from features.contract import Table
from features.inputs import identifier
from features.links import Link, judge
from features.sections import Section
from features.staging import stage_name


def judge_repeats(connection: duckdb.DuckDBPyConnection, table: Table, sections: Iterable[Section]) -> None:
    """Give a reason to the rows of a stage that others make unusable.

    Equal rows of one line_id keep the one known first, differing ones keep none; of several rows of one customer the
    last one counts (of the last section, where there are several); links are judged in the order they became known.
    """
    if table.name == "orders" and any("line_id" in section.fields for section in sections):
        _condemn(connection, table, _repeated_lines(connection, table))
    elif table.name == "customers":
        newest = "row_number() OVER (PARTITION BY customer_id ORDER BY part_ DESC, rowid DESC)"
        _condemn(
            connection,
            table,
            f"SELECT rowid AS row, 'superseded_customer' AS verdict FROM {stage_name(table)} "
            f"WHERE reason_ IS NULL QUALIFY {newest} > 1",
        )
    elif table.name == "identities":
        _judge_links(connection, table)


def _repeated_lines(connection: duckdb.DuckDBPyConnection, table: Table) -> str:
    """Return a query of the verdicts on repeated lines; only lines whose id is seen again are compared."""
    stage, key = stage_name(table), "hash(section_, line_id)"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE seen_again AS SELECT {key} AS key FROM {stage} "
        "WHERE reason_ IS NULL AND line_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
    )
    facts = ", ".join(identifier(c.name) for c in table.columns if c.name not in ("line_id", "known_at"))
    return f"""
        SELECT row, CASE WHEN min(facts) OVER lines <> max(facts) OVER lines THEN 'conflicting_line'
               WHEN row_number() OVER (PARTITION BY section_, line_id ORDER BY known_at, part_, row) > 1
               THEN 'duplicate_line' END AS verdict
        FROM (SELECT rowid AS row, section_, part_, line_id, known_at, hash({facts}) AS facts FROM {stage}
              WHERE reason_ IS NULL AND line_id IS NOT NULL AND {key} IN (FROM seen_again))
        WINDOW lines AS (PARTITION BY section_, line_id)"""


def _judge_links(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    rows = connection.execute(
        f"SELECT rowid, customer_id, master_id, known_at FROM {stage_name(table)} WHERE reason_ IS NULL"
    ).fetchall()
    reasons = judge(Link(*row) for row in rows)
    if reasons:
        frame = pd.DataFrame({"row": list(reasons), "verdict": list(reasons.values())})
        connection.register("judged_links", frame)
        _condemn(connection, table, "FROM judged_links")
        connection.unregister("judged_links")


def _condemn(connection: duckdb.DuckDBPyConnection, table: Table, verdicts: str) -> None:
    stage = stage_name(table)
    connection.execute(
        f"UPDATE {stage} SET reason_ = verdict, correction_ = NULL FROM ({verdicts}) AS judged "
        f"WHERE judged.verdict IS NOT NULL AND judged.row = {stage}.rowid"
    )
