"""What customers do beside ordering: visits, opened messages, complaints, opinions, recommendations."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from benchmarks.company.consents import CHANNELS
from benchmarks.company.offers import CONTROL, Campaign
from benchmarks.company.people import ENGAGEMENT_PER_DAY, People
from benchmarks.company.purchases import Clock, Complaints, History
from benchmarks.company.settings import Flags, Floats, Ints
from benchmarks.company.tables import in_log, instants, texts

KINDS = ("visit", "open", "click", "complaint_opened", "complaint_closed", "satisfaction", "nps", "referral")
WHERE = ("web", *CHANNELS)
WEB, EMAIL, PHONE = 0, WHERE.index("email"), WHERE.index("phone")
# Interest fades over these days before customers leave of their own accord, down to what robots and habit leave.
FADING_DAYS, RESIDUE = 45.0, 0.2


@dataclass(frozen=True)
class Events:
    """Interactions of one kind."""

    kind: str
    owner: Ints
    day: Floats
    where: int = WEB
    value: Floats | None = None


def interest(history: History, who: Ints, day: Floats) -> Floats:
    """Return how much of their engagement customers have left on a day, RESIDUE to 1.

    Who leaves of their own accord loses interest before; whom a complaint or an offer drives away stops at once.
    """
    left = history.left[who]
    fading = np.where(history.left_because[who] == 1, FADING_DAYS, 1e-9)
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(left), 1.0, (left - day) / fading)
    return np.clip(share, RESIDUE, 1.0)


def clicks_on(rng: np.random.Generator, people: People, history: History, campaign: Campaign) -> tuple[Flags, Flags]:
    """Return which offers were opened and which of those clicked, each (k,)."""
    offers = campaign.offers
    keen = np.clip(people.engagement[offers.owner] / ENGAGEMENT_PER_DAY, 0.3, 2.0) * interest(
        history, offers.owner, offers.day
    )
    opened = (rng.uniform(size=len(keen)) < 0.35 * keen) & (offers.arm != CONTROL)
    return opened, opened & (rng.uniform(size=len(keen)) < 0.3)


def _stream(
    rng: np.random.Generator, people: People, history: History, clock: Clock, per_engagement: float
) -> tuple[Ints, Floats]:
    """Draw events at a rate in proportion to engagement, thinned as interest fades."""
    begin, end = clock.busy(people.born), clock.busy(np.array([float(clock.days)]))[0]
    count = rng.poisson(per_engagement * people.engagement * (end - begin))
    owner = np.repeat(np.arange(len(people)), count)
    day = clock.day(begin[owner] + rng.uniform(size=len(owner)) * (end - begin[owner]))
    kept = rng.uniform(size=len(owner)) < interest(history, owner, day)
    return owner[kept], day[kept]


def _opinions(rng: np.random.Generator, people: People, history: History) -> list[Events]:
    """Ask after a tenth and a twentieth of orders; answers follow the hidden satisfaction and fade with interest."""
    events = []
    for kind, share, delay, middle, slope, top in (
        ("satisfaction", 0.10, 1.0, 3.6, 0.75, 5.0),
        ("nps", 0.05, 10.0, 7.0, 1.7, 10.0),
    ):
        asked = np.flatnonzero(rng.uniform(size=len(history.owner)) < share)
        owner, day = history.owner[asked], history.day[asked]
        mood = (
            people.satisfaction[owner] + rng.normal(0, 0.5, size=len(asked)) - 1.5 * (1 - interest(history, owner, day))
        )
        answer = np.clip(np.round(middle + slope * mood), 1.0 if kind == "satisfaction" else 0.0, top)
        events.append(Events(kind, owner, day + delay, EMAIL, answer))
    return events


def make_events(
    rng: np.random.Generator,
    people: People,
    history: History,
    clock: Clock,
    complaints: Complaints,
    referred_by: Ints,
) -> list[Events]:
    """Draw all interactions but those with offers."""
    visit = np.flatnonzero(rng.uniform(size=len(history.owner)) < 0.7)
    before = history.day[visit] - rng.exponential(0.1, size=len(visit))
    opened = _stream(rng, people, history, clock, 0.5)
    clicked = rng.uniform(size=len(opened[0])) < 0.25
    brought = np.flatnonzero(referred_by >= 0)
    told = np.maximum(
        people.born[brought] - rng.uniform(0.1, 5.0, size=len(brought)), people.born[referred_by[brought]]
    )
    return [
        Events("visit", history.owner[visit], before),
        Events("visit", *_stream(rng, people, history, clock, 1.0)),
        Events("open", *opened, EMAIL),
        Events("click", opened[0][clicked], opened[1][clicked] + 0.001, EMAIL),
        Events("complaint_opened", complaints.owner, complaints.opened, EMAIL),
        Events("complaint_closed", complaints.owner, complaints.closed, PHONE),
        *_opinions(rng, people, history),
        Events("referral", referred_by[brought], told),
    ]


def offer_events(campaign: Campaign, opened: Flags, clicked: Flags) -> list[Events]:
    """Return opened and clicked offers, and the recommendations that invitations brought."""
    offers = campaign.offers
    mailed = offers.channel == CHANNELS.index("email")
    events = []
    for kind, mark, delay in (("open", opened & mailed, 0.2), ("click", clicked & mailed, 0.201)):
        events.append(Events(kind, offers.owner[mark], offers.day[mark] + delay, EMAIL))
    return events + [Events("referral", owner, day) for owner, day in campaign.recommended]


def interactions_table(events: list[Events], ids: pa.Array, days: int) -> pa.Table:
    """Return the interactions table by time."""
    owner = np.concatenate([event.owner for event in events])
    day = np.concatenate([event.day for event in events])
    kept = in_log(day, days)
    kind = np.repeat([KINDS.index(event.kind) for event in events], [len(event.owner) for event in events])
    where = np.repeat([event.where for event in events], [len(event.owner) for event in events])
    value = np.concatenate([np.full(len(e.owner), np.nan) if e.value is None else e.value for e in events])
    return pa.table(
        {
            "customer_id": pa.DictionaryArray.from_arrays(pa.array(owner[kept].astype(np.int32)), ids),
            "occurred_at": instants(day[kept]),
            "kind": texts(kind[kept], KINDS),
            "channel": texts(where[kept], WHERE),
            "value": pa.array(value[kept], mask=np.isnan(value[kept])),
        }
    )
