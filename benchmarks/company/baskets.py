"""What orders hold: lines that add up to a Gamma-Gamma order value, taste, replenishment, discounts, returns."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.company.people import People
from benchmarks.company.purchases import History
from benchmarks.company.settings import CATEGORIES, NEED_TYPES, CompanySettings, Flags, Floats, Ints
from benchmarks.company.tables import in_log, instants, numbered, texts

# Days a category lasts before it is bought again; mugs and machines last.
CYCLE_DAYS = {"coffee": 28.0, "tea": 42.0, "filters": 56.0}
NEEDS_SHARE = 0.35  # of customers who restock a category by its cycle
PRICE_WEIGHT = np.array([1.0, 0.9, 0.5, 1.2, 6.0])  # of a line in its order's value, by category
LINE_MARGINS = np.array([0.42, 0.45, 0.50, 0.38, 0.28])
DISCOUNT_SHARE = {"rational": 0.45, "emotional": 0.05, "social": 0.15}
DISCOUNTS = np.array([0.10, 0.15, 0.20, 0.30])
# A product is a category and a step of price, so its price hardly varies.
PRICE_STEPS, LOWEST_PRICE, STEP = 60, 0.5, 0.12
SHOPS = ("web", "store")
FOREIGN, FOREIGN_RATE = "USD", 0.9  # what one USD is worth in the company's EUR


@dataclass(frozen=True)
class Lines:
    """Order lines (m,): ``order`` points into the history; money in EUR; returns come last, negative."""

    order: Ints
    day: Floats
    category: Ints
    amount: Floats
    quantity: Ints
    discount: Floats
    product: Ints
    returned: Flags


def make_lines(rng: np.random.Generator, people: People, history: History, settings: CompanySettings) -> Lines:
    """Fill every order with lines, and return about 3 % of them within two weeks."""
    first = np.diff(history.owner, prepend=-1) > 0
    order, category = _contents(rng, people, history, first)
    value = rng.gamma(settings.value_p, people.mean_order_value[history.owner] / settings.value_p)
    weight = PRICE_WEIGHT[category] * rng.uniform(0.6, 1.4, size=len(order))
    amount = value[order] * weight / np.bincount(order, weights=weight, minlength=len(value))[order]
    amount = np.maximum(np.round(amount, 2), 0.01)
    drawn = rng.uniform(size=len(order))
    quantity = 1 + (drawn < 0.3).astype(np.int64) + (drawn < 0.08)
    likely = np.array([DISCOUNT_SHARE[need] for need in NEED_TYPES])[people.codes["need_type"]]
    reduced = rng.uniform(size=len(order)) < likely[history.owner[order]]
    rate = np.where(reduced, DISCOUNTS[rng.integers(len(DISCOUNTS), size=len(order))], 0.0)
    discount = np.round(amount * rate / (1 - rate), 2)
    step = np.floor(np.log((amount + discount) / quantity / LOWEST_PRICE) / STEP).astype(np.int64)
    product = category * PRICE_STEPS + np.clip(step, 0, PRICE_STEPS - 1)
    lines = Lines(
        order, history.day[order], category, amount, quantity, discount, product, np.zeros(len(order), np.bool_)
    )
    return _with_returns(rng, lines, settings.return_share)


def _contents(rng: np.random.Generator, people: People, history: History, first: Flags) -> tuple[Ints, Ints]:
    """Return (order, category) of every line, by order: what is due for restocking, and what taste adds.

    All lines of a first order are of the customer's first category: a covariate that the records show.
    """
    due_order, due_category = _due(rng, people, history, first)
    favourite = people.codes["first_category"][history.owner]
    count = 1 + rng.poisson(0.6, size=len(favourite))
    order = np.repeat(np.arange(len(favourite)), count)
    by_taste = rng.uniform(size=len(order)) < 0.55
    category = np.where(by_taste, favourite[order], rng.integers(len(CATEGORIES), size=len(order)))
    category = np.where(first[order], favourite[order], category)
    order, category = np.concatenate([order, due_order]), np.concatenate([category, due_category])
    by_order = np.argsort(order, kind="stable")
    return order[by_order], category[by_order]


def _due(rng: np.random.Generator, people: People, history: History, first: Flags) -> tuple[Ints, Ints]:
    """Return (order, category) where a category has run out since the order before."""
    n, k = len(people), len(CYCLE_DAYS)
    cycle = np.array(list(CYCLE_DAYS.values())) * rng.lognormal(0.0, 0.2, size=(n, k))
    cycle[rng.uniform(size=(n, k)) >= NEEDS_SHARE] = np.inf
    phase = rng.uniform(size=(n, k))
    age = history.day - people.born[history.owner]
    used_up = np.floor(age[:, None] / cycle[history.owner] + phase[history.owner])
    due = np.diff(used_up, axis=0, prepend=0) > 0
    due[first] = False
    order, which = np.nonzero(due)
    codes = np.array([CATEGORIES.index(name) for name in CYCLE_DAYS])
    return order, codes[which]


def _with_returns(rng: np.random.Generator, lines: Lines, share: float) -> Lines:
    back = np.flatnonzero(rng.uniform(size=len(lines.order)) < share)
    parts = {name: getattr(lines, name) for name in Lines.__dataclass_fields__}
    taken = {name: part[back] for name, part in parts.items()}
    taken["day"] = taken["day"] + rng.uniform(1.0, 14.0, size=len(back))
    taken |= {
        "amount": -taken["amount"],
        "quantity": -taken["quantity"],
        "discount": np.zeros(len(back)),
        "returned": np.ones(len(back), np.bool_),
    }
    return Lines(**{name: np.concatenate([part, taken[name]]) for name, part in parts.items()})


def order_value(lines: Lines, orders: int) -> Floats:
    """Return what each order came to before returns."""
    bought = ~lines.returned
    return np.bincount(lines.order[bought], weights=lines.amount[bought], minlength=orders).astype(np.float64)


def orders_table(
    rng: np.random.Generator,
    people: People,
    history: History,
    lines: Lines,
    ids: pa.Array,
    days: int,
    settings: CompanySettings,
) -> pa.Table:
    """Return the orders table by time."""
    owner = history.owner[lines.order]
    kept = in_log(lines.day, days)
    web = rng.beta(3.0, 1.5, size=len(people))
    in_shop = rng.uniform(size=len(history.owner)) >= web[history.owner]
    sequence = np.arange(len(history.owner)) - np.searchsorted(history.owner, history.owner)
    order_ids = numbered("R", people.first + history.owner, sequence)
    both = pa.concat_arrays([order_ids, numbered("XR", people.first + history.owner, sequence)])
    foreign = rng.uniform(size=len(people)) < settings.foreign_share
    rate = np.where(foreign, FOREIGN_RATE, 1.0)[owner[kept]]
    amount, discount, quantity = (part[kept] for part in (lines.amount, lines.discount, lines.quantity))
    products = [f"P{name[:2].upper()}{step:02d}" for name in CATEGORIES for step in range(PRICE_STEPS)]
    columns = {
        "customer_id": pa.DictionaryArray.from_arrays(pa.array(owner[kept].astype(np.int32)), ids),
        "ordered_at": instants(lines.day[kept]),
        "order_id": pa.DictionaryArray.from_arrays(
            pa.array((lines.order + lines.returned * len(history.owner))[kept].astype(np.int32)), both
        ),
        "amount": pa.array(np.round(amount / rate, 2)),
        "quantity": pa.array(quantity.astype(np.float64)),
        "unit_price": pa.array(np.round((np.abs(amount) + discount) / np.abs(quantity) / rate, 4)),
        "discount": pa.array(np.round(discount / rate, 2)),
        "product_id": texts(lines.product[kept], products),
        "category": texts(lines.category[kept], CATEGORIES),
        "channel": texts(in_shop[lines.order[kept]].astype(np.int64), SHOPS),
        "margin": pa.array(np.round(amount * LINE_MARGINS[lines.category[kept]] / rate, 2)),
    }
    if settings.foreign_share:
        columns["currency"] = texts(foreign[owner[kept]].astype(np.int64), ("EUR", FOREIGN))
    return pa.table(columns)
