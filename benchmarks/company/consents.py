"""Who may be written to: consent by channel and purpose, withdrawn by some."""

from dataclasses import dataclass

import numpy as np

from benchmarks.company.people import People
from benchmarks.company.settings import Flags, Floats, Ints

# Share who agree to marketing on arrival, by channel.
AGREE = {"email": 0.85, "app": 0.45, "sms": 0.35, "phone": 0.25}
CHANNELS = tuple(AGREE)
WITHDRAW_SHARE = 0.1


@dataclass
class Consents:
    """Marketing consent of each customer and channel, both (n, n_channels), and the favourite channel first.

    ``withdrawn`` is the day of withdrawal, infinite for a consent that stands.
    """

    agreed: Flags
    withdrawn: Floats
    liking: Floats

    def channel(self, who: Ints, day: float) -> Ints:
        """Return each customer's best liked channel open to marketing on a day, -1 where none is."""
        standing = self.agreed[who] & (self.withdrawn[who] > day)
        best = np.where(standing, self.liking[who], -np.inf)
        return np.where(standing.any(axis=1), best.argmax(axis=1), -1)

    def withdraw(self, who: Ints, channel: Ints, day: Floats) -> None:
        """Let customers withdraw one channel, unless they had before."""
        self.withdrawn[who, channel] = np.minimum(self.withdrawn[who, channel], day)


def make_consents(rng: np.random.Generator, people: People, days: int) -> Consents:
    """Draw who agrees to which channel on arrival; a tenth of those consents are withdrawn later."""
    shape = (len(people), len(CHANNELS))
    leaving = rng.uniform(size=shape) < WITHDRAW_SHARE
    later = people.born[:, None] + rng.uniform(size=shape) * (days - people.born[:, None])
    return Consents(
        agreed=rng.uniform(size=shape) < np.array(list(AGREE.values())),
        withdrawn=np.where(leaving, later, np.inf),
        liking=rng.uniform(size=shape) + np.array([0.5, 0.2, 0.1, 0.0]),
    )
