"""What a model's inputs and scores looked like when it was trained, and how far a later distribution stands from that.

A distribution is kept as shares of ten bins between the training rows' own deciles, and a share without a value; so the
file is small, names nobody, and tells of a shift in shape as well as in level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from scipy.stats import chi2

from models.artefact import json_file, read_json_file
from models.matrix import Floats
from perennial.errors import ArtefactError

FILE = "reference.json"
DECILES = np.arange(0.1, 1.0, 0.1)
SURELY = 0.999
LEAST_SHARE = 1e-4  # an empty bin has a logarithm too


@dataclass(frozen=True, slots=True)
class Distribution:
    """Shares of rows between ``edges`` (upper ends, included), above the last edge, and without a value, in this order.

    ``usual`` is the largest PSI between two of the training's own cutoffs, by the days between them; ``weight`` the
    feature's share in what moves the model's predictions, 0 to 1.
    """

    rows: int
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    usual: Mapping[str, float] = field(default_factory=dict)
    weight: float = 0.0

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Describe values (n,), NaN where there is none."""
        known = values[~np.isnan(values)]
        edges = tuple(np.unique(np.quantile(known, DECILES)).tolist()) if len(known) else ()
        return cls(len(values), edges, tuple(_shares(values, edges).tolist()))

    def shift(self, values: Floats) -> "Shift":
        """Compare values (n,) of other rows with the kept ones."""
        now, then = _shares(values, self.edges), np.asarray(self.shares)
        # Sampling alone gives a chi-squared times this, with one degree less than the bins (Yurdakul 2018).
        freedom = max(int(np.count_nonzero(now + then)) - 1, 1)
        noise = chi2.ppf(SURELY, freedom) * (1 / max(len(values), 1) + 1 / self.rows)
        floor_now, floor_then = (np.maximum(shares, LEAST_SHARE) for shares in (now, then))
        psi = float(((floor_now - floor_then) * np.log(floor_now / floor_then)).sum())
        return Shift(max(0.0, psi - float(noise)), _cliffs_delta(now[:-1], then[:-1]), float(now[-1] - then[-1]))

    def usual_over(self, days: int) -> float:
        """Return the largest PSI that the training saw between cutoffs at most so many days (or one step) apart."""
        step_days = min(map(int, self.usual), default=0)
        return max((psi for apart, psi in self.usual.items() if int(apart) <= max(days, step_days)), default=0.0)


@dataclass(frozen=True, slots=True)
class Shift:
    """Effect sizes, whatever the number of rows.

    ``psi`` is the population stability index less what sampling alone stays below in 999 cases of 1,000;
    ``cliffs_delta`` the probability that a new value lies above an old one minus the reverse, −1 to 1, by bins;
    ``missing`` the change of the share without a value.
    """

    psi: float
    cliffs_delta: float
    missing: float


@dataclass(frozen=True, slots=True)
class Reference:
    """Distributions of a model's features and of its score, by name, on the day of its training."""

    features: Mapping[str, Distribution]
    scores: Mapping[str, Distribution]

    def to_files(self) -> dict[str, bytes]:
        """Return the artefact's file."""
        return {FILE: json_file(asdict(self))}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Read what `to_files` wrote."""
        state = read_json_file(files, FILE)
        try:
            return cls(*(_read(state[part]) for part in ("features", "scores")))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"{FILE} is from another format ({error!r}); train the model again") from error


def _read(state: Mapping[str, Mapping[str, Any]]) -> dict[str, Distribution]:
    return {
        name: Distribution(
            int(kept["rows"]), tuple(kept["edges"]), tuple(kept["shares"]), dict(kept["usual"]), float(kept["weight"])
        )
        for name, kept in state.items()
    }


def _shares(values: Floats, edges: Sequence[float]) -> Floats:
    missing = np.isnan(values)
    place = np.where(missing, len(edges) + 1, np.searchsorted(edges, values, side="left"))
    return np.bincount(place, minlength=len(edges) + 2) / max(len(values), 1)


def _cliffs_delta(now: Floats, then: Floats) -> float:
    """Shares of the same ordered bins; ties within a bin cancel."""
    both = now.sum() * then.sum()
    if both <= 0:
        return 0.0
    below, above = np.cumsum(then) - then, then.sum() - np.cumsum(then)
    return float((now * (below - above)).sum() / both)
