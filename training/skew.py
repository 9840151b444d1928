"""Train/serve skew: the features that serving used, beside the same customers' features computed again in one batch."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from features.catalogue import FEATURES
from features.records import AsOf, Records
from features.snapshot import build_snapshot
from models.kept_scores import KeptScores
from models.matrix import columns_of


@dataclass(frozen=True, slots=True)
class Skew:
    """What differs, bit by bit: ``customers`` of ``compared`` differ, in so many values of these ``features``.

    ``gone`` customers were scored and are none in a computation of today. A difference means that the records of the
    days before have changed since (a late line without a word when it became known, a correction) or the code has.
    """

    day: date
    compared: int
    customers: int
    values: int
    largest: float
    features: tuple[str, ...]
    gone: int

    @property
    def share(self) -> float:
        """Share of the compared customers of whom serving saw something else."""
        return (self.customers + self.gone) / max(self.compared, 1)


def skew(records: Records, kept: KeptScores) -> Skew:
    """Compare the sample kept with a set of scores with a batch as of the same instant."""
    served = kept.features.set_index("customer_id")
    names = [name for name in served.columns if name in FEATURES]
    moment = AsOf.parse(kept.facts.as_of, records.timezone)
    again = build_snapshot(records, moment, names).set_index("customer_id")
    both = served.index.intersection(again.index)
    then, now = (columns_of(frame.loc[both], names) for frame in (served, again))
    differs = ~((then == now) | (np.isnan(then) & np.isnan(now)))
    sizes = np.abs(then - now)[differs]
    return Skew(
        day=moment.day,
        compared=len(served),
        customers=int(differs.any(axis=1).sum()),
        values=int(differs.sum()),
        largest=float(np.nanmax(sizes, initial=0.0)),
        features=tuple(name for name, found in zip(names, differs.any(axis=0), strict=True) if found),
        gone=len(served) - len(both),
    )
