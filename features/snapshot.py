"""One row of behavioural features per customer at an instant.

A row is customer-local (no other customer can change it) and cutoff-local (nothing that happened or became known at or
after ``as_of`` can), so training, batch and online scoring share this one definition.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

import ibis
import pandas as pd
import pyarrow as pa

from features.engine import keep
from features.formulas import in_catalogue, snapshot_of
from features.occasions import Log, collapse, log_of, view
from features.online import few_rows, snapshot_of_few
from features.plan import collapsed_plan, log_plan, runs_plans
from features.records import AsOf, Records


def build_snapshot(
    records: Records, as_of: AsOf | Sequence[AsOf], features: Iterable[str] | None = None
) -> pd.DataFrame:
    """Return the features of every customer with a purchase occasion strictly before the cutoff.

    ``features`` are names of the catalogue, all unless given; only what these need is computed.

    Returns
    -------
    DataFrame, one row per (customer_id, as_of), sorted by as_of then customer_id: ``customer_id`` (str), ``as_of``
    (datetime64[us, UTC]) and the wanted columns of the catalogue in its order (float64, NaN where undefined).

    Raises
    ------
    ValueError
        When the catalogue does not have a feature.
    """
    moments = distinct([as_of] if isinstance(as_of, AsOf) else as_of)
    wanted = in_catalogue(features)
    few = few_rows(records) if len(moments) == 1 else None
    if few is not None:
        rows = snapshot_of_few(few, moments[0], wanted)
    elif runs_plans(records):
        rows = _planned(records, moments, wanted)
    else:
        rows = snapshot_expression(records, moments, wanted).to_pyarrow()
    return as_frame(rows)


def as_frame(rows: pa.Table) -> pd.DataFrame:
    """Return rows as they leave the engine as a snapshot."""
    frame: pd.DataFrame = rows.to_pandas()
    frame["as_of"] = frame["as_of"].dt.tz_localize("UTC")
    return frame


def snapshot_expression(records: Records, moments: Sequence[AsOf], features: Iterable[str] | None = None) -> ibis.Table:
    """Return the snapshot as one expression over the log, for any engine."""
    wanted, moments = in_catalogue(features), distinct(moments)
    if len(moments) == 1:
        return snapshot_of(view(records, moments[0]), wanted).order_by("customer_id")
    logs = _each_apart(records, moments) if records.links else _collapsed(records, moments)
    return ibis.union(*(snapshot_of(log, wanted) for log in logs)).order_by("as_of", "customer_id")


def _collapsed(records: Records, moments: Sequence[AsOf]) -> Iterator[Log]:
    """Yield the log as each cutoff sees it, over order lines that were collapsed once for all."""
    shared = collapse(records, moments)
    for number, moment in enumerate(moments):
        yield log_of(records, moment, shared.orders_at(number), shared.categories_at(number))


def _each_apart(records: Records, moments: Sequence[AsOf]) -> Iterator[Log]:
    """Yield the log as each cutoff sees it where ids are linked: whose a line is differs from cutoff to cutoff."""
    return (view(records, moment) for moment in moments)


def distinct(moments: Iterable[AsOf]) -> list[AsOf]:
    """Return the cutoffs in time order, each once."""
    return sorted(set(moments), key=lambda moment: moment.instant)


def _planned(records: Records, moments: Sequence[AsOf], features: tuple[str, ...]) -> pa.Table:
    """Run the compiled snapshot once a cutoff; several cutoffs share the collapsed order lines, kept in the engine."""
    if len(moments) == 1:
        return log_plan(features).run(records, moments[0])
    with ExitStack() as stack:
        plan = collapsed_plan(features)
        kept = collapse(records, moments, lambda name, table: keep(table, stack) if plan.reads(name) else table)
        return pa.concat_tables([plan.run(records, at, kept, number) for number, at in enumerate(moments)])
