"""One block of customers from beginning to end; blocks know nothing of each other."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.company.baskets import make_lines, orders_table
from benchmarks.company.consents import make_consents
from benchmarks.company.contacts import clicks_on, interactions_table, make_events, offer_events
from benchmarks.company.log import offer_truth, offers_table, outcomes_table
from benchmarks.company.mess import know_late, second_ids
from benchmarks.company.offers import run_waves, standing_at, uplifts
from benchmarks.company.people import People, make_people, referrers
from benchmarks.company.purchases import Clock, Complaints, History, complain, order_days
from benchmarks.company.register import consents_table, customers_table
from benchmarks.company.settings import ACTIONS, OFFER_EFFECT_DAYS, SHARES, CompanySettings
from benchmarks.company.tables import customer_ids, instants, texts

BLOCK = 20_000
STAGES = (
    *("people", "orders", "complaints", "consents", "offers", "baskets", "shops", "contacts", "clicks", "register"),
    *("outcomes", "ids", "late"),
)


@dataclass(frozen=True)
class Block:
    """Contract tables and truth tables of one block, by name."""

    tables: Mapping[str, pa.Table]
    truth: Mapping[str, pa.Table]


def block_count(customers: int) -> int:
    """Return how many blocks hold so many customers."""
    return -(-customers // BLOCK)


def make_block(number: int, customers: int, days: int, seed: int, settings: CompanySettings) -> Block:
    """Generate block ``number`` of a company of ``customers``, alone: it depends on nothing in the others.

    Every stage draws from a stream of its own, so a knob of one stage leaves the draws of the others as they are.
    """
    streams = np.random.SeedSequence([seed, number]).spawn(len(STAGES))
    rng = {stage: np.random.default_rng(stream) for stage, stream in zip(STAGES, streams, strict=True)}
    clock = Clock(days, settings.season, settings.trend_per_year)
    first = number * BLOCK
    people = make_people(rng["people"], first, min(BLOCK, customers - first), days, settings)
    history = order_days(rng["orders"], people, clock, settings)
    complaints = complain(rng["complaints"], people, history, clock, settings)
    referred_by = referrers(rng["people"], people, history.left)
    consents = make_consents(rng["consents"], people, days)
    campaign = run_waves(rng["offers"], people, history, consents, clock, settings)
    lines = make_lines(rng["baskets"], people, history, settings)
    opened, clicked = clicks_on(rng["clicks"], people, history, campaign)
    events = make_events(rng["contacts"], people, history, clock, complaints, referred_by)
    events += offer_events(campaign, opened, clicked)
    ids, offers = customer_ids(first, len(people)), campaign.offers
    tables = {
        "orders": orders_table(rng["shops"], people, history, lines, ids, days, settings),
        "customers": customers_table(rng["register"], people, referred_by, ids),
        "interactions": interactions_table(events, ids, days),
        "offers": offers_table(people, offers, complaints, ids, days),
        "outcomes": outcomes_table(rng["outcomes"], people, history, lines, offers, clicked, ids, days),
        "consents": consents_table(consents, people, ids, days),
    }
    tables |= _messy(rng, people, tables, days, settings)
    truth = {
        "customers": _customer_truth(people, history, days, ids),
        "offers": offer_truth(people, offers, ids),
        "complaints": _complaint_truth(complaints, days, ids),
    }
    return Block(tables, truth)


def _messy(
    rng: Mapping[str, np.random.Generator],
    people: People,
    tables: Mapping[str, pa.Table],
    days: int,
    settings: CompanySettings,
) -> dict[str, pa.Table]:
    """Return the tables that late rows and second ids change; nothing unless they are asked for."""
    orders, interactions = tables["orders"], tables["interactions"]
    changed = {}
    if settings.second_id_share:
        orders, changed["identities"] = second_ids(rng["ids"], people, orders, settings.second_id_share, days)
        changed["orders"] = orders
    if settings.late_share:
        one_order = orders["order_id"].combine_chunks().indices.to_numpy()
        changed["orders"] = know_late(rng["late"], orders, "ordered_at", settings.late_share, one_order)
        each = np.arange(interactions.num_rows)
        changed["interactions"] = know_late(rng["late"], interactions, "occurred_at", settings.late_share, each)
    return changed


def _customer_truth(people: People, history: History, days: int, ids: pa.Array) -> pa.Table:
    latest = np.zeros(len(people))
    latest[history.owner] = history.day
    standing = standing_at(people, history, latest, float(days), OFFER_EFFECT_DAYS)
    uplift = uplifts(people, standing)
    return pa.table(
        {
            "customer_id": ids,
            "rate_per_day": people.rate_per_day,
            "dropout_probability": people.dropout_probability,
            "mean_order_value": people.mean_order_value,
            "died_after_days": history.left - people.born,
            "left_because": texts(history.left_because, History.LEAVING),
            **{name: texts(people.codes[name], tuple(SHARES[name])) for name in ("need_type", "first_category")},
            "erlang_shape": people.erlang,
            "satisfaction": people.satisfaction,
            "engagement_per_day": people.engagement,
            "standing_control": people.standing_control,
            "at_risk": standing.at_risk,
            "expected_orders": standing.expected_orders,
            **{f"uplift_{name}": uplift[:, column] for column, name in enumerate(ACTIONS)},
        }
    )


def _complaint_truth(complaints: Complaints, days: int, ids: pa.Array) -> pa.Table:
    known = np.flatnonzero(complaints.opened < days)
    return pa.table(
        {
            "customer_id": ids.take(pa.array(complaints.owner[known])),
            "opened_at": instants(complaints.opened[known]),
            "replied_at": instants(complaints.replied[known]),
            "staff_minutes": complaints.staff_minutes[known],
            "drove_away": complaints.drove_away[known],
        }
    )
