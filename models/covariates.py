"""Purchases of customers who differ in what was known of them from the start: channel, region, first basket.

After Fader & Hardie (2007, "Incorporating time-invariant covariates into the Pareto/NBD and BG/NBD models"): with z the
covariates, ``alpha`` becomes ``alpha exp(-z rate)``, so that a coefficient is the change of the log purchase rate, and
the mean chance to leave has its log odds changed by ``z leave``: ``a exp(z leave/2)``, ``b exp(-z leave/2)``. Numbers
are standardised and every level of a category but the commonest is a column of its own; coefficients are drawn to 0 by
a ridge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from models.artefact import json_file, read_json_file
from models.btyd_kernel import GeoParams, RowTerms, leaver_terms, log_beta_ratio
from models.histories import Collapsed, IndividualHistories, collapse
from models.likelihood import Evaluation, LogNormalPrior, Objective, Optimum, maximise
from models.matrix import Floats, require_columns
from models.purchases import BetaGeoModel, GeoModel, ModifiedBetaGeoModel
from models.summary import read_history
from perennial.errors import ArtefactError, InsufficientData, SourceError

RIDGES = (1.0, 10.0, 100.0, 1000.0, 10_000.0)
_FOLDS = 3
_CHOSEN_ON = 20_000  # distinct rows on which the ridge is chosen
_FAMILIES: dict[str, type[GeoModel]] = {family.family: family for family in (BetaGeoModel, ModifiedBetaGeoModel)}
_FILE = "covariates.json"


@dataclass(frozen=True)
class Column:
    """How a summary column becomes columns of numbers: standardised, or one per level."""

    name: str
    mean: float = 0.0
    scale: float = 1.0
    levels: tuple[str, ...] = ()

    @classmethod
    def of(cls, summary: pd.DataFrame, name: str) -> Self:
        """Learn a column's mean and scale, or its levels but the commonest."""
        values = summary[name]
        if values.isna().any():
            raise SourceError(f"covariate {name} is missing for {int(values.isna().sum())} customers; fill it first")
        if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
            return cls(
                name,
                levels=tuple(
                    map(
                        str,
                        values.astype(str)
                        .value_counts()
                        .sort_index()
                        .sort_values(ascending=False, kind="stable")
                        .index[1:],
                    )
                ),
            )
        scale = float(values.std(ddof=0))
        if not np.isfinite(scale):
            raise SourceError(f"covariate {name} holds infinite values")
        return cls(name, float(values.mean()), scale if scale > 0 else 1.0)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the columns of numbers."""
        return tuple(f"{self.name}={level}" for level in self.levels) if self.levels else (self.name,)

    def numbers(self, summary: pd.DataFrame) -> Floats:
        """Return the column as numbers (n, n_labels); an unknown level is as the commonest, no value as the mean."""
        if self.levels:
            text = summary[self.name].astype(str).to_numpy()
            return np.stack([text == level for level in self.levels], axis=1).astype(np.float64)
        values = summary[self.name].to_numpy(dtype=np.float64, na_value=self.mean)
        return ((values - self.mean) / self.scale)[:, None]


class CovariatePurchases:
    """BG/NBD or MBG/NBD with covariates in the purchase rate and in the chance to leave.

    Parameters
    ----------
    family : {"mbg_nbd", "bg_nbd"}
    rate : sequence of str
        Summary columns that may change how often customers buy.
    leave : sequence of str
        Summary columns that may change how readily they leave.
    ridge : float or None
        Precision of the normal prior with mean 0 of every coefficient; None chooses among 1, 10, … 10,000 by the
        likelihood of customers left out of the fit, in thirds.

    Attributes
    ----------
    params_ : dict of str to float
        r, alpha, a and b of a customer with average numbers and the commonest levels.
    rate_effects_, leave_effects_ : dict of str to (float, float)
        Coefficient and standard error by column label.
    ridge_ : float
    log_likelihood_ : float
        Without ridge.
    """

    params_: dict[str, float]
    rate_effects_: dict[str, tuple[float, float]]
    leave_effects_: dict[str, tuple[float, float]]
    ridge_: float
    log_likelihood_: float
    _columns: tuple[tuple[Column, ...], ...]

    def __init__(
        self,
        *,
        family: str = "mbg_nbd",
        rate: Sequence[str] = (),
        leave: Sequence[str] = (),
        ridge: float | None = None,
    ) -> None:
        self.family, self.rate, self.leave, self.ridge = family, rate, leave, ridge

    def fit(self, summary: pd.DataFrame) -> Self:
        """Fit by penalised maximum likelihood."""
        if self.family not in _FAMILIES:
            raise ValueError(f"family is {self.family!r}; {' or '.join(_FAMILIES)} is needed")
        if self.ridge is not None and not 0 < self.ridge < np.inf:
            raise ValueError(f"ridge is {self.ridge}; it must be over 0 and finite, or None")
        require_columns(summary, [*self.rate, *self.leave])
        rates, leaves = (tuple(Column.of(summary, name) for name in names) for names in (self.rate, self.leave))
        self._columns = (rates, leaves)
        if not (self.rate or self.leave):
            raise InsufficientData("no covariate is named; take ModifiedBetaGeoModel or BetaGeoModel")
        by_rate, by_leave = self._designs(summary)
        rows = collapse([*read_history(summary), *by_rate.T, *by_leave.T])
        plain = _FAMILIES[self.family]().fit(summary)
        start = np.concatenate([np.log(list(plain.params_.values())), np.zeros(by_rate.shape[1] + by_leave.shape[1])])
        data = _Rows.of(rows, by_rate.shape[1], plain._shift)
        self.ridge_ = self.ridge if self.ridge is not None else _best_ridge(data, start)
        best = data.optimum(start, self.ridge_)
        errors = np.sqrt(np.diag(best.covariance))[4:]
        self._learn(np.exp(best.theta[:4]), best.theta[4:], errors, best.value)
        return self

    def _learn(self, params: Floats, effects: Floats, errors: Floats, log_likelihood: float) -> None:
        labels = self._labels()
        self.params_ = dict(zip(GeoParams._fields, params.tolist(), strict=True))
        both = list(zip(effects.tolist(), errors.tolist(), strict=True))
        self.rate_effects_ = dict(zip(labels[0], both[: len(labels[0])], strict=True))
        self.leave_effects_ = dict(zip(labels[1], both[len(labels[0]) :], strict=True))
        self.log_likelihood_ = log_likelihood

    def _labels(self) -> tuple[list[str], list[str]]:
        rates, leaves = ([label for column in columns for label in column.labels] for columns in self._columns)
        return rates, leaves

    def _designs(self, summary: pd.DataFrame) -> tuple[Floats, Floats]:
        """Return the covariates of rate and leaving as numbers, (n, columns) each."""
        none = np.zeros((len(summary), 0))
        parts = [[column.numbers(summary) for column in columns] for columns in self._columns]
        return np.concatenate([none, *parts[0]], axis=1), np.concatenate([none, *parts[1]], axis=1)

    def individual(self, summary: pd.DataFrame) -> tuple[GeoModel, IndividualHistories]:
        """Return the purchases model with these customers' own parameters, and what to ask it about: their histories.

        ``model.predict_purchases(histories, horizon_days=90)`` and every other prediction follow.
        """
        require_columns(summary, [*self.rate, *self.leave])
        rates, leaves = self._designs(summary)
        rate = rates @ np.array([effect for effect, _ in self.rate_effects_.values()])
        leave = leaves @ np.array([effect for effect, _ in self.leave_effects_.values()])
        r, alpha, a, b = self.params_.values()
        model = _FAMILIES[self.family]()
        model.own_params = GeoParams(r, alpha * np.exp(-rate), a * np.exp(leave / 2), b * np.exp(-leave / 2))
        return model, IndividualHistories(summary)

    def to_files(self) -> dict[str, bytes]:
        """Return the fitted model as an artefact's files."""
        state = {
            "family": self.family,
            "rate": list(self.rate),
            "leave": list(self.leave),
            "ridge": self.ridge_,
            "columns": [[asdict(column) for column in columns] for columns in self._columns],
            "params": self.params_,
            "rate_effects": self.rate_effects_,
            "leave_effects": self.leave_effects_,
            "log_likelihood": self.log_likelihood_,
        }
        return {_FILE: json_file(state)}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Restore a fitted model from an artefact's files."""
        state: dict[str, Any] = read_json_file(files, _FILE)
        try:
            model = cls(family=state["family"], rate=state["rate"], leave=state["leave"], ridge=float(state["ridge"]))
            model._columns = tuple(
                tuple(Column(**{**column, "levels": tuple(column["levels"])}) for column in columns)
                for columns in state["columns"]
            )
            by_rate, by_leave = model._labels()
            stored = [state["rate_effects"][label] for label in by_rate]
            stored += [state["leave_effects"][label] for label in by_leave]
            effects, errors = np.array(stored, dtype=np.float64).reshape(-1, 2).T
            params = np.array([state["params"][name] for name in GeoParams._fields], dtype=np.float64)
            model.ridge_ = float(state["ridge"])
            model._learn(params, effects, errors, float(state["log_likelihood"]))
            proper = model.family in _FAMILIES and bool((np.isfinite(params) & (params > 0)).all())
        except (KeyError, TypeError, ValueError):
            proper = False
        if not proper:
            raise ArtefactError(f"{_FILE}: does not hold a fitted model with covariates; train it again")
        return model


@dataclass(frozen=True)
class _Rows:
    """Distinct rows of history and covariates: a log-likelihood of the parameters (r, alpha, a, b, rate…, leave…)."""

    x: Floats
    t_x: Floats
    age: Floats
    rates: Floats  # (n, n_rate)
    leaves: Floats  # (n, n_leave)
    n: Floats
    shift: int

    @classmethod
    def of(cls, rows: Collapsed, n_rates: int, shift: int) -> Self:
        x, t_x, age, *covariates = rows.columns
        design = np.stack([np.zeros(len(x)), *covariates], axis=1)[:, 1:]
        return cls(x, t_x, age, design[:, :n_rates], design[:, n_rates:], rows.counts, shift)

    def part(self, chosen: npt.NDArray[np.bool_] | slice) -> Self:
        columns = (self.x, self.t_x, self.age, self.rates, self.leaves, self.n)
        x, t_x, age, rates, leaves, n = (column[chosen] for column in columns)
        return type(self)(x, t_x, age, rates, leaves, n, self.shift)

    def optimum(self, start: Floats, ridge: float) -> Optimum:
        """Return the penalised peak; its value is the log-likelihood without the ridge."""
        best = maximise(self.penalised(ridge), [start], LogNormalPrior(start), "purchases with covariates", agreeing=1)
        return Optimum(best.theta, self(best.theta)[0], best.covariance, best.prior_used)

    def penalised(self, ridge: float) -> Objective:
        def objective(theta: Floats) -> Evaluation:
            value, gradient, hessian = self(theta)
            drawn = np.concatenate([np.zeros(4), theta[4:]])
            strength = np.diag(np.concatenate([np.zeros(4), np.full(len(theta) - 4, ridge)]))
            return value - ridge / 2 * float(drawn @ drawn), gradient - ridge * drawn, hessian - strength

        return objective

    def __call__(self, theta: Floats) -> Evaluation:
        """Evaluate with exact derivatives: theta acts on each row's four log parameters linearly."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            rate, leave = np.split(theta[4:], [self.rates.shape[1]])
            leaving = self.leaves @ leave / 2
            own = np.exp(
                [
                    np.full(len(self.x), theta[0]),
                    theta[1] - self.rates @ rate,
                    theta[2] + leaving,
                    theta[3] - leaving,
                ]
            )
            terms = _row_terms(GeoParams(*own), self)
            slope = terms.slope * own
            bend = terms.bend * own[:, None] * own + np.eye(4)[:, :, None] * slope
            # directions in which covariates move the four logs, and the covariates that do
            ways = [*np.eye(4), *([-np.eye(4)[1]] * len(rate)), *([np.array([0, 0, 0.5, -0.5])] * len(leave))]
            design = np.concatenate([np.ones((len(self.x), 4)), self.rates, self.leaves], axis=1)
            weighted = self.n[:, None] * design
            moved = np.array(ways)
            gradient = np.einsum("np,pn->p", weighted, moved @ slope)
            curved = np.einsum("pi,ijn,qj->pqn", moved, bend, moved, optimize=True)
            return (
                float(self.n @ terms.value),
                gradient,
                np.einsum("np,nq,pqn->pq", weighted, design, curved, optimize=True),
            )


def _row_terms(params: GeoParams, rows: _Rows) -> RowTerms:
    """Terms of the whole log-likelihood by row, all four parameters differing by row."""
    r, alpha, a, b = params
    x, k, lived = rows.x, rows.x + rows.shift, alpha + rows.age
    terms = leaver_terms(params, x, rows.t_x, rows.age, k)
    value = terms.value + special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha) - (r + x) * np.log(lived)
    value = value + log_beta_ratio(a, b, k)
    terms.slope[0] += special.digamma(r + x) - special.digamma(r) + np.log(alpha) - np.log(lived)
    terms.slope[1] += r / alpha - (r + x) / lived
    passed = special.digamma(a + b) - special.digamma(a + b + k)
    terms.slope[2] += passed
    terms.slope[3] += passed + special.digamma(b + k) - special.digamma(b)
    terms.bend[0, 0] += special.polygamma(1, r + x) - special.polygamma(1, r)
    cross = 1 / alpha - 1 / lived
    terms.bend[0, 1] += cross
    terms.bend[1, 0] += cross
    terms.bend[1, 1] += (r + x) / lived**2 - r / alpha**2
    mixed = special.polygamma(1, a + b) - special.polygamma(1, a + b + k)
    for i, j in ((2, 2), (2, 3), (3, 2), (3, 3)):
        terms.bend[i, j] += mixed
    terms.bend[3, 3] += special.polygamma(1, b + k) - special.polygamma(1, b)
    return RowTerms(value, terms.slope, terms.bend)


def _best_ridge(rows: _Rows, start: Floats) -> float:
    """Return the ridge under which customers left out are likeliest, each distinct row in one of the folds."""
    some = rows.part(slice(None, None, max(1, len(rows.x) // _CHOSEN_ON)))
    fold = np.arange(len(some.x)) % _FOLDS
    likelihood = dict.fromkeys(RIDGES, 0.0)
    for out in range(_FOLDS):
        inside, outside = some.part(fold != out), some.part(fold == out)
        theta = start
        for ridge in RIDGES:
            theta = inside.optimum(theta, ridge).theta
            likelihood[ridge] += outside(theta)[0]
    return max(RIDGES, key=lambda ridge: likelihood[ridge])
