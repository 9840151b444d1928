"""One generated company: every table of the contract, with the truth that made it.

No public records hold consent, complaints, satisfaction, referrals, birthdays and offers with known
effects. What only such records can show is judged here, and whatever shows it says so.

Purchases follow BG/NBD (Fader, Hardie & Lee 2005, section 2): order gaps are exponential with a gamma
rate, and after each order the customer leaves for good with a beta probability. Order values follow
Gamma-Gamma (Fader & Hardie 2013). Every number below is a choice, not an estimate.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FIRST_DAY = pd.Timestamp("2024-01-01")
CATEGORIES = ("coffee", "tea", "filters", "mugs", "machines")
OFFER_EFFECT_DAYS = 28
OFFER_EFFECTS = {"newsletter": 0.00, "coupon": 0.60, "daily_reminder": -0.40}


@dataclass(frozen=True)
class Company:
    """Contract tables by name, and one row of truth per customer.

    ``truth``: customer_id, rate_per_day, dropout_probability, mean_order_value, and died_after_days (age
    at the order after which the customer left; infinite when that lies beyond the log).
    ``OFFER_EFFECTS`` holds each offer's true relative effect on orders in the 28 days after it.
    """

    tables: dict[str, pd.DataFrame]
    truth: pd.DataFrame
    days: int

    @property
    def last_day(self) -> pd.Timestamp:
        """First day after the log."""
        return FIRST_DAY + pd.Timedelta(days=self.days)


def _ids(numbers: Ints) -> pd.Series:
    return "C" + pd.Series(numbers).astype("str").str.zfill(7)


def _instants(days: Floats) -> pd.DatetimeIndex:
    return FIRST_DAY + pd.to_timedelta(np.floor(np.asarray(days) * 86_400), unit="s")


def _order_days(
    rng: np.random.Generator, born: Floats, rate: Floats, dropout: Floats, days: int
) -> tuple[Ints, Floats, Floats]:
    """Return (customer number, day) of every order inside the log, and each customer's day of leaving.

    Repeats are cut where even eight standard deviations above the expected count would lie beyond the log.
    """
    repeats = rng.geometric(dropout)
    expected = rate * (days - born)
    kept = np.minimum(repeats, np.ceil(expected + 8 * np.sqrt(expected) + 12)).astype(np.int64)
    owner = np.repeat(np.arange(len(born)), kept)
    gaps = rng.exponential(1 / rate[owner])
    ends = np.cumsum(kept)
    starts = ends - kept
    running = np.cumsum(gaps)
    age = running - np.repeat(np.concatenate([[0.0], running[ends[:-1] - 1]]), kept)
    day = born[owner] + age
    left = np.where(repeats == kept, day[starts + kept - 1], np.inf)
    owner = np.concatenate([np.arange(len(born)), owner])
    day = np.concatenate([born, day])
    inside = day < days
    return owner[inside], day[inside], np.where(left < days, left, np.inf)


def _offers(rng: np.random.Generator, born: Floats, days: int) -> pd.DataFrame:
    """Randomised mailings every eight weeks: each customer draws one of the offers or the control."""
    waves = np.arange(56, days - OFFER_EFFECT_DAYS, 56)
    names = np.array([*OFFER_EFFECTS, "control"])
    frames = []
    for wave in waves:
        customer = np.flatnonzero(born < wave)
        drawn = names[rng.integers(len(names), size=len(customer))]
        frames.append(pd.DataFrame({"customer": customer, "day": float(wave), "action_id": drawn}))
    offers = pd.concat(frames, ignore_index=True)
    offers["control"] = offers["action_id"] == "control"
    offers["propensity"] = 1 / len(names)
    offers["channel"] = "email"
    offers["offer_id"] = "O" + offers.index.astype("str")
    return offers


def _apply_effects(
    rng: np.random.Generator, owner: Ints, day: Floats, left: Floats, rate: Floats, offers: pd.DataFrame
) -> tuple[Ints, Floats]:
    """Add or thin the orders in the 28 days after each offer by its true relative effect."""
    effect = offers["action_id"].map({**OFFER_EFFECTS, "control": 0.0}).to_numpy()
    customer, start = offers["customer"].to_numpy(), offers["day"].to_numpy()
    lived = np.clip(np.minimum(left[customer], start + OFFER_EFFECT_DAYS) - start, 0, None)
    extra = rng.poisson(np.clip(effect, 0, None) * rate[customer] * lived)
    added_day = np.repeat(start, extra) + rng.uniform(size=extra.sum()) * np.repeat(lived, extra)
    keep = np.ones(len(day), dtype=bool)
    for moment in np.unique(start):
        mailed = start == moment
        loss = np.zeros(len(rate))
        loss[customer[mailed]] = np.clip(-effect[mailed], 0, None)
        inside = np.flatnonzero((day >= moment) & (day < moment + OFFER_EFFECT_DAYS))
        keep[inside] = rng.uniform(size=len(inside)) >= loss[owner[inside]]
    return np.concatenate([owner[keep], np.repeat(customer, extra)]), np.concatenate([day[keep], added_day])


def _lines(rng: np.random.Generator, owner: Ints, day: Floats, mean_order_value: Floats) -> pd.DataFrame:
    """One to four lines per order; about 3 % of orders are followed by the return of one line."""
    count = rng.integers(1, 5, size=len(owner))
    order = np.repeat(np.arange(len(owner)), count)
    value = rng.gamma(6.0, mean_order_value[owner] / 6.0)
    favourite = owner[order] % len(CATEGORIES)
    category = np.where(rng.uniform(size=len(order)) < 0.5, favourite, rng.integers(len(CATEGORIES), size=len(order)))
    amount = np.round(value[order] / count[order], 2)
    lines = pd.DataFrame(
        {
            "customer": owner[order],
            "day": day[order],
            "order_id": "R" + pd.Series(order).astype("str"),
            "amount": amount,
            "quantity": rng.integers(1, 4, size=len(order)).astype(float),
            "discount": np.round(amount * 0.1 * (rng.uniform(size=len(order)) < 0.2), 2),
            "product_id": "P" + pd.Series(category * 100 + rng.integers(20, size=len(order))).astype("str"),
            "category": np.array(CATEGORIES)[category],
            "channel": np.where(rng.uniform(size=len(order)) < 0.7, "web", "store"),
        }
    )
    returned = lines[rng.uniform(size=len(lines)) < 0.03].copy()
    returned["day"] += rng.uniform(1, 14, size=len(returned))
    returned[["amount", "quantity"]] *= -1
    returned["discount"] = 0.0
    returned["order_id"] = "X" + returned["order_id"]
    return pd.concat([lines, returned], ignore_index=True)


def _interactions(rng: np.random.Generator, owner: Ints, day: Floats) -> pd.DataFrame:
    """Return visits before orders; complaints, satisfaction and referrals after some of them."""

    def after(kind: str, share: float, delay: Floats | float, value: Floats | float = np.nan) -> pd.DataFrame:
        chosen = rng.uniform(size=len(owner)) < share
        delays = np.broadcast_to(delay, len(owner))[chosen]
        values = np.broadcast_to(value, len(owner))[chosen]
        return pd.DataFrame({"customer": owner[chosen], "day": day[chosen] + delays, "kind": kind, "value": values})

    score = rng.integers(1, 6, size=len(owner)).astype(float)
    complaints = after("complaint_opened", 0.03, 2.0)
    closed = complaints[rng.uniform(size=len(complaints)) < 0.8].assign(kind="complaint_closed")
    closed["day"] += rng.exponential(2.0, size=len(closed))
    frames = [
        after("visit", 0.8, -rng.exponential(0.2, size=len(owner))),
        after("open", 0.3, 5.0),
        after("satisfaction", 0.1, 1.0, score),
        after("nps", 0.05, 10.0, 2 * score),
        after("referral", 0.02, 7.0),
        complaints,
        closed,
    ]
    return pd.concat(frames, ignore_index=True).assign(channel="web")


def _customers(rng: np.random.Generator, born: Floats) -> pd.DataFrame:
    number = np.arange(len(born))
    years_old = rng.integers(18, 80, size=len(born))
    return pd.DataFrame(
        {
            "customer": number,
            "created_at": _instants(born),
            "name": "Customer " + pd.Series(number).astype("str"),
            "email": "customer" + pd.Series(number).astype("str") + "@example.com",
            "language": np.where(rng.uniform(size=len(born)) < 0.3, "zh", "en"),
            "birthday": (
                FIRST_DAY - pd.to_timedelta(years_old * 365 + rng.integers(365, size=len(born)), unit="D")
            ).date,
            "acquisition_channel": np.where(rng.uniform(size=len(born)) < 0.5, "search", "friend"),
            "region": np.where(rng.uniform(size=len(born)) < 0.5, "north", "south"),
            "margin_rate": 0.4,
        }
    )


def _consents(rng: np.random.Generator, born: Floats, days: int) -> pd.DataFrame:
    """Nine of ten agree to e-mail when they arrive; a tenth of those withdraw later."""
    agreed = np.flatnonzero(rng.uniform(size=len(born)) < 0.9)
    withdrew = agreed[rng.uniform(size=len(agreed)) < 0.1]
    given = pd.DataFrame({"customer": agreed, "day": born[agreed], "granted": True})
    withdrawn_day = rng.uniform(born[withdrew], days)
    withdrawn = pd.DataFrame({"customer": withdrew, "day": withdrawn_day, "granted": False})
    return pd.concat([given, withdrawn], ignore_index=True).assign(channel="email", purpose="marketing")


def _finish(frame: pd.DataFrame, instant: str | None, days: int) -> pd.DataFrame:
    """Turn customer numbers into ids and days into instants, drop what lies outside the log, order by time."""
    if instant is not None:
        frame = frame[(frame["day"] >= 0) & (frame["day"] < days)].sort_values(["day", "customer"], kind="stable")
        frame = frame.assign(**{instant: _instants(frame["day"].to_numpy())}).drop(columns="day")
    return (
        frame.assign(customer_id=_ids(frame["customer"].to_numpy()).to_numpy())
        .drop(columns="customer")
        .reset_index(drop=True)
    )


def generate(customers: int = 1_000, days: int = 540, seed: int = 7) -> Company:
    """Generate a company of ``customers`` who arrive evenly over the first two thirds of ``days``."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(2.0, 1 / 60.0, size=customers) + 1e-4
    dropout = np.clip(rng.beta(1.0, 9.0, size=customers), 1e-4, 1 - 1e-9)
    mean_order_value = 6.0 * 15.0 / rng.gamma(4.0, 1.0, size=customers)
    born = np.sort(rng.uniform(0, days * 2 / 3, size=customers))
    owner, day, left = _order_days(rng, born, rate, dropout, days)
    offers = _offers(rng, born, days)
    owner, day = _apply_effects(rng, owner, day, left, rate, offers)
    redeemed = offers[(offers["action_id"] == "coupon") & (rng.uniform(size=len(offers)) < 0.2)]
    outcomes = redeemed[["customer", "offer_id"]].assign(day=redeemed["day"] + 5, kind="redeemed")
    tables = {
        "orders": _finish(_lines(rng, owner, day, mean_order_value), "ordered_at", days),
        "customers": _finish(_customers(rng, born), None, days),
        "interactions": _finish(_interactions(rng, owner, day), "occurred_at", days),
        "offers": _finish(offers, "occurred_at", days),
        "outcomes": _finish(outcomes, "occurred_at", days),
        "consents": _finish(_consents(rng, born, days), "occurred_at", days),
    }
    truth = pd.DataFrame(
        {
            "customer_id": _ids(np.arange(customers)),
            "rate_per_day": rate,
            "dropout_probability": dropout,
            "mean_order_value": mean_order_value,
            "died_after_days": left - born,
        }
    )
    return Company(tables=tables, truth=truth, days=days)
