"""One row of behavioural features per customer at an instant.

A row is customer-local (no other customer can change it) and cutoff-local (nothing that happened or became known at or
after ``as_of`` can), so training, batch and online scoring share this one definition.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

import ibis
import pandas as pd
import pyarrow as pa

from features.blocks import in_blocks
from features.collapsed import collapse
from features.contract import TABLES
from features.engine import keep
from features.formulas import in_catalogue, snapshot_of
from features.frames import Block, frame_of
from features.occasions import view
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
        return as_frame(snapshot_of_few(few, moments[0], wanted))
    if runs_plans(records):
        return frame_of(_planned(records, moments, wanted))
    return as_frame(snapshot_expression(records, moments, wanted).to_pyarrow())


def as_frame(rows: pa.Table) -> pd.DataFrame:
    """Return rows as they leave the engine as a snapshot."""
    return frame_of(deque([Block.of(rows)]))


def snapshot_expression(records: Records, moments: Sequence[AsOf], features: Iterable[str] | None = None) -> ibis.Table:
    """Return the snapshot as one expression over the log, for any engine."""
    wanted, moments = in_catalogue(features), distinct(moments)
    if len(moments) == 1:
        return snapshot_of(view(records, moments[0]), wanted).order_by("customer_id")
    each = (snapshot_of(view(records, moment), wanted) for moment in moments)
    return ibis.union(*each).order_by("as_of", "customer_id")


def distinct(moments: Iterable[AsOf]) -> list[AsOf]:
    """Return the cutoffs in time order, each once."""
    return sorted(set(moments), key=lambda moment: moment.instant)


def _planned(records: Records, moments: Sequence[AsOf], features: tuple[str, ...]) -> deque[Block]:
    """Run the compiled snapshot once a cutoff and block of customers, and return what it gives in order."""
    plan = log_plan(features)
    by_block = [
        [Block.of(rows) for rows in _at_each(block, moments, features)]
        for block in in_blocks(records, [name for name in TABLES if plan.reads(name)])
    ]
    return deque(block for at_cutoff in zip(*by_block, strict=True) for block in at_cutoff)


def _at_each(records: Records, moments: Sequence[AsOf], features: tuple[str, ...]) -> Iterator[pa.Table]:
    """Yield the rows at each cutoff; several share the collapsed order lines, kept in the engine."""
    if len(moments) == 1:
        yield log_plan(features).run(records, moments[0])
        return
    with ExitStack() as stack:
        plan = collapsed_plan(features)
        kept = collapse(records, moments, lambda name, table: keep(table, stack) if plan.reads(name) else table)
        for number, at in enumerate(moments):
            yield plan.run(records, at, kept, number)
