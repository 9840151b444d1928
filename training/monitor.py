"""Is the champion still to be trusted? Eight checks of a model that serves, each with its size and its limits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from features.catalogue import FEATURES
from features.engine import fetch
from features.records import AsOf, Records
from features.snapshot import build_snapshot
from models import reference
from models.artefact import Artefact, champions, load_champion
from models.churn import ChurnModel
from models.clv import ClvModel
from models.kept_scores import KeptScores, kept_scores
from models.reference import Reference
from perennial.errors import ArtefactError
from perennial.settings import Settings
from training.ageing import Aged, age_curve
from training.drift import PSI, Moved, features_moved, features_status, score_moved
from training.health import Check, Limits, Numbers, Status, worst
from training.matured import Matured, matured
from training.metrics import Interval
from training.skew import Skew, skew

GAP = Limits(warn=0.02, alert=0.05)  # predicted − observed share of leavers, surely so far off
SLOPE = Limits(warn=0.15, alert=0.30)  # distance of the calibration slope from 1, surely so far off
AUC_LOST = Limits(warn=0.02, alert=0.05)  # below the hold-out's AUC, surely
AUC_AGED = Limits(warn=0.01, alert=0.03)  # below a model trained on the day, surely
SKEWED = Limits(warn=0.001, alert=0.01)  # share of customers of whom serving saw something else
SLICES_OFF = 2  # of ten kinds of customers one is off by chance in one run of ten
QUARTER_DAYS = 90  # everything is estimated anew each quarter
PAUSE = Limits(warn=3, alert=14)  # days without a record, where the log's own longest pause is no longer


@dataclass(frozen=True)
class Findings:
    """Everything that was looked at; ``checks`` say how urgent it is, ``status`` is the worst of them."""

    records: str
    as_of: date
    now: date
    horizon_days: int
    versions: Mapping[str, str]
    trained: date
    checks: tuple[Check, ...]
    features: tuple[Moved, ...]
    scores: tuple[Moved, ...]
    matured: tuple[Matured, ...]
    ageing: tuple[Aged, ...]
    skew: Skew | None

    @property
    def status(self) -> Status:
        """The worst of all checks."""
        return worst(self.checks)


def monitor(
    records: Records, as_of: AsOf, now: datetime, config: Settings, *, progress: Callable[[str], None] = lambda _: None
) -> Findings:
    """Check the champions against the records as of ``as_of``; staleness is counted up to ``now``.

    Raises
    ------
    ArtefactError
        When no churn model was published, or the one there learned from other records.
    """
    champion = _champion(records, config)
    horizon_days, trained = champion.meta["horizon_days"], datetime.fromisoformat(champion.meta["as_of"])
    progress("comparing today's customers with the training's")
    features, scores = _moved(champion, records, as_of, config)
    progress("judging kept scores whose horizon has closed")
    kept = next(kept_scores(config.scored, records.name, as_of.instant), None)
    closed = matured(records, as_of, config)
    skewed = skew(records, kept) if kept else None
    progress("training models of earlier days to see how quality falls with age")
    ageing = age_curve(records, as_of, horizon_days, config)
    age_days = (now - trained).days
    checks = (
        _pause(records, now),
        _age(age_days, horizon_days),
        _latest_scores(kept, now),
        _features(features),
        _scores(scores),
        _calibration(closed, champion),
        _ageing(ageing, age_days),
        _skew(skewed),
    )
    return Findings(
        records=records.name,
        as_of=as_of.day,
        now=AsOf.parse(now, records.timezone).day,
        horizon_days=horizon_days,
        versions=champions(config.shelf),
        trained=AsOf.parse(trained, records.timezone).day,
        checks=checks,
        features=features,
        scores=scores,
        matured=closed,
        ageing=ageing,
        skew=skewed,
    )


def _champion(records: Records, config: Settings) -> Artefact:
    champion = load_champion(config.shelf, "churn")
    if champion.meta["records"] != records.name:
        raise ArtefactError(
            f"{config.shelf}: the churn champion learned from {champion.meta['records']!r}, --source names "
            f"{records.name!r}; set PERENNIAL_HOME to the home these records were trained in"
        )
    return champion


def _moved(
    champion: Artefact, records: Records, as_of: AsOf, config: Settings
) -> tuple[tuple[Moved, ...], tuple[Moved, ...]]:
    """Compare features and scores with the training's; nothing where the artefact tells nothing of it."""
    if reference.FILE not in champion.files:
        return (), ()
    churn, known = (
        ChurnModel.from_files(champion.files, num_threads=config.threads),
        Reference.from_files(champion.files),
    )
    days = (as_of.instant - datetime.fromisoformat(champion.meta["as_of"])).days
    value = load_champion(config.shelf, "clv") if "clv" in champions(config.shelf) else None
    clv = ClvModel.from_files(value.files, num_threads=config.threads) if value else None
    read = (*churn.inputs, *(clv.inputs if clv else ()))
    snapshot = build_snapshot(records, as_of, [name for name in dict.fromkeys(read) if name in FEATURES])
    scores = {"churn_probability": (known, churn.predict_proba(snapshot))}
    if value and clv and reference.FILE in value.files:
        spend = clv.predict_spend(snapshot, horizon_days=value.meta["horizon_days"])
        scores["expected_spend"] = (Reference.from_files(value.files), spend)
    compared = tuple(score_moved(name, then.scores[name], now, days) for name, (then, now) in scores.items())
    return features_moved(known, snapshot, days), compared


def _pause(records: Records, now: datetime) -> Check:
    orders = records.tables["orders"]
    days = np.sort(fetch(orders.select(day=orders.local_at.date()).distinct())["day"].to_numpy("datetime64[D]"))
    silent_days = int((np.datetime64(AsOf.parse(now, records.timezone).day) - days[-1]).astype(int)) - 1
    longest_days = int(np.diff(days[days > days[-1] - np.timedelta64(366, "D")]).astype(int).max(initial=1)) - 1
    limits = Limits(max(PAUSE.warn, longest_days + 1), max(PAUSE.alert, 2 * longest_days))
    numbers = {"days": max(silent_days, 0), "longest_days": longest_days}
    return Check("records", limits.grade(silent_days), "records_found", numbers, limits)


def _age(age_days: int, horizon_days: int) -> Check:
    limit = max(QUARTER_DAYS, 2 * horizon_days)
    limits = Limits(limit + 1, 2 * limit)
    return Check("model", limits.grade(age_days), "model_found", {"days": age_days}, limits)


def _latest_scores(kept: KeptScores | None, now: datetime) -> Check:
    if kept is None:
        return Check.unknown("latest_scores")
    days, horizon_days = (now - kept.facts.as_of).days, kept.facts.horizon_days
    limits = Limits(max(2, horizon_days // 4), max(3, horizon_days))
    numbers = {"days": days, "horizon_days": horizon_days}
    return Check("latest_scores", limits.grade(days), "latest_scores_found", numbers, limits)


def _features(moved: tuple[Moved, ...]) -> Check:
    if not moved:
        return Check.unknown("features")
    far = [found for found in moved if found.status > Status.OK]
    numbers: Numbers = {
        "moved": len(far),
        "all": len(moved),
        "weight": sum(found.weight for found in far),
        "first": ", ".join(f"{found.name} {found.size:.2f}" for found in far[:3]),
    }
    return Check("features", features_status(moved), "features_moved" if far else "features_quiet", numbers, PSI)


def _scores(moved: tuple[Moved, ...]) -> Check:
    if not moved:
        return Check.unknown("scores")
    numbers = {found.name: found.size for found in moved}
    sizes = ", ".join(f"{name} {psi:.2f}" for name, psi in numbers.items())
    return Check("scores", max(found.status for found in moved), "scores_found", {"sizes": sizes}, PSI)


def _calibration(closed: tuple[Matured, ...], champion: Artefact) -> Check:
    if not closed:
        return Check.unknown("calibration")
    latest = closed[0]
    gap, slope, auc = (latest.metrics[name] for name in ("calibration_gap", "calibration_slope", "auc"))
    off = sum(not found.holds for found in latest.slices)
    statuses = (
        GAP.grade(_surely(gap, 0.0)),
        SLOPE.grade(_surely(slope, 1.0)),
        AUC_LOST.grade(champion.meta["holdout_metrics"]["auc"][0] - auc.high),
        Status.WARN if off >= SLICES_OFF else Status.OK,
    )
    numbers: Numbers = {
        "day": latest.day.isoformat(),
        "predicted": latest.predicted,
        "observed": latest.observed,
        "slope": slope.value,
        "auc": auc.value,
        "off": off,
        "kinds": len(latest.slices),
    }
    return Check("calibration", max(statuses), "calibration_found", numbers, GAP)


def _ageing(curve: tuple[Aged, ...], age_days: int) -> Check:
    if not curve:
        return Check.unknown("ageing")
    at = next((aged for aged in curve[1:] if aged.age_days >= age_days), curve[-1])
    auc = at.against_fresh[0].difference
    numbers: Numbers = {
        "age_days": at.age_days,
        "own_days": age_days,
        "lost": -auc.value,
        "low": -auc.high,
        "high": -auc.low,
    }
    return Check("ageing", AUC_AGED.grade(-auc.high), "ageing_found", numbers, AUC_AGED)


def _skew(found: Skew | None) -> Check:
    if found is None:
        return Check.unknown("skew")
    numbers: Numbers = {
        "compared": found.compared,
        "customers": found.customers + found.gone,
        "day": found.day.isoformat(),
    }
    same = found.share == 0
    return Check("skew", SKEWED.grade(found.share), "skew_none" if same else "skew_found", numbers, SKEWED)


def _surely(interval: Interval, right: float) -> float:
    """Return how far the interval's nearer end is from the right value; 0 where it holds it, or is undefined."""
    return float(np.nanmax([0.0, interval.low - right, right - interval.high]))
