"""Customers on Spark: workers score the rows they hold, and only results come back."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import pandas as pd

from features.context import Defaults, completed, context_expression
from features.records import AsOf, Records
from features.snapshot import snapshot_expression
from features.spark import dataframe
from models.churn import ChurnModel
from models.clv import ClvModel
from models.segments import SegmentModel
from models.totals import DEVIATIONS
from serving.columns import SCORE_COLUMNS, Kind
from serving.rows import Champions, Terms, score_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SPARK_TYPES: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.ID: "string",
        Kind.CODE: "string",
        Kind.TEXT: "string",
        Kind.NUMBER: "double",
        Kind.INTEGER: "bigint",
        Kind.FLAG: "boolean",
        Kind.INSTANT: "timestamp",
        Kind.DAY: "date",
    }
)
ModelFiles = Mapping[str, Mapping[str, bytes]]


@contextmanager
def spark_customers(records: Records, as_of: AsOf, features: Collection[str]) -> Iterator["SparkCustomers"]:
    """Yield the customers as rows that Spark computes once and keeps until the end of the block."""
    snapshot = snapshot_expression(records, [as_of], features)
    rows = dataframe(snapshot.join(context_expression(records, as_of), "customer_id")).persist()
    try:
        yield SparkCustomers(rows, Layout(tuple(snapshot.columns), Defaults.of(records)))
    finally:
        rows.unpersist()


@dataclass(frozen=True)
class Layout:
    """Which columns of a row are the snapshot's, and what the source says of who has no context of their own."""

    snapshot: tuple[str, ...]
    defaults: Defaults

    def parts(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return snapshot and context of some rows, as one machine has them."""
        instants = rows["as_of"] if rows["as_of"].dt.tz else rows["as_of"].dt.tz_localize("UTC")
        return rows[list(self.snapshot)].assign(as_of=instants), completed(rows, self.defaults)


@dataclass(frozen=True)
class SparkCustomers:
    """Customers whose snapshot and context are one row each of a Spark DataFrame."""

    rows: "DataFrame"
    layout: Layout

    @cached_property
    def _here(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return self.layout.parts(_fetched(self.rows))

    @property
    def snapshot(self) -> pd.DataFrame:
        """Catalogue features."""
        return self._here[0]

    @property
    def context(self) -> pd.DataFrame:
        """Who they are."""
        return self._here[1]

    def scored(self, models: Champions, terms: Terms) -> pd.DataFrame:
        """Score each partition on its worker, which gets the models as the files they are kept in."""
        files = {name: getattr(models, name).to_files() for name in models.versions}
        kinds = {column.name: column.kind for column in SCORE_COLUMNS} | dict.fromkeys(DEVIATIONS, Kind.NUMBER)
        columns = ", ".join(f"`{name}` {SPARK_TYPES[kind]}" for name, kind in kinds.items())
        work = partial(_scored, files=files, versions=dict(models.versions), terms=terms, layout=self.layout)
        scored = _fetched(self.rows.mapInPandas(work, f"{columns}, eligible_actions array<string>"))
        return scored.assign(eligible_actions=scored["eligible_actions"].map(list))


def _scored(
    frames: Iterator[pd.DataFrame], files: ModelFiles, versions: Mapping[str, str], terms: Terms, layout: Layout
) -> Iterator[pd.DataFrame]:
    models = Champions(
        churn=ChurnModel.from_files(files["churn"]),
        clv=ClvModel.from_files(files["clv"]),
        segments=SegmentModel.from_files(files["segments"]),
        versions=versions,
    )
    for frame in frames:
        if len(frame):
            yield score_rows(models, terms, *layout.parts(frame))


def _fetched(rows: "DataFrame") -> pd.DataFrame:
    """Return rows in the customers' order; Spark's own order is nobody's promise."""
    frame: pd.DataFrame = rows.toArrow().to_pandas()
    return frame.sort_values("customer_id", ignore_index=True)
