"""From the log that a cutoff sees to the features of every customer: totals by customer, and formulas over them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import ibis
import ibis.expr.operations as ops

from features import (
    basket,
    cadence,
    engagement,
    habits,
    influence,
    offers,
    price,
    purchase,
    returns,
    service,
    trend,
)
from features.catalogue import FEATURES
from features.contract import TABLES
from features.occasions import Log, view
from features.records import AsOf, Records
from features.windows import KEYS

FROM_OCCASIONS = (purchase, cadence, trend)
FROM_ORDERS = (purchase, trend, basket, price, habits, returns)
FROM_INTERACTIONS = (engagement, service, influence)
DERIVED = (purchase, cadence, trend, basket, price, habits, returns, offers, engagement, service, influence)


def snapshot_of(log: Log, features: Sequence[str]) -> ibis.Table:
    """Return ``customer_id, as_of`` and the features (names in the catalogue) of every customer with an occasion."""
    formulas = {name: _formulas()[name] for name in features}
    row = totals(log, {total for formula in formulas.values() for total in _read(formula)})
    columns = {name: formula.replace({_template().op(): row.op()}).to_expr() for name, formula in formulas.items()}
    return row.select("customer_id", "as_of", **columns)


def in_catalogue(features: Iterable[str] | None) -> tuple[str, ...]:
    """Return the wanted features, all for None, in the catalogue's order."""
    wanted = set(FEATURES if features is None else features)
    if unknown := sorted(wanted - FEATURES.keys()):
        raise ValueError(f"no such features: {', '.join(unknown)}; features/catalogue.toml names all there are")
    return tuple(name for name in FEATURES if name in wanted)


def totals(log: Log, wanted: Collection[str] | None = None) -> ibis.Table:
    """Return what the features are derived from: one row per customer with a purchase occasion.

    Of the totals only the ``wanted`` ones are computed (all for None), and a part that has none of them is not joined.
    """
    row = _kept(_over_occasions(log.occasions), wanted)
    parts = (
        _over_orders(log.orders),
        basket.by_category(log.categories),
        habits.by_channel(habits.channel_orders(log.orders)),
        offers.by_offer(log.offers, log.outcomes),
        offers.by_redemption(log.outcomes),
        _over_interactions(log.interactions),
        service.by_opinion(log.interactions),
        _creation(log.customers),
    )
    for number, part in enumerate(parts):  # one chain of joins without a projection between: half the SQL
        kept = _kept(part, wanted)
        if len(kept.columns) > len(KEYS):
            row = row.left_join(kept, list(KEYS), rname=f"{{name}}_{number}")
    return row.mutate(**log.cutoff)


def _kept(part: ibis.Table, wanted: Collection[str] | None) -> ibis.Table:
    """Return the part without the totals that nobody wants."""
    whole: Any = part.op()
    if wanted is None:
        return part
    metrics = {name: metric for name, metric in whole.metrics.items() if name in wanted}
    return ops.Aggregate(whole.parent, whole.groups, metrics).to_expr()


def _over_occasions(occasions: ibis.Table) -> ibis.Table:
    return _aggregated(occasions, (group.from_occasions(occasions) for group in FROM_OCCASIONS))


def _over_orders(orders: ibis.Table) -> ibis.Table:
    return _aggregated(orders, (group.from_orders(orders) for group in FROM_ORDERS))


def _over_interactions(interactions: ibis.Table) -> ibis.Table:
    return _aggregated(interactions, (group.from_interactions(interactions) for group in FROM_INTERACTIONS))


def _aggregated(events: ibis.Table, totals_of_groups: Iterable[Mapping[str, Any]]) -> ibis.Table:
    whole = {name: total for totals in totals_of_groups for name, total in totals.items()}
    return events.group_by(*KEYS).aggregate(**whole)


def _creation(customers: ibis.Table) -> ibis.Table:
    """Return when the business first knew each customer."""
    return customers.group_by("customer_id").aggregate(created_at=customers.created_at.min())


@cache
def _template() -> ibis.Table:
    """Return a row of all totals that belongs to no log: what formulas are written over once, for every log."""
    tables = {name: ibis.table(table.schema, name=name) for name, table in TABLES.items()}
    moment = AsOf.parse("2000-01-01", "UTC")
    return ibis.table(totals(view(Records(tables, "UTC", "XXX"), moment)).schema(), name="totals")


@cache
def _formulas() -> Mapping[str, ops.Node]:
    """Return each feature as an expression over the template."""
    derived: dict[str, Any] = {}
    for group in DERIVED:
        derived |= group.derive(_template())
    return {name: derived[name].cast("float64").op() for name in FEATURES}


def _read(formula: ops.Node) -> set[str]:
    """Return the totals that a feature's formula reads."""
    return {field.name for field in formula.find(ops.Field)}
