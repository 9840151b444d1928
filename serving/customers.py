"""The customers of a scoring run: what is known of them, and their scores, computed where an engine keeps them."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from features.context import build_context
from features.records import AsOf, Records
from features.snapshot import build_snapshot
from features.spark import is_on_spark
from serving.rows import Champions, Terms, score_rows


class Customers(Protocol):
    """Everyone who ordered before an instant; frames are sorted by customer_id and share their rows."""

    @property
    def snapshot(self) -> pd.DataFrame:
        """The features, as `features.snapshot.build_snapshot` gives them."""

    @property
    def context(self) -> pd.DataFrame:
        """Who they are, as `features.context.build_context` gives it."""

    def scored(self, models: Champions, terms: Terms) -> pd.DataFrame:
        """Return what `serving.rows.score_rows` says of every customer."""


@contextmanager
def customers_at(records: Records, as_of: AsOf, features: Collection[str]) -> Iterator[Customers]:
    """Yield the customers, with these features, as their records' engine keeps them."""
    if is_on_spark(records):
        from serving.spark_customers import spark_customers

        with spark_customers(records, as_of, features) as customers:
            yield customers
    else:
        snapshot = build_snapshot(records, as_of, features)
        context = build_context(records, as_of).set_index("customer_id").loc[snapshot["customer_id"]].reset_index()
        yield _Here(snapshot, context)


@dataclass(frozen=True)
class _Here:
    """Customers in this process."""

    snapshot: pd.DataFrame
    context: pd.DataFrame

    def scored(self, models: Champions, terms: Terms) -> pd.DataFrame:
        return score_rows(models, terms, self.snapshot, self.context)
