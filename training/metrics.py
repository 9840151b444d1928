"""How good predictions are, with what certainty, and in plain words against something simpler.

Every measure takes row weights, so one bootstrap serves them all: a draw is a count per *customer*
(rows of one customer at several cutoffs stay together), and two predictors are always measured on
the same draw.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from perennial.errors import InsufficientData

Floats = npt.NDArray[np.float64]
Measure = Callable[[Floats, Floats, Floats], float]

PROBABILITY_FLOOR = 1e-6  # a probability of exactly 0 or 1 would make one surprise cost infinity
CONFIDENCE = 0.95
SPELLED = MappingProxyType(
    {"auc": "AUC", "empc": "EMPC", "rmse": "RMSE", "gini": "Gini", "brier": "Brier", "spearman": "Spearman"}
)
DRAWS = 400
DRAWS_OF_MANY = 100  # above MANY_ROWS intervals are narrow and draws dear
MANY_ROWS = 200_000


class Verdict(StrEnum):
    """A comparison in plain words; "better" and "worse" need an interval that excludes no difference."""

    BETTER = "better"
    WORSE = "worse"
    NOT_DISTINGUISHABLE = "not distinguishable"


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value and the central 95 % of its bootstrap distribution."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def to_json(self) -> list[float | None]:
        """Return value, low and high, null where undefined."""
        return [float(end) if np.isfinite(end) else None for end in (self.value, self.low, self.high)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure of a model and of what it is compared with, on the same rows.

    ``difference`` is model − baseline; the verdict knows whether more is better. ``p_value`` is that of no difference,
    two-sided; `corrected` comparisons carry Holm's, which holds for all of them together.
    """

    measure: str
    baseline_name: str
    model: float
    baseline: float
    difference: Interval
    verdict: Verdict
    p_value: float

    def __str__(self) -> str:
        link = "from" if self.verdict is Verdict.NOT_DISTINGUISHABLE else "than"
        return (
            f"{self.verdict} {link} {self.baseline_name}: {spoken(self.measure)} {self.model:.3f} against "
            f"{self.baseline:.3f}, difference {self.difference}"
        )


def spoken(measure: str) -> str:
    """Return a measure's name as people say it."""
    return " ".join(SPELLED.get(word, word) for word in measure.split("_"))


def auc(outcome: Floats, score: Floats, weight: Floats) -> float:
    """Area under the ROC curve; ties count half; NaN when only one outcome has weight."""
    positive, negative = _by_score(outcome, score, weight)
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float((positive * (below + 0.5 * negative)).sum() / pairs) if pairs > 0 else float("nan")


def top_decile_lift(outcome: Floats, score: Floats, weight: Floats) -> float:
    """Outcome rate among the tenth with the highest scores over everyone's; ties are shared evenly."""
    positive, negative = (counts[::-1] for counts in _by_score(outcome, score, weight))
    total = positive + negative
    room = 0.1 * total.sum()
    taken = np.clip(room - (np.cumsum(total) - total), 0.0, total)
    share = np.divide(taken, total, out=np.zeros_like(taken), where=total > 0)
    rate = positive.sum() / total.sum()
    return float((share * positive).sum() / room / rate) if rate > 0 else float("nan")


def log_loss(outcome: Floats, probability: Floats, weight: Floats) -> float:
    """Mean negative log likelihood in nats."""
    p = _inside(probability)
    return _mean(-(outcome * np.log(p) + (1 - outcome) * np.log1p(-p)), weight)


def brier(outcome: Floats, probability: Floats, weight: Floats) -> float:
    """Mean squared error of the probability."""
    return _mean((probability - outcome) ** 2, weight)


def calibration_gap(outcome: Floats, probability: Floats, weight: Floats) -> float:
    """Mean predicted − observed: above 0 the model expects more churn than came."""
    return _mean(probability - outcome, weight)


def calibration_error(outcome: Floats, probability: Floats, weight: Floats) -> float:
    """Size of the calibration gap, whatever its direction."""
    return abs(calibration_gap(outcome, probability, weight))


def calibration_slope(outcome: Floats, probability: Floats, weight: Floats) -> float:
    """Slope of a logistic regression of the outcome on the predicted log-odds; 1 is right, below 1 overconfident."""
    log_odds = np.log(_inside(probability)) - np.log1p(-_inside(probability))
    if not 0 < _mean(outcome, weight) < 1 or np.ptp(log_odds) == 0:
        return float("nan")
    design = np.column_stack([np.ones_like(log_odds), log_odds])
    beta = np.array([0.0, 1.0])
    for _ in range(50):
        fitted = 1 / (1 + np.exp(-np.clip(design @ beta, -35, 35)))
        curvature = (design * (weight * fitted * (1 - fitted))[:, None]).T @ design
        step = np.linalg.lstsq(curvature, design.T @ (weight * (outcome - fitted)), rcond=None)[0]
        beta += np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            break
    return float(beta[1])


def rmse(actual: Floats, expected: Floats, weight: Floats) -> float:
    """Root mean squared error, in the unit of what is predicted."""
    return float(np.sqrt(_mean((actual - expected) ** 2, weight)))


def bias(actual: Floats, expected: Floats, weight: Floats) -> float:
    """Sum expected over sum that came, − 1; 0 is right."""
    came = _mean(actual, weight)
    return _mean(expected, weight) / came - 1 if came != 0 else float("nan")


def normalised_gini(actual: Floats, expected: Floats, weight: Floats) -> float:
    """Gini of the actual amounts in the order of the expected ones, over that in their own order; 1 is perfect.

    Negative amounts (customers who returned more than they bought) count as 0; ties are shared evenly.
    """
    amount = np.maximum(actual, 0.0)
    best = _gini(amount, amount, weight)
    return _gini(amount, expected, weight) / best if best > 0 else float("nan")


def spearman(actual: Floats, expected: Floats, weight: Floats) -> float:
    """Rank correlation; ties have their mean rank; NaN where either is the same for all."""
    came, told = _ranks(actual, weight), _ranks(expected, weight)
    spread = np.sqrt(_mean(came**2, weight) * _mean(told**2, weight))
    return _mean(came * told, weight) / spread if spread > 0 else float("nan")


def coverage(low: Floats, high: Floats) -> Measure:
    """Return the share of rows whose outcome fell between ``low`` and ``high``, both (n_rows,) and included."""

    def within(actual: Floats, _: Floats, weight: Floats) -> float:
        return _mean(((actual >= low) & (actual <= high)).astype(np.float64), weight)

    return within


CHURN_MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "auc": auc,
        "log_loss": log_loss,
        "brier": brier,
        "calibration_gap": calibration_gap,
        "calibration_slope": calibration_slope,
        "top_decile_lift": top_decile_lift,
    }
)
AMOUNT_MEASURES: Mapping[str, Measure] = MappingProxyType(
    {"rmse": rmse, "bias": bias, "normalised_gini": normalised_gini, "spearman": spearman}
)
# For comparisons only: resampled, an absolute value near 0 is nearly always larger than the one that was measured.
COMPARED_MEASURES: Mapping[str, Measure] = MappingProxyType(
    {**CHURN_MEASURES, **AMOUNT_MEASURES, "calibration_error": calibration_error}
)
MORE_IS_BETTER = frozenset({"auc", "top_decile_lift", "normalised_gini", "spearman", "empc"})


def evaluate(
    measures: Mapping[str, Measure],
    outcome: npt.ArrayLike,
    prediction: npt.ArrayLike,
    customer: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """Measure predictions with bootstrap intervals; ``customer`` (n_rows,) when customers have several rows."""
    y, p = _usable(outcome, prediction)
    drawn: dict[str, list[float]] = {name: [] for name in measures}
    for weight in _bootstrap_weights(len(y), customer, seed):
        for name, measure in measures.items():
            drawn[name].append(measure(y, p, weight))
    return {name: _interval(measure(y, p, np.ones(len(y))), drawn[name]) for name, measure in measures.items()}


def compare(
    measure: str,
    outcome: npt.ArrayLike,
    model: npt.ArrayLike,
    baseline: npt.ArrayLike,
    baseline_name: str,
    *,
    of: str = "",
    customer: Sequence[Hashable] | None = None,
    seed: int = 0,
    measures: Mapping[str, Measure] = COMPARED_MEASURES,
) -> Comparison:
    """Compare two predictors on the same rows by a paired bootstrap; ``of`` says what was predicted."""
    function = measures[measure]
    y, p = _usable(outcome, model)
    _, q = _usable(outcome, baseline)
    even = np.ones(len(y))
    ours, theirs = function(y, p, even), function(y, q, even)
    draws = [function(y, p, w) - function(y, q, w) for w in _bootstrap_weights(len(y), customer, seed)]
    difference = _interval(ours - theirs, draws)
    name = f"{of}_{measure}" if of else measure
    distinct = difference.low > 0 or difference.high < 0
    verdict = _verdict(difference.low + difference.high, name, distinct=distinct)
    return Comparison(name, baseline_name, ours, theirs, difference, verdict, _p_value(ours - theirs, draws))


def corrected(family: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return the comparisons judged together (Holm 1979): in 19 cases of 20 none of their better and worse is chance.

    The k-th smallest of n p-values counts n − k + 1 times, and no less than the one before it.
    """
    by_size = np.argsort([found.p_value for found in family], kind="stable").tolist()
    judged, least = list(family), 0.0
    for place, number in enumerate(by_size):
        found = family[number]
        least = max(least, min(1.0, (len(family) - place) * found.p_value))
        verdict = _verdict(found.difference.value, found.measure, distinct=least <= 1 - CONFIDENCE)
        judged[number] = replace(found, p_value=least, verdict=verdict)
    return tuple(judged)


def more_is_better(measure: str) -> bool:
    """Whether a measure, also of something (``orders_rmse``), is the better the larger it is."""
    return any(measure == name or measure.endswith(f"_{name}") for name in MORE_IS_BETTER)


def _verdict(difference: float, measure: str, *, distinct: bool) -> Verdict:
    if not distinct:
        return Verdict.NOT_DISTINGUISHABLE
    return Verdict.BETTER if (difference > 0) == more_is_better(measure) else Verdict.WORSE


def _p_value(difference: float, draws: Sequence[float]) -> float:
    """Return the two-sided p-value of no difference: the normal tail by the draws' spread, or their own if larger.

    A few hundred draws cannot count what happens once in thousands, which a correction for many comparisons asks for.
    """
    sound = np.asarray(draws)[np.isfinite(draws)]
    if len(sound) < 2 or not np.isfinite(difference):
        return 1.0
    spread = float(np.std(sound, ddof=1))
    if spread == 0:
        return float(difference == 0)
    tail = special.ndtr(-abs(difference) / spread)
    across = float(np.mean(sound <= 0 if difference > 0 else sound >= 0))
    return min(1.0, 2 * max(float(tail), across))


def _interval(value: float, draws: Sequence[float]) -> Interval:
    sound = np.asarray(draws)[np.isfinite(draws)]
    if not len(sound):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(sound, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))


def _bootstrap_weights(n_rows: int, customer: Sequence[Hashable] | None, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    codes = np.arange(n_rows) if customer is None else pd.factorize(pd.Series(list(customer)))[0]
    n_customers = int(codes.max()) + 1
    for _ in range(DRAWS if n_rows <= MANY_ROWS else DRAWS_OF_MANY):
        drawn = np.bincount(rng.integers(0, n_customers, n_customers), minlength=n_customers)
        yield drawn[codes].astype(np.float64)


def _usable(outcome: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[Floats, Floats]:
    y, p = np.asarray(outcome, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if y.shape != p.shape or y.ndim != 1 or not len(y):
        raise InsufficientData(f"cannot compare outcomes of shape {y.shape} with predictions of shape {p.shape}")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise InsufficientData("outcomes or predictions contain values that are not numbers; nothing was measured")
    return y, p


def _by_score(outcome: Floats, score: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weights of positives and negatives per distinct score, ascending."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    positive = np.add.reduceat((outcome * weight)[order], starts)
    return positive, np.add.reduceat(weight[order], starts) - positive


def _gini(amount: Floats, score: Floats, weight: Floats) -> float:
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    amounts = np.add.reduceat((amount * weight)[order], starts)[::-1]
    rows = np.add.reduceat(weight[order], starts)[::-1]
    if amounts.sum() <= 0:
        return float("nan")
    captured = np.r_[0.0, np.cumsum(amounts)] / amounts.sum()
    share = rows / rows.sum()
    return float((share * (captured[1:] + captured[:-1])).sum() - 1)


def _ranks(values: Floats, weight: Floats) -> Floats:
    """Return mean ranks less their mean, in weighted rows."""
    _, places = np.unique(values, return_inverse=True)
    rows = np.bincount(places, weight)
    middle = np.cumsum(rows) - rows / 2
    return np.asarray(middle[places] - weight.sum() / 2)


def _inside(probability: Floats) -> Floats:
    return np.clip(probability, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)


def _mean(values: Floats, weight: Floats) -> float:
    return float((values * weight).sum() / weight.sum())
