"""Offers and outcomes as a business logs them, and the truth beside each."""

import numpy as np
import pyarrow as pa

from benchmarks.company.baskets import Lines, order_value
from benchmarks.company.consents import CHANNELS
from benchmarks.company.offers import ARMS, COMPLAINS, CONTROL, Offers
from benchmarks.company.people import People
from benchmarks.company.purchases import DAY_SPAN, Complaints, History
from benchmarks.company.settings import ACTIONS, OFFER_EFFECT_DAYS, OFFER_WAVE_DAYS, Flags, Floats, Ints
from benchmarks.company.tables import in_log, instants, numbered, texts

OUTCOMES = ("bought", "redeemed", "clicked", "complained", "unsubscribed")
SERVICE = "complaint_call"
SENT = (*ARMS, SERVICE)
COUPONS = [ACTIONS.index("coupon"), ACTIONS.index("win_back_coupon")]
REDEEM_SHARE = 0.6


def _offer_ids(people: People, offers: Offers) -> pa.Array:
    return numbered("O", people.first + offers.owner, (offers.day // OFFER_WAVE_DAYS).astype(np.int64))


def offers_table(people: People, offers: Offers, complaints: Complaints, ids: pa.Array, days: int) -> pa.Table:
    """Return offers with their logged propensities, and staff's replies to complaints, which nobody drew at random."""
    answered = np.flatnonzero(complaints.replied < days)
    owner = np.concatenate([offers.owner, complaints.owner[answered]])
    day = np.concatenate([offers.day, complaints.replied[answered]])
    arm = np.concatenate([offers.arm, np.full(len(answered), SENT.index(SERVICE))])
    channel = np.concatenate([offers.channel, np.full(len(answered), CHANNELS.index("phone"))])
    propensity = np.concatenate([offers.propensity, np.full(len(answered), np.nan)])
    names = pa.concat_arrays(
        [_offer_ids(people, offers), numbered("S", people.first + owner[len(offers.owner) :], answered)]
    )
    kept = in_log(day, days)
    return pa.table(
        {
            "customer_id": pa.DictionaryArray.from_arrays(pa.array(owner[kept].astype(np.int32)), ids),
            "occurred_at": instants(day[kept]),
            "offer_id": names.take(pa.array(kept)),
            "action_id": texts(arm[kept], SENT),
            "channel": texts(channel[kept], CHANNELS),
            "propensity": pa.array(propensity[kept], mask=np.isnan(propensity[kept])),
            "control": pa.array(arm[kept] == CONTROL),
        }
    )


def offer_truth(people: People, offers: Offers, ids: pa.Array) -> pa.Table:
    """Return what every offer would have done: one row per randomised offer."""
    return pa.table(
        {
            "offer_id": _offer_ids(people, offers),
            "customer_id": ids.take(pa.array(offers.owner)),
            "at_risk": pa.array(offers.at_risk),
            "expected_orders": pa.array(offers.expected_orders),
            **{f"uplift_{name}": pa.array(offers.uplift[:, column]) for column, name in enumerate(ACTIONS)},
        }
    )


def outcomes_table(
    rng: np.random.Generator,
    people: People,
    history: History,
    lines: Lines,
    offers: Offers,
    clicked: Flags,
    ids: pa.Array,
    days: int,
) -> pa.Table:
    """Return what followed each offer; ``bought`` is written for the control group too, once an order."""
    which, order = _orders_after(history, offers)
    value = order_value(lines, len(history.owner))
    first = np.diff(which, prepend=-1) > 0
    redeemed = first & np.isin(offers.arm[which], COUPONS) & (rng.uniform(size=len(which)) < REDEEM_SHARE)
    odds = np.array([*(COMPLAINS.get(name, 0.002) for name in ACTIONS), 0.0])[offers.arm]
    cross = np.flatnonzero(rng.uniform(size=len(odds)) < odds)
    click, gone = np.flatnonzero(clicked), np.flatnonzero(np.isfinite(offers.unsubscribed))
    parts: list[tuple[Ints, Floats, Floats]] = [
        (which, history.day[order], value[order]),
        (which[redeemed], history.day[order[redeemed]], value[order[redeemed]]),
        (click, offers.day[click] + 0.201, np.full(len(click), np.nan)),
        (cross, offers.day[cross] + 1.0, np.full(len(cross), np.nan)),
        (gone, offers.unsubscribed[gone], np.full(len(gone), np.nan)),
    ]
    answers, day, amount = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    kind = np.repeat(np.arange(len(OUTCOMES)), [len(part[0]) for part in parts])
    kept = in_log(day, days)
    return pa.table(
        {
            "customer_id": pa.DictionaryArray.from_arrays(pa.array(offers.owner[answers[kept]].astype(np.int32)), ids),
            "occurred_at": instants(day[kept]),
            "offer_id": _offer_ids(people, offers).take(pa.array(answers[kept])),
            "kind": texts(kind[kept], OUTCOMES),
            "amount": pa.array(np.round(amount[kept], 2), mask=np.isnan(amount[kept])),
        }
    )


def _orders_after(history: History, offers: Offers) -> tuple[Ints, Ints]:
    """Return (offer, order) for every order in the 28 days after an offer."""
    key = history.owner * DAY_SPAN + history.day
    sent = offers.owner * DAY_SPAN + offers.day
    begin = np.searchsorted(key, sent)
    count = np.searchsorted(key, sent + OFFER_EFFECT_DAYS) - begin
    which = np.repeat(np.arange(len(offers.owner)), count)
    within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    return which, begin[which] + within
