"""The three strongest reasons behind each customer's churn probability, in words with the customer's own numbers.

A customer more likely to leave than the model's base, or than not, hears what raises the risk; others what lowers it.
Features that say nearly the same thing form one theme: themes are ranked by the sum of their contributions (which is
exact, while the split inside a theme is arbitrary), and the strongest feature of a theme speaks for it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from string import Formatter
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.catalogue import FEATURES, Feature, Language
from models.matrix import Floats, columns_of
from models.silence import BTYD_FEATURES

# Finer than the catalogue's groups where those hold several stories, coarser where two groups tell one.
THEMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "silence": (
            *("days_since_last_order", "overdue_ratio", "overdue_p90_ratio", "overdue_max_ratio"),
            *("orders_7d", "orders_30d", "spend_7d", "spend_30d", "orders_trend_30d", "spend_trend_30d"),
        ),
        "activity": (
            *("frequency", "recency", "orders_90d", "orders_365d", "spend_90d", "spend_365d"),
            *("active_months_360d", "gap_mean_days", "gap_median_days"),
        ),
        "value": (
            *("spend_total", "monetary_value", "order_value_mean", "order_value_last", "order_value_last_ratio"),
            *("first_order_value", "line_value_ratio_90d"),
        ),
        "age": ("T", "tenure_days"),
        "replenishment": (
            *("days_since_favourite_category", "favourite_category_overdue_ratio", "categories_due_share"),
        ),
        "complaints": (
            *("complaints_open", "complaints_90d", "complaints_total"),
            *("days_since_last_complaint", "complaint_days_mean"),
        ),
    }
)
# What the purchases model says is the silence measured against the customer's own rhythm.
SPEAKERS: Mapping[str, str] = MappingProxyType(dict.fromkeys(BTYD_FEATURES, "overdue_ratio"))

# Hours and weekdays a model may learn from, but nobody can act on; told as a reason they sound like a cause.
UNTOLD_GROUPS = frozenset({"habits"})
# Where a sentence draws its own line, it counts instead of the usual value: a gap is overdue from 1 on, and a trend
# that is spoken of as unchanged is no reason to leave.
LINES: Mapping[str, float] = MappingProxyType(
    {
        **dict.fromkeys(("overdue_ratio", "overdue_p90_ratio", "overdue_max_ratio"), 1.0),
        "favourite_category_overdue_ratio": 1.0,
        "gap_last_ratio": 1.05,
        "orders_pace_90d": 0.95,
        **dict.fromkeys((name for name, feature in FEATURES.items() if feature.unit in ("trend", "points")), -0.05),
    }
)

# Contributions are compared in whole billionths: their last digits depend on how many customers were explained at once.
_STEPS = 1e9

_THEME_OF = {name: theme for theme, names in THEMES.items() for name in names}


def top_reasons(
    snapshot: pd.DataFrame,
    contributions: Floats,
    feature_names: Sequence[str],
    language: Language,
    n: int = 3,
    *,
    typical: Mapping[str, float] | None = None,
    base_log_odds: float = 0.0,
) -> pd.DataFrame:
    """Return the strongest reasons of every customer in the direction of the customer's risk.

    Parameters
    ----------
    snapshot : catalogue columns, one row per customer
    contributions : (n_customers, n_features) log odds, as `ChurnModel.contributions` gives them
    feature_names : names of the columns of ``contributions``
    typical : each feature's usual value (`ChurnModel.typical_`); with it no sentence calls a high value low
    base_log_odds : what the contributions add up from (`ChurnModel.base_log_odds_`)

    Returns
    -------
    DataFrame on the snapshot's index: ``reason_1_code`` (the feature), ``reason_1`` (the sentence), … up to n;
    missing where a customer has fewer reasons in that direction.
    """
    contributions = np.rint(contributions * _STEPS)
    rising = contributions.sum(axis=1) > min(0.0, -base_log_odds * _STEPS)
    shares = np.where(rising[:, None], contributions, -contributions)
    names, shares = _spoken(list(feature_names), shares)
    values = columns_of(snapshot, names)
    sayable = _sayable(names, values, rising, {**(typical or {}), **LINES})
    chosen = _strongest(names, np.where(sayable, shares, -np.inf), shares, np.isnan(values), n)
    return _frame(snapshot, names, chosen, rising, language)


def sentence_columns(feature_names: Sequence[str]) -> frozenset[str]:
    """Return the snapshot columns that the reasons of a model with these features may speak of."""
    speakers = {SPEAKERS.get(name, name) for name in feature_names}
    return frozenset(column for name in speakers for column in _columns_named(FEATURES[name]))


def _spoken(names: list[str], shares: Floats) -> tuple[list[str], Floats]:
    """Add what features without sentences contribute to the feature that speaks for them."""
    speakers = [SPEAKERS.get(name, name) for name in names]
    unique = list(dict.fromkeys(speakers))
    total = np.zeros((len(shares), len(unique)))
    for column, speaker in enumerate(speakers):
        total[:, unique.index(speaker)] += shares[:, column]
    return unique, total


def _sayable(
    names: list[str], values: Floats, rising: NDArray[np.bool_], typical: Mapping[str, float]
) -> NDArray[np.bool_]:
    """Whether each feature has a sentence for the customer that its value bears out (n_customers, n_features)."""
    sayable = np.ones(values.shape, dtype=np.bool_)
    for column, name in enumerate(names):
        feature, value = FEATURES[name], values[:, column]
        if name in typical and feature.direction != "neutral":
            speaks_high = rising == (feature.direction == "bad")
            sayable[:, column] = np.where(speaks_high, value >= typical[name], value <= typical[name])
        if feature.group in UNTOLD_GROUPS:
            sayable[:, column] = False
            continue
        # an unknown value can worry, but is no ground for calm
        sayable[:, column] = np.where(np.isnan(value), rising & bool(feature.absent_en), sayable[:, column])
    return sayable


def _strongest(names: list[str], loud: Floats, shares: Floats, absent: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """Return for each customer the columns of the n reasons (n_customers, n); −1 where there is none."""
    themes: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        themes.setdefault(_THEME_OF.get(name, FEATURES[name].group), []).append(column)
    strength = np.empty((len(shares), len(themes)))
    speaker = np.empty((len(shares), len(themes)), dtype=np.int64)
    for number, columns in enumerate(themes.values()):
        speaker[:, number], audible = _speaker(loud[:, columns], absent[:, columns], np.array(columns))
        strength[:, number] = np.where(audible, shares[:, columns].sum(axis=1), 0.0)
    order = np.argsort(-strength, axis=1, kind="stable")[:, :n]
    kept = np.take_along_axis(strength, order, axis=1) > 0
    chosen = np.where(kept, np.take_along_axis(speaker, order, axis=1), -1)
    return np.pad(chosen, ((0, 0), (0, n - chosen.shape[1])), constant_values=-1)


def _speaker(
    loud: Floats, absent: NDArray[np.bool_], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return a theme's speaking column and whether it has anything to say; numbers speak before their absence does."""
    known = np.where(absent, -np.inf, loud)
    best = np.where(known.max(axis=1) > 0, known.argmax(axis=1), loud.argmax(axis=1))
    return columns[best], loud[np.arange(len(loud)), best] > 0


def _frame(
    snapshot: pd.DataFrame,
    names: list[str],
    chosen: NDArray[np.int64],
    rising: NDArray[np.bool_],
    language: Language,
) -> pd.DataFrame:
    codes = np.array([*names, None], dtype=object)
    sentences = np.full(chosen.shape, None, dtype=object)
    for column in np.unique(chosen[chosen >= 0]):
        for raises in (True, False):
            at = (chosen == column) & (rising == raises)[:, None]
            rows, _ = np.nonzero(at)
            if len(rows):
                sentences[at] = _sentences(FEATURES[names[column]], snapshot.iloc[rows], raises, language)
    columns: dict[str, NDArray[np.object_]] = {}
    for number in range(chosen.shape[1]):
        columns[f"reason_{number + 1}_code"] = codes[chosen[:, number]]
        columns[f"reason_{number + 1}"] = sentences[:, number]
    return pd.DataFrame(columns, index=snapshot.index, dtype="str")


@cache
def _columns_named(feature: Feature) -> tuple[str, ...]:
    """Return the snapshot columns a feature's sentences speak of, its own first."""
    templates = (feature.raises_en, feature.raises_zh, feature.lowers_en, feature.lowers_zh)
    fields = (field for template in templates for _, field, _, _ in Formatter().parse(template) if field)
    return tuple(dict.fromkeys((feature.name, *fields)))


def _sentences(feature: Feature, rows: pd.DataFrame, raises: bool, language: Language) -> NDArray[np.object_]:
    """One sentence a row, written once for rows whose numbers are equal."""
    named = _columns_named(feature)
    distinct, inverse = np.unique(columns_of(rows, named), axis=0, return_inverse=True)
    texts = [
        feature.reason(dict(zip(named, row, strict=True)), raises=raises, language=language)
        for row in distinct.tolist()
    ]
    return np.array(texts, dtype=object)[inverse.ravel()]
