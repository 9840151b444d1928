"""Fit the value engine as it would have been fitted at past cutoffs too: what came then says how far to trust it now.

A rehearsal stands at a cutoff whose window has closed, learns from windows that had closed by then, and is compared
with what followed. From rehearsals come the family of purchases models and the spread of outcomes; neither has seen
anything after the cutoff of the fit itself.
"""

from collections.abc import Iterator

import pandas as pd

from models.clv import ClvModel
from models.demand import DemandModel
from models.families import CANDIDATES, Family, poisson_deviance
from models.outlook import Spread, Window, learn_spread
from perennial.errors import ConvergenceError, InsufficientData
from perennial.settings import Settings
from training.dataset import ROWS_WORTH_THREADS

MOST_REHEARSALS = 4
MOST_ROWS = 60_000  # of one rehearsal: more says nothing that these do not
MOST_COMPARED = 5_000  # customers on whom families are compared at one cutoff
FAMILY_CUTOFFS = 2


def fit_value(
    learned: pd.DataFrame, today: pd.DataFrame, window_days: int, settings: Settings, discount_rate_per_year: float
) -> ClvModel:
    """Fit on the snapshot ``today`` and on labelled rows of windows that had closed by then, which may be none."""
    model = ClvModel(discount_rate_per_year=discount_rate_per_year)
    if learned.empty:
        return model.fit(today)
    model.family = _best_family(compare_families(learned, window_days, settings.seed))
    demand = fit_demand(learned, window_days, settings, model.family)
    return model.fit(today, demand, _spread(learned, window_days, settings, demand is not None, model.family))


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
    """Return the mean Poisson deviance of orders by family, over the latest closed windows that all could forecast."""
    found: dict[Family, list[float]] = {family: [] for family in CANDIDATES}
    for _, at_cutoff in _latest(learned, FAMILY_CUTOFFS):
        rows = _thinned(at_cutoff, MOST_COMPARED, seed)
        actual = rows["actual_orders"].to_numpy(dtype="float64")
        try:
            losses = {
                family: poisson_deviance(actual, family.fit(rows).predict_purchases(rows, horizon_days=window_days))
                for family in CANDIDATES
            }
        except (InsufficientData, ConvergenceError):
            continue
        for family, loss in losses.items():
            found[family].append(loss)
    return {family: sum(losses) / len(losses) for family, losses in found.items() if losses}


def _best_family(deviances: dict[Family, float]) -> Family | None:
    return min(deviances, key=lambda family: deviances[family]) if deviances else None


def _spread(
    learned: pd.DataFrame, window_days: int, settings: Settings, boosted: bool, family: Family | None
) -> Spread:
    windows = list(_rehearsals(learned, window_days, settings, boosted, family))
    return learn_spread(windows, window_days, settings.seed)


def _rehearsals(
    learned: pd.DataFrame, window_days: int, settings: Settings, boosted: bool, family: Family | None
) -> Iterator[Window]:
    """Yield what would have been said at past cutoffs by a model of the same kind, and what came."""
    told = 0
    for cutoff, at_cutoff in _latest(learned, len(learned)):
        closed = learned["as_of"] + pd.Timedelta(days=window_days) <= cutoff + pd.Timedelta(hours=12)  # clock changes
        past = _thinned(learned[closed], MOST_ROWS, settings.seed)
        demand = fit_demand(past, window_days, settings, family) if boosted and len(past) else None
        if (demand is None) == boosted or told == MOST_REHEARSALS:
            continue
        rows = _thinned(at_cutoff, MOST_ROWS, settings.seed)
        try:
            outlook = ClvModel(family=family).fit(rows, demand).outlook(rows, horizon_days=window_days)
        except (InsufficientData, ConvergenceError):
            continue
        told += 1
        orders, spend = (rows[f"actual_{amount}"].to_numpy(dtype="float64") for amount in ("orders", "spend"))
        yield Window(outlook, orders, spend)


def _latest(learned: pd.DataFrame, count: int) -> Iterator[tuple[pd.Timestamp, pd.DataFrame]]:
    """Yield the rows of the latest cutoffs, the latest first."""
    for cutoff in sorted(learned["as_of"].unique(), reverse=True)[:count]:
        yield cutoff, learned[learned["as_of"] == cutoff]


def _thinned(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    chosen = rows if len(rows) <= most else rows.sample(most, random_state=seed).sort_index()
    return chosen.reset_index(drop=True)
