"""Links between several ids of one person: which of them hold, and whom each id meant at an instant.

A link says that ``customer_id`` is the person ``master_id``. It holds at an instant when it was known strictly before
it (always, without a ``known_at``), and chains are followed to their end: A → B → C makes A and B the customer C.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd


class Link(NamedTuple):
    """One row of identities; ``row`` is any key of it."""

    row: int
    customer_id: str
    master_id: str
    known_at: datetime | None


def judge(links: Iterable[Link]) -> dict[int, str]:
    """Return the reason of every link that cannot stand, by its key.

    The earlier word stands: a link that gives an id a second master (``conflicting_master``) or closes a circle
    (``cyclic_link``) is refused, so it cannot change what was known before it. Of links known at one instant that
    contradict each other none stands. A link said again is a ``duplicate_link``.
    """
    reasons: dict[int, str] = {}
    masters: dict[str, str] = {}
    ordered = sorted(links, key=lambda link: (_known(link), link.customer_id, link.master_id, link.row))
    for _, batch in groupby(ordered, key=_known):
        fresh = _unique(batch, masters, reasons)
        masters |= {customer: link.master_id for customer, link in fresh.items()}
        # decided over the whole batch before any link leaves, so that their order does not matter
        circular = [customer for customer in fresh if _closes_a_circle(customer, masters)]
        for customer in circular:
            reasons[fresh[customer].row] = "cyclic_link"
            del masters[customer]
    return reasons


def _known(link: Link) -> datetime:
    return datetime.min if link.known_at is None else link.known_at  # noqa: DTZ901 (canonical instants are naive UTC)


def _unique(batch: Iterable[Link], masters: dict[str, str], reasons: dict[int, str]) -> dict[str, Link]:
    """Return one link for each id that has no master yet and one master in the batch; give the others a reason."""
    by_customer: dict[str, list[Link]] = defaultdict(list)
    for link in batch:
        if link.customer_id != link.master_id:  # an id that is its own master says nothing
            by_customer[link.customer_id].append(link)
    fresh = {}
    for customer, links in by_customer.items():
        named = {link.master_id for link in links}
        standing = masters.get(customer, next(iter(named)) if len(named) == 1 else None)
        reasons |= {link.row: "conflicting_master" for link in links if link.master_id != standing}
        agreed = [link for link in links if link.master_id == standing]
        if agreed and customer not in masters:
            fresh[customer] = agreed.pop(0)
        reasons |= {link.row: "duplicate_link" for link in agreed}
    return fresh


def _closes_a_circle(customer: str, masters: dict[str, str]) -> bool:
    seen = {customer}
    step = masters[customer]
    while step in masters and step not in seen:
        seen.add(step)
        step = masters[step]
    return step == customer


@dataclass(frozen=True)
class Links:
    """The links that stand, in no order: numbers into ``ids`` and when each became known (NaT: always)."""

    ids: npt.NDArray[np.object_] = field(default_factory=lambda: np.array([], dtype=object))
    customers: npt.NDArray[np.intp] = field(default_factory=lambda: np.array([], dtype=np.intp))
    masters: npt.NDArray[np.intp] = field(default_factory=lambda: np.array([], dtype=np.intp))
    known_at: npt.NDArray[np.datetime64] = field(default_factory=lambda: np.array([], dtype="datetime64[us]"))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return len(self.customers) > 0

    @classmethod
    def of(cls, customers: Sequence[str], masters: Sequence[str], known_at: Sequence[Any]) -> "Links":
        """Return links given as columns."""
        numbers, ids = pd.factorize(np.array([*customers, *masters], dtype=object))
        known = pd.to_datetime(pd.Series(known_at, dtype="datetime64[us]")).to_numpy()
        return cls(np.asarray(ids, dtype=object), numbers[: len(customers)], numbers[len(customers) :], known)

    def persons(self, moment: datetime) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        """Return the ids that were another person's at an instant (naive UTC), and those persons' ids."""
        seen = np.isnat(self.known_at) | (self.known_at < np.datetime64(moment, "us"))
        person = np.arange(len(self.ids))
        person[self.customers[seen]] = self.masters[seen]
        for _ in range(len(self.ids).bit_length()):  # each step doubles the length of the chains that are followed
            person = person[person]
        linked = np.flatnonzero(person != np.arange(len(self.ids)))
        return self.ids[linked], self.ids[person[linked]]


NO_LINKS = Links()
