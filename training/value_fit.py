"""Fit the value engine as it would have been fitted at past cutoffs too: what came then says how far to trust it now.

A rehearsal stands at a cutoff whose window has closed, learns from windows that had closed by then, and is compared
with what followed. From rehearsals come the family of purchases models and the spread of outcomes; neither has seen
anything after the cutoff of the fit itself.
"""

from contextlib import suppress
from dataclasses import replace

import pandas as pd

from models.clv import ClvModel
from models.demand import DemandModel
from models.families import CANDIDATES, Family, poisson_deviance
from models.leave_interval import WHOLE_YEAR_DAYS
from models.outlook import Spread
from models.rehearsal import Window, learn_spread
from perennial.errors import ConvergenceError, InsufficientData
from perennial.settings import Settings
from training.dataset import ROWS_WORTH_THREADS

MOST_REHEARSALS = 2  # with four, intervals were no better on inner origins of grocery and Online Retail
MOST_ROWS = 60_000  # of one rehearsal: more says nothing that these do not
MOST_COMPARED = 5_000  # customers on whom families are compared at one cutoff
FAMILY_CUTOFFS = 2


def fit_value(
    learned: pd.DataFrame, today: pd.DataFrame, window_days: int, settings: Settings, discount_rate_per_year: float
) -> ClvModel:
    """Fit on the snapshot ``today`` and on labelled rows of windows that had closed by then, which may be none."""
    model = ClvModel(discount_rate_per_year=discount_rate_per_year)
    season_seen = bool(today["T"].max() >= WHOLE_YEAR_DAYS)
    if learned.empty:
        return model.fit(today, spread=Spread(season_seen=season_seen))
    model.family = _best_family(compare_families(learned, window_days, settings.seed))
    demand = fit_demand(learned, window_days, settings, model.family)
    spread = rehearse(learned, window_days, settings, boosted=demand is not None, family=model.family)
    return model.fit(today, demand, replace(spread, season_seen=season_seen))


def fit_demand(
    learned: pd.DataFrame, window_days: int, settings: Settings, family: Family | None = None
) -> DemandModel | None:
    """Fit on labelled rows of closed windows; None where they are too few to teach more than histories say."""
    threads = settings.threads if len(learned) >= ROWS_WORTH_THREADS else 1
    try:
        return DemandModel(window_days, num_threads=threads, seed=settings.seed, family=family).fit(learned)
    except InsufficientData:
        return None


def compare_families(learned: pd.DataFrame, window_days: int, seed: int) -> dict[Family, float]:
    """Return the mean Poisson deviance of orders by family, over the latest closed windows; families that fit all."""
    cutoffs = sorted(learned["as_of"].unique())[-FAMILY_CUTOFFS:]
    windows = [_thinned(learned[learned["as_of"] == cutoff], MOST_COMPARED, seed) for cutoff in cutoffs]
    found = {}
    for family in CANDIDATES:
        with suppress(InsufficientData, ConvergenceError):
            losses = [_loss(family, rows, window_days) for rows in windows]
            found[family] = sum(losses) / len(losses)
    return found


def _loss(family: Family, rows: pd.DataFrame, window_days: int) -> float:
    expected = family.fit(rows).predict_purchases(rows, horizon_days=window_days)
    return poisson_deviance(rows["actual_orders"].to_numpy(dtype="float64"), expected)


def _best_family(deviances: dict[Family, float]) -> Family | None:
    return min(deviances, key=lambda family: deviances[family]) if deviances else None


def rehearse(
    learned: pd.DataFrame, window_days: int, settings: Settings, *, boosted: bool, family: Family | None
) -> Spread:
    """Rehearse at every cutoff, the latest ones with what trees would have learned by then.

    Trees that had less than half as many windows to learn from are no rehearsal for today's, nor are histories less
    than half as long: of Online Retail's first weeks a forecast was off five times over.
    """
    alike: list[Window] = []
    bare: list[Window] = []
    for cutoff in _comparable(learned, window_days):
        rows = _thinned(learned[learned["as_of"] == cutoff], MOST_ROWS, settings.seed)
        past = _closed(learned, cutoff, window_days, settings.seed)
        alike_enough = _windows(past, window_days) >= _windows(learned, window_days) / 2
        demand = None
        if boosted and alike_enough and len(alike) < MOST_REHEARSALS:
            demand = fit_demand(past, window_days, settings, family)
        try:
            model = ClvModel(family=family).fit(rows, demand)
        except (InsufficientData, ConvergenceError):
            continue
        orders, spend = (rows[f"actual_{amount}"].to_numpy(dtype="float64") for amount in ("orders", "spend"))
        window = Window(model.outlook(rows, horizon_days=window_days), orders, spend)
        (alike if (demand is not None) == boosted else bare).append(window)
    return learn_spread(alike, window_days, bare=bare, seed=settings.seed)


def _comparable(learned: pd.DataFrame, window_days: int) -> list[pd.Timestamp]:
    """Return the cutoffs behind which lies at least half of today's history, latest first."""
    histories = learned.groupby("as_of")["T"].max()
    today = histories.iloc[-1] + window_days
    return sorted(histories.index[histories >= today / 2], reverse=True)


def _windows(rows: pd.DataFrame, window_days: int) -> float:
    """Return how many windows long the time is over which the rows' labels look."""
    if rows.empty:
        return 0.0
    return 1 + float((rows["as_of"].max() - rows["as_of"].min()) / pd.Timedelta(days=window_days))


def _closed(learned: pd.DataFrame, cutoff: pd.Timestamp, window_days: int, seed: int) -> pd.DataFrame:
    """Return the rows whose windows had closed at the cutoff; half a day of grace covers changes of the clock."""
    end = cutoff + pd.Timedelta(hours=12)
    return _thinned(learned[learned["as_of"] + pd.Timedelta(days=window_days) <= end], MOST_ROWS, seed)


def _thinned(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    chosen = rows if len(rows) <= most else rows.sample(most, random_state=seed).sort_index()
    return chosen.reset_index(drop=True)
