"""From a scoring run to the store: what the service will answer about each customer."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson
import pandas as pd

from serving.store import Store

if TYPE_CHECKING:
    from serving.scoring import ScoreRun

CONTEXT = (
    "language",
    "timezone",
    "region",
    "birthday",
    "favourite_category",
    "favourite_channel",
    "consented_channels",
    "last_offer_at",
    "last_action_id",
    "first_order_at",
    "last_order_at",
)
_KEYS = ("customer_id", "as_of")


def load(
    store: Store,
    run: "ScoreRun",
    history: pd.DataFrame,
    orders: pd.DataFrame,
    masters: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Make a run the one being served and return its ``run_id``.

    ``history`` holds ``customer_id, month, orders, spend`` and ``orders`` what `serving.profiles.last_orders` returns;
    rows of customers who were not scored are left out. ``masters`` says of former ids which customer they are.
    """
    eligible = run.proposals["eligible_actions"].reindex(run.scores["customer_id"]).tolist()
    scores = run.scores.assign(eligible_actions=eligible)
    return store.load_run(orjson.loads(run.manifest.to_json()), scores, _profiles(run, history, orders), masters)


def _profiles(run: "ScoreRun", history: pd.DataFrame, orders: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    months = _by_customer(history, ("month", "orders", "spend"))
    latest = _by_customer(orders, ("order_id", "ordered_at", "channel", "lines", "spend"))
    names = [name for name in run.snapshot.columns if name not in _KEYS]
    features = run.snapshot[names].itertuples(index=False, name=None)
    context = run.context[list(CONTEXT)].astype(object)
    facts = context.where(context.notna(), None).itertuples(index=False, name=None)
    for customer_id, values, known in zip(run.snapshot["customer_id"], features, facts, strict=True):
        yield (
            customer_id,
            {
                "monthly": months.get(customer_id, []),
                "last_orders": latest.get(customer_id, []),
                "context": dict(zip(CONTEXT, known, strict=True)),
                "features": dict(zip(names, values, strict=True)),
            },
        )


def _by_customer(frame: pd.DataFrame, names: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    columns = frame[list(names)].astype(object)
    values = columns.where(columns.notna(), None).itertuples(index=False, name=None)
    for customer_id, row in zip(frame["customer_id"], values, strict=True):
        rows.setdefault(customer_id, []).append(dict(zip(names, row, strict=True)))
    return rows
