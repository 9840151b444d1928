"""Offers drawn at random with a known probability, and what each of them does to whom."""

from dataclasses import dataclass, field

import numpy as np

from benchmarks.company.consents import Consents
from benchmarks.company.people import People
from benchmarks.company.purchases import Clock, History, by_customer
from benchmarks.company.settings import (
    ACTIONS,
    AT_RISK_DAYS,
    AT_RISK_GAPS,
    DRIVES_AWAY,
    OFFER_EFFECT_DAYS,
    OFFER_EFFECTS,
    OFFER_GROUPS,
    OFFER_WAVE_DAYS,
    RECOMMENDS,
    WINS_BACK,
    CompanySettings,
    Flags,
    Floats,
    Ints,
)

ARMS = (*ACTIONS, "control")
CONTROL = len(ACTIONS)
SENT_AT = 10 / 24
# What the targeted policy prefers, from what the business sees: days since the last order.
SILENT_DAYS = 45
PREFERENCE_SILENT = {"win_back_coupon": 4.0, "daily_reminder": 2.0}
PREFERENCE_ACTIVE = {"coupon": 3.0, "referral_invitation": 2.0}
UNSUBSCRIBES = {"daily_reminder": 0.06}
COMPLAINS = {"daily_reminder": 0.03}


@dataclass(frozen=True)
class Standing:
    """Where customers stand at one moment, each (n,): what an offer's effect depends on.

    ``expected_orders`` are those of the next 28 days if nothing is sent, given the hidden state.
    """

    expected_orders: Floats
    at_risk: Flags
    silent_days: Floats


@dataclass
class Offers:
    """Offers of a block (k,), by day; ``arm`` is a position in ``ARMS``, ``channel`` one in ``CHANNELS``.

    ``expected_orders`` (k,) and ``uplift`` (k, n_actions) are the truth at the moment of sending: orders of the
    next 28 days with nothing sent, and how many more each action brings. ``unsubscribed`` is a day, or infinite.
    """

    owner: Ints
    day: Floats
    arm: Ints
    channel: Ints
    propensity: Floats
    expected_orders: Floats
    uplift: Floats
    at_risk: Flags
    unsubscribed: Floats


def _no_offers() -> Offers:
    nobody, never = np.zeros(0, dtype=np.int64), np.zeros(0)
    return Offers(
        owner=nobody,
        day=never,
        arm=nobody,
        channel=nobody,
        propensity=never,
        expected_orders=never,
        uplift=np.zeros((0, len(ACTIONS))),
        at_risk=np.zeros(0, dtype=np.bool_),
        unsubscribed=never,
    )


@dataclass
class Campaign:
    """Everything the waves of offers did."""

    waves: list[Offers] = field(default_factory=lambda: [_no_offers()])
    added_owner: list[Ints] = field(default_factory=list)
    added_day: list[Floats] = field(default_factory=list)
    recommended: list[tuple[Ints, Floats]] = field(default_factory=list)

    @property
    def offers(self) -> Offers:
        """All offers, by wave."""
        names = Offers.__dataclass_fields__
        return Offers(**{name: np.concatenate([getattr(wave, name) for wave in self.waves]) for name in names})


def standing_at(people: People, history: History, last_order: Floats, day: float, busy_days: float) -> Standing:
    """Return where every customer stands on a day, ``busy_days`` being what the next 28 days hold.

    Orders until the horizon follow from the memoryless gaps: (1 - exp(-rate * dropout * time)) / dropout. Regular
    shoppers' are taken as if they had no memory either, and complaints to come are left out.
    """
    rate, dropout = people.rate_per_day, people.dropout_probability
    alive = (history.left > day) & (people.born < day)
    expected = np.where(alive, -np.expm1(-rate * dropout * busy_days) / dropout, 0.0)
    silent = day - last_order
    return Standing(expected, silent > np.maximum(AT_RISK_GAPS / rate, AT_RISK_DAYS), silent)


def uplifts(people: People, standing: Standing) -> Floats:
    """Return the true uplift of every action on the orders of 28 days, (n, n_actions)."""
    columns = []
    for action in ACTIONS:
        stays = 1 - people.by_need(DRIVES_AWAY, action)
        relative = stays * (1 + people.by_need(OFFER_EFFECTS, action)) - 1
        columns.append(standing.expected_orders * relative + standing.at_risk * people.by_need(WINS_BACK, action))
    return np.stack(columns, axis=1)


def propensities(standing: Standing, settings: CompanySettings) -> Floats:
    """Return the probability of every arm, (n, n_arms): the control's holds the standing control group as well."""
    weight = np.ones((len(standing.silent_days), len(ARMS)))
    if settings.policy == "targeted":
        silent = standing.silent_days > SILENT_DAYS
        for preference, those in ((PREFERENCE_SILENT, silent), (PREFERENCE_ACTIVE, ~silent)):
            for action, times in preference.items():
                weight[those, ACTIONS.index(action)] *= times
    chosen: Floats = (1 - settings.control_share) * weight / weight.sum(axis=1, keepdims=True)
    chosen[:, CONTROL] += settings.control_share
    return chosen


def run_waves(
    rng: np.random.Generator,
    people: People,
    history: History,
    consents: Consents,
    clock: Clock,
    settings: CompanySettings,
) -> Campaign:
    """Send waves of offers and let them act: orders are added, others fall away, some customers leave.

    A customer is reached every eight weeks, if by some channel open to marketing; the standing control group always
    gets control.
    """
    campaign = Campaign()
    if settings.policy == "none":
        return campaign
    last_added = np.full(len(people), -np.inf)
    keep = np.ones(len(history.day), dtype=np.bool_)
    between = OFFER_WAVE_DAYS // OFFER_GROUPS
    group = (people.first + np.arange(len(people))) % OFFER_GROUPS
    for wave in range(OFFER_WAVE_DAYS, clock.days - OFFER_EFFECT_DAYS, between):
        start = wave + SENT_AT
        arrived = np.flatnonzero((people.born < start) & (group == wave // between % OFFER_GROUPS))
        last = np.maximum(_last_order(history, keep, len(people), start), last_added)
        begin, end = clock.busy(np.array([start, start + OFFER_EFFECT_DAYS]))
        standing = standing_at(people, history, last, start, end - begin)
        offers = _send(rng, people, standing, consents, arrived, start, settings)
        campaign.waves.append(offers)
        keep &= ~_fallen(rng, people, history, offers, start)
        _drive_away(rng, people, history, offers)
        owner, day = _extra_orders(rng, people, history, offers, clock)
        np.maximum.at(last_added, owner, day)
        campaign.added_owner.append(owner)
        campaign.added_day.append(day)
        _react(rng, people, consents, offers, campaign)
    keep &= history.day <= history.left[history.owner]
    history.owner, history.day = by_customer(
        np.concatenate([history.owner[keep], *campaign.added_owner]),
        np.concatenate([history.day[keep], *campaign.added_day]),
    )
    return campaign


def _last_order(history: History, keep: Flags, n: int, day: float) -> Floats:
    before = keep & (history.day < day) & (history.day <= history.left[history.owner])
    last = np.full(n, -np.inf)
    last[history.owner[before]] = history.day[before]  # sorted by day: the latest is written last
    return last


def _send(
    rng: np.random.Generator,
    people: People,
    standing: Standing,
    consents: Consents,
    arrived: Ints,
    start: float,
    settings: CompanySettings,
) -> Offers:
    channel = consents.channel(arrived, start)
    who, channel = arrived[channel >= 0], channel[channel >= 0]
    chances = propensities(standing, settings)[who]
    by_policy = chances.copy()
    by_policy[:, CONTROL] -= settings.control_share
    edges = np.cumsum(by_policy, axis=1)
    arm = (rng.uniform(size=(len(who), 1)) * edges[:, -1:] >= edges).sum(axis=1)
    arm[people.standing_control[who]] = CONTROL
    return Offers(
        owner=who,
        day=np.full(len(who), start),
        arm=arm,
        channel=channel,
        propensity=chances[np.arange(len(who)), arm],
        expected_orders=standing.expected_orders[who],
        uplift=uplifts(people, standing)[who],
        at_risk=standing.at_risk[who],
        unsubscribed=np.full(len(who), np.inf),
    )


def of_action(people: People, offers: Offers, table: dict[str, Floats]) -> Floats:
    """Return each offer's own value from per-customer values by action; 0 for control and for other actions."""
    value = np.zeros(len(offers.owner))
    for action, by_customer_value in table.items():
        sent = offers.arm == ACTIONS.index(action)
        value[sent] = by_customer_value[offers.owner[sent]]
    return value


def _effect(people: People, offers: Offers) -> Floats:
    return of_action(people, offers, {action: people.by_need(OFFER_EFFECTS, action) for action in ACTIONS})


def _fallen(rng: np.random.Generator, people: People, history: History, offers: Offers, start: float) -> Flags:
    """Mark the orders that an offer with a negative effect keeps from happening."""
    loss = np.zeros(len(people))
    loss[offers.owner] = np.clip(-_effect(people, offers), 0, None)
    within = np.flatnonzero((history.day >= start) & (history.day < start + OFFER_EFFECT_DAYS))
    fallen = np.zeros(len(history.day), dtype=np.bool_)
    fallen[within] = rng.uniform(size=len(within)) < loss[history.owner[within]]
    return fallen


def _drive_away(rng: np.random.Generator, people: People, history: History, offers: Offers) -> None:
    odds = of_action(people, offers, {action: people.by_need(DRIVES_AWAY, action) for action in DRIVES_AWAY})
    hit = rng.uniform(size=len(odds)) < odds
    history.leave(offers.owner[hit], offers.day[hit], "offer")


def _extra_orders(
    rng: np.random.Generator, people: People, history: History, offers: Offers, clock: Clock
) -> tuple[Ints, Floats]:
    """Return the orders that offers add: by those who have not left, and by those who are won back for once."""
    begin = clock.busy(offers.day)
    end = clock.busy(offers.day + OFFER_EFFECT_DAYS)
    stays = np.clip(clock.busy(np.minimum(history.left[offers.owner], clock.days)), begin, end)
    effect = np.clip(_effect(people, offers), 0, None)
    extra = rng.poisson(effect * people.rate_per_day[offers.owner] * (stays - begin))
    odds = of_action(people, offers, {action: people.by_need(WINS_BACK, action) for action in WINS_BACK})
    won = (rng.uniform(size=len(odds)) < odds * offers.at_risk).astype(np.int64)
    owner = np.concatenate([np.repeat(offers.owner, extra), np.repeat(offers.owner, won)])
    begin = np.concatenate([np.repeat(begin, extra), np.repeat(begin, won)])
    until = np.concatenate([np.repeat(stays, extra), np.repeat(end, won)])
    return owner, clock.day(begin + rng.uniform(size=len(owner)) * (until - begin))


def _react(rng: np.random.Generator, people: People, consents: Consents, offers: Offers, campaign: Campaign) -> None:
    """Let some withdraw the channel they were reached by, and some recommend the business."""
    odds = of_action(people, offers, {name: np.full(len(people), UNSUBSCRIBES.get(name, 0.005)) for name in ACTIONS})
    gone = rng.uniform(size=len(odds)) < odds
    day = offers.day + rng.uniform(0.01, 2.0, size=len(odds))
    offers.unsubscribed[gone] = day[gone]
    consents.withdraw(offers.owner[gone], offers.channel[gone], day[gone])
    odds = of_action(people, offers, {name: people.by_need(RECOMMENDS, name) for name in RECOMMENDS})
    moved = rng.uniform(size=len(odds)) < odds
    campaign.recommended.append((offers.owner[moved], day[moved] + 1.0))
