"""Turning a ranking score into a probability that comes true as often as it says.

A map is fitted on rows of a later snapshot than the score was. Candidates, simplest first:
``platt`` (Platt 1999: logistic in the log odds), ``beta`` (Kull, Silva Filho & Flach 2017: separate
slopes for ln p and ln(1 − p)), ``venn_abers`` (Vovk & Petej 2014, see `models.venn_abers`) and ``isotonic`` (Zadrozny &
Elkan 2002); the last two are joined by straight lines so that they make no new ties. A more complex one is taken only
when its cross-validated log loss is lower by more than one standard error of the paired difference; a curve without a
form (the last two) needs ``CURVE_MIN_ROWS`` rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from sklearn.isotonic import IsotonicRegression

from models.matrix import Floats
from models.venn_abers import merged, venn_abers
from perennial.errors import ArtefactError

Key = TypeVar("Key")

FITTED_MIN_ROWS = 50  # below this a slope is noise: the score's own probability is kept
CURVE_MIN_ROWS = 1_000  # Niculescu-Mizil & Caruana 2005: isotonic overfits on fewer
CURVE_MIN_RARER = 100
FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """A monotone map from log odds to a probability strictly inside (0, 1).

    ``weights``: platt (intercept, slope), beta (intercept, slope of ln p, slope of −ln(1 − p)).
    ``knots``: venn_abers and isotonic, (log odds, probability) pairs, both rising. ``rows`` calibration rows: no
    probability comes closer to 0 or 1 than 1/(rows + 2), Laplace's rule of succession.
    """

    method: str
    rows: int
    weights: tuple[float, ...] = ()
    knots: tuple[tuple[float, float], ...] = ()

    def apply(self, log_odds: Floats) -> Floats:
        """Calibrated probabilities (n,) of log odds (n,)."""
        return self._inside(self._map(np.asarray(log_odds, dtype=np.float64)))

    def _map(self, log_odds: Floats) -> Floats:
        if self.knots:
            x, y = np.array(self.knots).T
            return np.asarray(np.interp(log_odds, x, y), dtype=np.float64)
        if self.method == "identity":
            return np.asarray(expit(log_odds), dtype=np.float64)
        basis = _BASES[self.method](log_odds)
        # not ``@``: BLAS may round a row otherwise when other rows stand beside it
        slope = np.einsum("nk,k->n", basis, np.array(self.weights[1:]))
        return np.asarray(expit(self.weights[0] + slope), dtype=np.float64)

    def _inside(self, probability: Floats) -> Floats:
        bound = 1.0 / (self.rows + 2)
        return bound + (1.0 - 2.0 * bound) * probability

    def to_json(self) -> dict[str, Any]:
        """Plain values for an artefact."""
        return {
            "method": self.method,
            "rows": self.rows,
            "weights": list(self.weights),
            "knots": [list(knot) for knot in self.knots],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        if values["method"] not in METHODS:
            raise ArtefactError(f"calibration method {values['method']!r} is unknown; known: {', '.join(METHODS)}")
        return cls(
            method=values["method"],
            rows=int(values["rows"]),
            weights=tuple(float(weight) for weight in values["weights"]),
            knots=tuple((float(x), float(y)) for x, y in values["knots"]),
        )


def fit_calibration(log_odds: Floats, labels: NDArray[np.bool_], *, seed: int) -> Calibration:
    """Fit the map that cross-validated log loss on these rows supports (rule: module docstring)."""
    rarer = min(int(labels.sum()), int((~labels).sum()))
    if len(labels) < FITTED_MIN_ROWS or rarer == 0:
        return Calibration("identity", rows=len(labels))
    candidates = ["platt", "beta"]
    if len(labels) >= CURVE_MIN_ROWS and rarer >= CURVE_MIN_RARER:
        candidates += ["venn_abers", "isotonic"]
    losses = {method: cross_validated_losses(method, log_odds, labels, seed) for method in candidates}
    return fit_map(simplest_adequate(losses), log_odds, labels)


def fit_map(method: str, log_odds: Floats, labels: NDArray[np.bool_]) -> Calibration:
    """Fit the map of one method."""
    if method == "identity":
        return Calibration(method, rows=len(labels))
    return _FITTERS[method](log_odds, labels)


def simplest_adequate(losses: Mapping[Key, Floats]) -> Key:
    """Return the first key no later one beats by more than one standard error of the paired row losses."""
    chosen, *others = losses
    for key in others:
        gain = losses[chosen] - losses[key]
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            chosen = key
    return chosen


def log_losses(labels: NDArray[np.bool_], probability: Floats) -> Floats:
    """Log loss of each row (n,)."""
    return -np.log(np.where(labels, probability, 1.0 - probability))


def cross_validated_losses(method: str, log_odds: Floats, labels: NDArray[np.bool_], seed: int) -> Floats:
    """Log loss (n,) of each row under a map fitted on the other folds."""
    fold = np.random.default_rng(seed).permutation(len(labels)) % FOLDS
    losses = np.empty(len(labels))
    for number in range(FOLDS):
        held = fold == number
        fitted = _FITTERS[method](log_odds[~held], labels[~held])
        losses[held] = log_losses(labels[held], fitted.apply(log_odds[held]))
    return losses


def _platt_basis(log_odds: Floats) -> Floats:
    return log_odds[:, None]


def _beta_basis(log_odds: Floats) -> Floats:
    return np.column_stack([log_expit(log_odds), -log_expit(-log_odds)])


def _fit_platt(log_odds: Floats, labels: NDArray[np.bool_]) -> Calibration:
    return Calibration("platt", len(labels), weights=_logistic(_platt_basis(log_odds), labels))


def _fit_beta(log_odds: Floats, labels: NDArray[np.bool_]) -> Calibration:
    return Calibration("beta", len(labels), weights=_logistic(_beta_basis(log_odds), labels))


def _logistic(basis: Floats, labels: NDArray[np.bool_]) -> tuple[float, ...]:
    """Logistic regression with slopes ≥ 0; its weak prior keeps them finite where the score separates the classes."""
    target = labels.astype(np.float64)
    design = np.column_stack([np.ones(len(basis)), basis])

    def loss(weights: Floats) -> tuple[float, Floats]:
        score = design @ weights
        value = -(target * log_expit(score) + (1 - target) * log_expit(-score)).mean()
        # a prior worth one row towards slope 1: the score already claims to be log odds
        away = weights[1:] - 1.0
        gradient = design.T @ (expit(score) - target) / len(target)
        gradient[1:] += away / len(target)
        return float(value + 0.5 * (away**2).sum() / len(target)), gradient

    start = np.concatenate([[0.0], np.ones(basis.shape[1])])
    bounds = [(None, None)] + [(0.0, None)] * basis.shape[1]
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return tuple(float(weight) for weight in fitted.x)


def _fit_isotonic(log_odds: Floats, labels: NDArray[np.bool_]) -> Calibration:
    """Isotonic blocks as knots at their mean log odds; each block's rate is smoothed towards one half by one row."""
    order = np.argsort(log_odds, kind="stable")
    level = IsotonicRegression().fit_transform(log_odds[order], labels[order].astype(np.float64))
    _, block = np.unique(level, return_inverse=True)
    size = np.bincount(block)
    centre = np.bincount(block, weights=log_odds[order]) / size
    rate = (np.bincount(block, weights=labels[order]) + 0.5) / (size + 1.0)
    rising = np.maximum.accumulate(rate)
    return Calibration("isotonic", len(labels), knots=tuple(zip(centre.tolist(), rising.tolist(), strict=True)))


def _fit_venn_abers(log_odds: Floats, labels: NDArray[np.bool_]) -> Calibration:
    """Stretches of equal probability as knots at their mean log odds."""
    distinct, lower, upper = venn_abers(log_odds, labels.astype(np.float64))
    level = np.maximum.accumulate(np.round(merged(lower, upper), 12))
    knot, stretch = np.unique(level, return_inverse=True)
    centre = np.bincount(stretch, weights=distinct) / np.bincount(stretch)
    return Calibration("venn_abers", len(labels), knots=tuple(zip(centre.tolist(), knot.tolist(), strict=True)))


_BASES = {"platt": _platt_basis, "beta": _beta_basis}
_FITTERS = {"platt": _fit_platt, "beta": _fit_beta, "venn_abers": _fit_venn_abers, "isotonic": _fit_isotonic}
METHODS = ("identity", *_FITTERS)
