"""What a check says: fine, look at it, act, or not known yet; and from which size on it says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

Numbers = Mapping[str, float | int | str]


class Status(IntEnum):
    """How urgent a finding is; the worst one is the whole's."""

    UNKNOWN = -1
    OK = 0
    WARN = 1
    ALERT = 2

    @property
    def word(self) -> str:
        """The status as JSON and pages write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Limits:
    """From which size on to look (``warn``) and to act (``alert``)."""

    warn: float
    alert: float

    def grade(self, size: float) -> Status:
        """Grade a size."""
        return Status(int(size >= self.warn) + int(size >= self.alert))


@dataclass(frozen=True)
class Check:
    """One check; ``said`` names its sentence, whose numbers are ``numbers``."""

    name: str
    status: Status
    said: str
    numbers: Numbers = field(default_factory=dict)
    limits: Limits | None = None

    @classmethod
    def unknown(cls, name: str, why: str = "unknown") -> Self:
        """Return a check that cannot say anything yet."""
        return cls(name, Status.UNKNOWN, f"{name}_{why}")


def worst(checks: Sequence[Check]) -> Status:
    """Return the whole's status; what is not known yet is no trouble."""
    return max((check.status for check in checks if check.status is not Status.UNKNOWN), default=Status.UNKNOWN)
