"""Rolling origins: which cutoffs a model is fitted, calibrated and judged on, and the rows that stand there.

Time runs one way. With ``H = horizon_days`` and ``end`` the day up to which everything is known:

* hold-out cutoff ``end - H``: judged once, its window closes at ``end``;
* calibration cutoff one ``H`` before what is already closed, so its window closes when the next thing begins;
* training cutoffs from one ``H`` before calibration backwards, so every training window closes before calibration.

The recipe is judged on the hold-out, then fitted again one ``H`` later (calibrated on the latest closed window).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from features.records import AsOf, Records
from features.snapshot import build_snapshot
from perennial.errors import InsufficientData
from training.labels import label, observed_until

MAX_TRAINING_ORIGINS = 8
ENOUGH_ORIGINS = 4
SHORTEST_STEP_DAYS = 7  # closer cutoffs see nearly the same history
SHORTEST_HISTORY_DAYS = 28
# A model fitted on labels needs a window to learn, one to calibrate on and one to be judged on; others only the last.
LABELLED_WINDOWS, UNLABELLED_WINDOWS = 3, 1


@dataclass(frozen=True, slots=True)
class Fit:
    """Cutoffs of one fit; every label window is closed at ``closed_until``."""

    training: tuple[AsOf, ...]
    calibration: AsOf
    closed_until: AsOf
    step_days: int

    @property
    def cutoffs(self) -> tuple[AsOf, ...]:
        """All cutoffs, earliest first."""
        return (*self.training, self.calibration)


@dataclass(frozen=True, slots=True)
class Plan:
    """Judge the recipe on ``holdout`` with what ``judged`` knew, then register ``final``."""

    horizon_days: int
    judged: Fit
    holdout: AsOf
    final: Fit
    end: AsOf

    @property
    def cutoffs(self) -> tuple[AsOf, ...]:
        """Every labelled cutoff once, earliest first."""
        days = {origin.day: origin for origin in (*self.judged.cutoffs, self.holdout, *self.final.cutoffs)}
        return tuple(days[day] for day in sorted(days))


def least_history_days(horizon_days: int) -> int:
    """Return how many days of history the first cutoff needs, so that its features mean something."""
    return max(SHORTEST_HISTORY_DAYS, horizon_days)


def days_needed(horizon_days: int, windows: int) -> int:
    """Return how many days of records a first history and so many closed windows take."""
    return least_history_days(horizon_days) + windows * horizon_days


def first_day(records: Records) -> date:
    """Return the local day of the log's first line, which must have one."""
    first: datetime = records.tables["orders"].local_at.min().to_pyarrow().as_py()
    return first.date()


def holdout_cutoff(records: Records, as_of: AsOf, horizon_days: int) -> AsOf:
    """Return the latest cutoff whose window is closed; what needs no labels to be fitted is judged there."""
    end = observed_until(records, as_of)
    _require(records, end, horizon_days, windows=UNLABELLED_WINDOWS)
    return end.earlier(horizon_days, records.timezone)


def plan_origins(records: Records, as_of: AsOf, horizon_days: int) -> Plan:
    """Choose the cutoffs.

    Training cutoffs stand one horizon apart. Where history has room for fewer than four, they stand closer: the
    largest of H/2, H/3, H/4 … (at least 7 days) that gives four, else the closest. At most eight are used, the latest.
    """
    end = observed_until(records, as_of)
    _require(records, end, horizon_days, windows=LABELLED_WINDOWS)
    earliest = first_day(records) + timedelta(days=least_history_days(horizon_days))
    holdout = end.earlier(horizon_days, records.timezone)
    judged, final = (fit_until(until, earliest, horizon_days, records.timezone) for until in (holdout, end))
    return Plan(horizon_days, judged, holdout, final, end)


@dataclass(frozen=True, slots=True)
class Used:
    """Rows a training used: their fingerprint and a few counts (JSON)."""

    digest: str
    profile: str


@dataclass(frozen=True)
class Data:
    """What a training of records goes by: labelled snapshot rows at every cutoff, and the snapshot at the end.

    ``rows`` stand at the final fit's cutoffs, of which the hold-out is the latest, and their labels use all that is
    known at ``end``. ``judged`` stand at the judged fit's cutoffs, and their labels use what was known when its last
    window closed: a line learned later, whenever it happened, is not for it. ``plan`` is None where nothing needs
    labels to be fitted; then ``rows`` stand at the hold-out alone and ``judged`` is empty.
    """

    records: Records
    horizon_days: int
    end: AsOf
    holdout: AsOf
    rows: pd.DataFrame
    judged: pd.DataFrame
    latest: pd.DataFrame
    plan: Plan | None

    @property
    def heldout(self) -> pd.DataFrame:
        """Labelled rows of the hold-out."""
        return rows_at(self.rows, [self.holdout])

    @property
    def title(self) -> str:
        """The day everything is known up to, and the horizon."""
        return f"{self.end.day} {self.horizon_days}d"

    @property
    def source(self) -> str:
        """Name of the records."""
        return self.records.name

    @property
    def tags(self) -> dict[str, str]:
        """What runs and versions are found by."""
        return {"as_of": str(self.end.day), "horizon_days": str(self.horizon_days), "records": self.records.name}

    @property
    def customers(self) -> int:
        """Customers of the hold-out."""
        return len(self.heldout)

    @property
    def judged_on(self) -> str:
        """Say which customers a recipe is judged on."""
        return f"{self.customers:,} customers over {self.horizon_days} days from {self.holdout.day}"

    def used(self, *, fits_on_labels: bool) -> dict[str, Used]:
        """Return what is learned from and judged on, by context."""
        frames = {"training": self.rows if fits_on_labels else self.latest, "holdout": self.heldout}
        if fits_on_labels:
            frames["judged"] = self.judged
        return {context: Used(fingerprint(rows), _profile(rows)) for context, rows in frames.items()}

    def about(self) -> dict[str, Any]:
        """Return facts for the artefact, in plain JSON."""
        return {
            "as_of": self.end.instant.isoformat(),
            "horizon_days": self.horizon_days,
            "holdout_cutoff": self.holdout.day.isoformat(),
            "holdout_customers": self.customers,
            "customers": len(self.latest),
            "records": self.records.name,
            "timezone": self.records.timezone,
            "currency": self.records.currency,
        }

    def closed(self, *, final: bool) -> dict[str, str]:
        """Return the instant after which a fit knows nothing."""
        return {"closed_until": (self.end if final else self.holdout).instant.isoformat()}

    def learned(self, fit: Fit) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the training and the calibration rows of a fit of the plan, labelled with what it may know."""
        rows = self.rows if fit.closed_until == self.end else self.judged
        return rows_at(rows, fit.training), rows_at(rows, [fit.calibration])


def gather(records: Records, as_of: AsOf, horizon_days: int, *, fits_on_labels: bool) -> Data:
    """Build every snapshot a training needs in one pass over the records, and label what is closed."""
    end = observed_until(records, as_of)
    plan = plan_origins(records, as_of, horizon_days) if fits_on_labels else None
    holdout = plan.holdout if plan else holdout_cutoff(records, as_of, horizon_days)
    snapshot = build_snapshot(records, [*(plan.cutoffs if plan else (holdout,)), end])
    rows = with_labels(snapshot, records, plan.final.cutoffs if plan else (holdout,), horizon_days, end)
    judged = rows[:0]
    if plan:
        judged = with_labels(snapshot, records, plan.judged.cutoffs, horizon_days, plan.judged.closed_until)
    return Data(records, horizon_days, end, holdout, rows, judged, rows_at(snapshot, [end]), plan)


def with_labels(
    snapshot: pd.DataFrame, records: Records, cutoffs: Iterable[AsOf], horizon_days: int, as_of: AsOf
) -> pd.DataFrame:
    """Return the snapshot's rows at the cutoffs with ``churned``, ``actual_orders`` and ``actual_spend`` beside them.

    Lines not known before ``as_of`` are not used.
    """
    cutoffs = tuple(cutoffs)
    labels = pd.concat(
        [label(records, moment, horizon_days, as_of).assign(as_of=_stamp(moment)) for moment in cutoffs],
        ignore_index=True,
    )
    at_cutoffs = rows_at(snapshot, cutoffs)
    rows = at_cutoffs.merge(labels, how="outer", on=["as_of", "customer_id"], validate="one_to_one", indicator=True)
    if (rows["_merge"] != "both").any():
        raise InsufficientData(f"{records.name}: snapshot and labels disagree about who was a customer at a cutoff")
    return rows.drop(columns="_merge").astype({"churned": "bool"})


def rows_at(rows: pd.DataFrame, cutoffs: Iterable[AsOf]) -> pd.DataFrame:
    """Return the rows of some cutoffs, numbered anew."""
    return rows[rows["as_of"].isin([_stamp(moment) for moment in cutoffs])].reset_index(drop=True)


def fingerprint(rows: pd.DataFrame) -> str:
    """Return a sha256 of the rows that does not depend on the order of rows or columns."""
    keys = [name for name in ("as_of", "customer_id") if name in rows]
    ordered = rows.sort_values(keys, kind="stable")[sorted(rows.columns)]
    digest = hashlib.sha256(f"{len(ordered)} rows".encode())
    for name in ordered.columns:
        digest.update(f"\n{name}\n".encode())
        digest.update(_bytes(ordered[name]))
    return digest.hexdigest()


def fit_until(closed_until: AsOf, earliest: date, horizon_days: int, timezone: str) -> Fit:
    """Return the cutoffs of a fit all of whose windows are closed at ``closed_until``, none before ``earliest``."""
    latest = closed_until.earlier(2 * horizon_days, timezone)
    room_days = (latest.day - earliest).days
    step_days = spacing_days(room_days, horizon_days, ENOUGH_ORIGINS)
    count = min(MAX_TRAINING_ORIGINS, 1 + room_days // step_days)
    training = tuple(latest.earlier(step_days * back, timezone) for back in reversed(range(count)))
    return Fit(training, closed_until.earlier(horizon_days, timezone), closed_until, step_days)


def spacing_days(room_days: int, horizon_days: int, wanted: int) -> int:
    """Return how far apart ``wanted`` cutoffs stand in ``room_days``: H, H/2, H/3 … (at least 7), else the closest."""
    parts = range(1, max(1, horizon_days // SHORTEST_STEP_DAYS) + 1)
    steps = [horizon_days // part for part in parts]
    return next((step for step in steps if room_days // step + 1 >= wanted), steps[-1])


def _profile(rows: pd.DataFrame) -> str:
    churned = f', "churned": {rows["churned"].mean():.6f}' if "churned" in rows else ""
    return f'{{"num_rows": {len(rows)}, "customers": {rows["customer_id"].nunique()}{churned}}}'


def _require(records: Records, end: AsOf, horizon_days: int, windows: int) -> None:
    have = max(0, (end.day - first_day(records)).days)
    need = days_needed(horizon_days, windows)
    if have >= need:
        return
    possible = max((days for days in range(1, horizon_days) if days_needed(days, windows) <= have), default=0)
    remedy = f"use a horizon of at most {possible} days or add older records" if possible else "add older records"
    raise InsufficientData(
        f"{records.name}: a horizon of {horizon_days} days needs {need} days of records ({windows} closed windows and "
        f"{least_history_days(horizon_days)} days of history first); there are {have}, so {need - have} are missing: "
        f"{remedy}"
    )


def _stamp(moment: AsOf) -> pd.Timestamp:
    return pd.Timestamp(moment.instant).as_unit("us")


def _bytes(column: pd.Series) -> bytes:
    if pd.api.types.is_float_dtype(column):
        values = column.to_numpy(dtype="<f8", na_value=np.nan) + 0.0  # -0.0 and 0.0 are the same value
        return bytes(np.where(np.isnan(values), np.nan, values).astype("<f8").tobytes())
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_integer_dtype(column):
        return column.to_numpy(dtype="<i8").tobytes()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return bytes(column.astype("datetime64[us, UTC]").astype("int64").to_numpy("<i8").tobytes())
    return "\x1f".join(column.astype(str)).encode()
