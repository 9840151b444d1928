"""Rolling origins: which cutoffs a model is fitted, calibrated and judged on, and the rows that stand there.

Time runs one way. With ``H = horizon_days`` and ``end`` the day up to which everything is known:

* hold-out cutoff ``end - H``: judged once, its window closes at ``end``;
* calibration cutoff one ``H`` before what is already closed, so its window closes when the next thing begins;
* training cutoffs from one ``H`` before calibration backwards, so every training window closes before calibration.

The recipe is judged on the hold-out, then fitted again one ``H`` later (calibrated on the latest closed window).

Where history is too short for such windows, a fit learns from the longest that leave room for one to train on, one to
calibrate on and as much history before them; the models then reach for ``H`` by extrapolation.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from features.records import AsOf, Records
from features.snapshot import build_snapshot
from models.definition import Definition
from perennial.errors import InsufficientData
from training.labels import label, observed_until, silence_at_end
from training.rhythm import label_by_rhythm

MAX_TRAINING_ORIGINS = 8
ENOUGH_ORIGINS = 4
SHORTEST_STEP_DAYS = 7  # closer cutoffs see nearly the same history
SHORTEST_HISTORY_DAYS = 28
SHORTEST_WINDOW_DAYS = 14
# 20,000 rows on two busy cores: one thread fits trees in 2 s, two wait for each other for 15 s.
ROWS_WORTH_THREADS = 200_000


LabelUse = Literal["needed", "used", "ignored"]
"""Whether a model can be fitted without closed windows."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Cutoffs of one fit; every label window, ``window_days`` long, is closed at ``closed_until``."""

    training: tuple[AsOf, ...]
    calibration: AsOf
    closed_until: AsOf
    step_days: int
    window_days: int

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


def first_day(records: Records) -> date:
    """Return the local day of the log's first line, which must have one."""
    first: datetime = records.tables["orders"].local_at.min().to_pyarrow().as_py()
    return first.date()


def holdout_cutoff(records: Records, as_of: AsOf, horizon_days: int) -> AsOf:
    """Return the latest cutoff whose window is closed; what needs no labels to be fitted is judged there."""
    end = observed_until(records, as_of)
    _require(records, end, horizon_days, labels="ignored")
    return end.earlier(horizon_days, records.timezone)


def plan_origins(records: Records, as_of: AsOf, horizon_days: int) -> Plan:
    """Choose the cutoffs.

    Training cutoffs stand one horizon apart. Where history has room for fewer than four, they stand closer: the
    largest of H/2, H/3, H/4 … (at least 7 days) that gives four, else the closest. At most eight are used, the latest.
    """
    end = observed_until(records, as_of)
    _require(records, end, horizon_days, labels="needed")
    holdout, start = end.earlier(horizon_days, records.timezone), first_day(records)
    judged, final = (fit_until(until, start, horizon_days, records.timezone) for until in (holdout, end))
    return Plan(horizon_days, judged, holdout, final, end)


@dataclass(frozen=True, slots=True)
class Used:
    """Rows a training used: their fingerprint and a few counts (JSON)."""

    digest: str
    profile: str


@dataclass(frozen=True)
class Data:
    """What a training of records goes by: labelled snapshot rows at past cutoffs, and the snapshot at the end.

    ``heldout`` stand at the hold-out, labelled with what followed within the horizon. ``judged`` and ``final`` stand
    at the cutoffs of the plan's fits, with labels of the fits' own windows; those of ``judged`` use what was known when
    its last window closed: a line learned later, whenever it happened, is not for it. ``plan`` is None where records
    are too short for a fit on labels; then both are empty.
    """

    records: Records
    horizon_days: int
    end: AsOf
    holdout: AsOf
    heldout: pd.DataFrame
    judged: pd.DataFrame
    final: pd.DataFrame
    latest: pd.DataFrame
    plan: Plan | None
    definition: Definition = Definition.NO_PURCHASE

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

    def used(self, labels: LabelUse) -> dict[str, Used]:
        """Return what is learned from and judged on, by context."""
        frames = {"holdout": self.heldout}
        if labels != "needed":
            frames["latest"] = self.latest
        if labels != "ignored" and self.plan:
            frames |= {"training": self.final, "judged": self.judged}
        return {context: Used(fingerprint(rows), _profile(rows)) for context, rows in frames.items()}

    def described(self) -> dict[str, str]:
        """Say for people which records they are."""
        orders = self.records.tables["orders"]
        lines = int(orders.filter(orders.ordered_at < self.end.naive_utc).count().to_pyarrow().as_py())
        return {
            "records": self.records.name,
            "period": f"{first_day(self.records)} to {self.end.earlier(1, self.records.timezone).day}",
            "order lines": f"{lines:,}",
            "customers": f"{len(self.latest):,}",
            "labelled rows": f"{len(self.final):,}",
        }

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
        rows = self.final if fit.closed_until == self.end else self.judged
        return rows_at(rows, fit.training), rows_at(rows, [fit.calibration])


def gather(
    records: Records,
    as_of: AsOf,
    horizon_days: int,
    *,
    needs_labels: bool,
    definition: Definition = Definition.NO_PURCHASE,
) -> Data:
    """Build every snapshot a training needs in one pass over the records, and label what is closed.

    InsufficientData when there is no room for a fit on labels and the training needs one.
    """
    end = observed_until(records, as_of)
    plan = _plan(records, as_of, horizon_days, needs_labels)
    holdout = plan.holdout if plan else holdout_cutoff(records, as_of, horizon_days)
    snapshot = build_snapshot(records, [*(plan.cutoffs if plan else (holdout,)), end])
    heldout = with_labels(snapshot, records, [holdout], horizon_days, end, definition)
    judged, final = (
        with_labels(snapshot, records, fit.cutoffs, fit.window_days, fit.closed_until, definition)
        if fit
        else heldout[:0]
        for fit in ((plan.judged, plan.final) if plan else (None, None))
    )
    return Data(records, horizon_days, end, holdout, heldout, judged, final, rows_at(snapshot, [end]), plan, definition)


def _plan(records: Records, as_of: AsOf, horizon_days: int, needed: bool) -> Plan | None:
    try:
        return plan_origins(records, as_of, horizon_days)
    except InsufficientData:
        if needed:
            raise
        return None


def with_labels(
    snapshot: pd.DataFrame,
    records: Records,
    cutoffs: Iterable[AsOf],
    horizon_days: int,
    as_of: AsOf,
    definition: Definition = Definition.NO_PURCHASE,
) -> pd.DataFrame:
    """Return the snapshot's rows at the cutoffs with ``churned``, ``actual_orders`` and ``actual_spend`` beside them.

    Lines not known before ``as_of`` are not used. ``churned`` is by the definition; a personal rhythm is the one that
    the row of the cutoff knows.
    """
    cutoffs = tuple(cutoffs)
    labels = pd.concat(
        [label(records, moment, horizon_days, as_of).assign(as_of=_stamp(moment)) for moment in cutoffs],
        ignore_index=True,
    )
    at_cutoffs = rows_at(snapshot, cutoffs)
    rows = at_cutoffs.merge(labels, on=["as_of", "customer_id"], validate="one_to_one")
    if not len(at_cutoffs) == len(labels) == len(rows):
        raise InsufficientData(f"{records.name}: snapshot and labels disagree about who was a customer at a cutoff")
    if definition is Definition.PERSONAL:
        silences = [
            silence_at_end(records, moment, horizon_days, as_of).assign(as_of=_stamp(moment)) for moment in cutoffs
        ]
        rows = label_by_rhythm(rows, pd.concat(silences, ignore_index=True))
    return rows


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


def fit_until(closed_until: AsOf, start: date, horizon_days: int, timezone: str) -> Fit:
    """Return the cutoffs of a fit whose windows are all closed at ``closed_until``, in a log that begins at ``start``.

    The windows are ``horizon_days`` long, or the longest that the log has room for.
    """
    history_days = (closed_until.day - start).days
    lengths = (days for days in range(horizon_days, 0, -1) if days_for_a_fit(days) <= history_days)
    window_days = next(lengths, 1)
    latest = closed_until.earlier(2 * window_days, timezone)
    room_days = history_days - days_for_a_fit(window_days)
    step_days = spacing_days(room_days, window_days, ENOUGH_ORIGINS)
    count = min(MAX_TRAINING_ORIGINS, 1 + room_days // step_days)
    training = tuple(latest.earlier(step_days * back, timezone) for back in reversed(range(count)))
    return Fit(training, closed_until.earlier(window_days, timezone), closed_until, step_days, window_days)


def spacing_days(room_days: int, horizon_days: int, wanted: int) -> int:
    """Return how far apart ``wanted`` cutoffs stand in ``room_days``: H, H/2, H/3 … (at least 7), else the closest."""
    parts = range(1, max(1, horizon_days // SHORTEST_STEP_DAYS) + 1)
    steps = [horizon_days // part for part in parts]
    return next((step for step in steps if room_days // step + 1 >= wanted), steps[-1])


def _profile(rows: pd.DataFrame) -> str:
    churned = f', "churned": {rows["churned"].mean():.6f}' if "churned" in rows else ""
    return f'{{"num_rows": {len(rows)}, "customers": {rows["customer_id"].nunique()}{churned}}}'


def days_for_a_fit(window_days: int) -> int:
    """Return how many days before its end a fit needs: history, a window to train on and one to calibrate on."""
    return least_history_days(window_days) + 2 * window_days


def days_needed(horizon_days: int, labels: LabelUse) -> int:
    """Return how many days of records a training needs: one closed window and what it learns from before that."""
    if labels == "needed":
        return horizon_days + days_for_a_fit(min(horizon_days, SHORTEST_WINDOW_DAYS))
    return horizon_days + least_history_days(horizon_days)


def _require(records: Records, end: AsOf, horizon_days: int, labels: LabelUse) -> None:
    have, need = max(0, (end.day - first_day(records)).days), days_needed(horizon_days, labels)
    if have >= need:
        return
    possible = max((days for days in range(1, horizon_days) if days_needed(days, labels) <= have), default=0)
    remedy = f"use a horizon of at most {possible} days or add older records" if possible else "add older records"
    raise InsufficientData(
        f"{records.name}: a horizon of {horizon_days} days needs {need} days of records (one closed window and "
        f"{need - horizon_days} days before it to learn from); there are {have}, so {need - have} are missing: {remedy}"
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
