"""Everything a backtest lets predict: the product itself, the simple rules and the published models it must beat.

A rival sees a `Lesson` and nothing else: rows whose windows had closed at the origin, and the snapshot at the origin
without what followed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from features.catalogue import MODEL_FEATURES
from models.matrix import Floats, columns_of
from models.openmp import load_lightgbm
from models.purchases import BetaGeoModel, GeoModel, ModifiedBetaGeoModel
from models.spend import GammaGammaModel
from perennial.settings import Settings
from training.baselines import RecencyRule, average_orders, average_spend
from training.churn_recipe import fit_churn
from training.value_fit import fit_value

PREDICTED = ("churn_probability", "expected_orders", "expected_orders_low", "expected_orders_high", "expected_spend")
STAYING_VALUE = "staying_value"  # what a customer is worth who buys in the horizon, less one who does not
DISCOUNT_RATE_PER_YEAR = 0.10  # of the value that is not judged here
TAILS = (0.05, 0.95)
MOST_COUNTED = 400  # orders in one horizon beyond which a count distribution is cut off


@dataclass(frozen=True)
class Lesson:
    """What may be known at one origin.

    ``learn`` and ``calibrate`` are snapshot rows of cutoffs whose windows had closed, labelled over ``window_days``,
    ``today`` the snapshot at the origin.
    """

    learn: pd.DataFrame
    calibrate: pd.DataFrame
    today: pd.DataFrame
    window_days: int
    horizon_days: int
    settings: Settings

    @property
    def windows(self) -> float:
        """How many of the windows that could be learned from the horizon takes."""
        return self.horizon_days / self.window_days

    @property
    def learned(self) -> pd.DataFrame:
        """All labelled rows."""
        return pd.concat([self.learn, self.calibrate], ignore_index=True)


Rival = Callable[[Lesson], Mapping[str, Floats]]
"""Predicts some of `PREDICTED` (ours `STAYING_VALUE` too), each (n_customers,) in the order of ``today``."""


def perennial(lesson: Lesson) -> Mapping[str, Floats]:
    """Predict as score files do: calibrated churn, and value that the churn probability has a say in."""
    churn = fit_churn(
        lesson.learn, lesson.calibrate, lesson.today, lesson.window_days, lesson.horizon_days, lesson.settings
    )
    probability = churn.predict_proba(lesson.today)
    value = fit_value(lesson.learned, lesson.today, lesson.window_days, lesson.settings, DISCOUNT_RATE_PER_YEAR)
    predicted = value.predict(lesson.today, horizon_days=lesson.horizon_days, churn_probability=probability)
    return {name: predicted[name].to_numpy() for name in PREDICTED if name in predicted} | {
        "churn_probability": probability,
        STAYING_VALUE: (predicted["clv_if_buys"] - predicted["clv_if_not"]).to_numpy(),
    }


def recency_rule(lesson: Lesson) -> Mapping[str, Floats]:
    """Predict the share that left after equal silence in the last closed window."""
    return {"churn_probability": RecencyRule.fit(lesson.calibrate).predict_proba(lesson.today, lesson.windows)}


def own_average(lesson: Lesson) -> Mapping[str, Floats]:
    """Predict that each customer goes on as so far."""
    return {
        "expected_orders": average_orders(lesson.today, lesson.horizon_days),
        "expected_spend": average_spend(lesson.today, lesson.horizon_days),
    }


def bg_nbd(lesson: Lesson) -> Mapping[str, Floats]:
    """Predict by BG/NBD and Gamma-Gamma alone."""
    return _beta_geo(BetaGeoModel().fit(lesson.today), lesson)


def mbg_nbd(lesson: Lesson) -> Mapping[str, Floats]:
    """Predict by MBG/NBD and Gamma-Gamma alone."""
    return _beta_geo(ModifiedBetaGeoModel().fit(lesson.today), lesson)


def _beta_geo(model: GeoModel, lesson: Lesson) -> Mapping[str, Floats]:
    today, days = lesson.today, lesson.horizon_days
    orders = model.predict_purchases(today, horizon_days=days)
    most = int(min(MOST_COUNTED, 20 + 4 * orders.max()))
    counts = model.predict_purchase_distribution(today, horizon_days=days, max_count=most)
    reached = np.cumsum(counts, axis=1)
    low, high = ((reached < tail).sum(axis=1).astype(np.float64) for tail in TAILS)
    return {
        "churn_probability": model.predict_no_purchase(today, horizon_days=days),
        "expected_orders": orders,
        "expected_orders_low": low,
        "expected_orders_high": high,
        "expected_spend": orders * GammaGammaModel().fit(today).predict_spend(today),
    }


def plain_lightgbm(lesson: Lesson) -> Mapping[str, Floats]:
    """Predict by LightGBM with its own defaults on the same features, one model for each figure.

    A horizon longer than the windows is reached as by the simple rule: every further window goes on like the first.
    """
    learned = lesson.learned
    rows, today = columns_of(learned, MODEL_FEATURES), columns_of(lesson.today, MODEL_FEATURES)
    targets = {
        "churn_probability": ("binary", learned["churned"]),
        "expected_orders": ("poisson", learned["actual_orders"]),
        "expected_spend": ("tweedie", learned["actual_spend"].clip(lower=0)),
    }
    seen = {
        name: _boosted(objective, rows, target.to_numpy(dtype=np.float64), today, lesson.settings.seed)
        for name, (objective, target) in targets.items()
    }
    silent = seen.pop("churn_probability") ** lesson.windows
    return {"churn_probability": silent, **{name: amount * lesson.windows for name, amount in seen.items()}}


def _boosted(objective: str, rows: Floats, target: Floats, today: Floats, seed: int) -> Floats:
    lightgbm = load_lightgbm()
    parameters = {"objective": objective, "seed": seed, "num_threads": 1, "deterministic": True, "verbosity": -1}
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, target))
    return np.asarray(booster.predict(today, num_threads=1), dtype=np.float64)


OURS = "perennial"
RIVALS: Mapping[str, Rival] = MappingProxyType(
    {rival.__name__: rival for rival in (perennial, recency_rule, own_average, bg_nbd, mbg_nbd, plain_lightgbm)}
)
