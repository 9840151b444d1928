"""Maximum likelihood over log parameters with exact derivatives, and a way out when data cannot fix a parameter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from models.artefact import json_file, read_json_file
from models.matrix import Floats
from perennial.errors import ArtefactError, ConvergenceError

Evaluation = tuple[float, Floats, Floats]
"""Log-likelihood, its gradient and its Hessian in the log parameters."""

Objective = Callable[[Floats], Evaluation]


class CountedLikelihood(Protocol):
    """An objective that can also say its value alone, at many points."""

    def __call__(self, theta: Floats) -> Evaluation:
        """Evaluate at ``theta``."""

    def values(self, thetas: Floats) -> Floats:
        """Return the log-likelihoods (n,) at ``thetas`` (n, n_params)."""


_MAX_STEPS = 100
_MAX_STEP = 2.0  # log units: one step may change a parameter by a factor of seven
_BOX = 25.0  # log units from the start: by then the climb follows a ridge, not a peak
_SAME_PEAK = 1e-6  # peaks this close in log-likelihood are one
_TOLERANCE = 1e-9  # expected gain of one more step, in units of log-likelihood


def sum_products(weights: Floats, values: Floats) -> Floats:
    """Return the sums over the last axis of weights times values, for arrays as long as the customers.

    Not ``@``: BLAS splits long sums among threads, so their last digit would depend on the machine and, on a busy
    machine, the threads wait for each other (fits of 100,000 customers took 4 to 30 times as long).
    """
    return np.asarray(np.einsum("...n,...n->...", weights, values))


@dataclass(frozen=True)
class LogNormalPrior:
    """Independent normal beliefs about log parameters, all with the standard deviation ``sd``."""

    centre: Floats
    sd: float = 2.5

    def add(self, evaluation: Evaluation, theta: Floats) -> Evaluation:
        """Return the evaluation of log-likelihood plus log-prior (its constant left out)."""
        value, gradient, hessian = evaluation
        precision, away = self.sd**-2, theta - self.centre
        return (
            value - 0.5 * precision * float(away @ away),
            gradient - precision * away,
            hessian - precision * np.eye(len(theta)),
        )

    def log_density(self, thetas: Floats) -> Floats:
        """Return the log-prior (n,) of log parameters (n, n_params), its constant left out."""
        return np.asarray(-0.5 * (((thetas - self.centre) / self.sd) ** 2).sum(axis=-1))


@dataclass(frozen=True)
class Optimum:
    """Where a climb ended. ``covariance`` is that of the log parameters (inverse observed information)."""

    theta: Floats
    value: float
    covariance: Floats
    prior_used: bool = False


def maximise(
    objective: Objective,
    starts: Sequence[Floats],
    prior: LogNormalPrior,
    what: str,
    *,
    sample: Objective | None = None,
    agreeing: int = 2,
) -> Optimum:
    """Climb from the starts until ``agreeing`` of them end on the highest peak; with a weak prior when none is proper.

    ``sample`` is the same likelihood of a sample of the rows: the starts are tried on it, and only the best goes on
    over all rows.

    A peak is proper when in every direction the data carry more information than the prior would: otherwise the
    likelihood lies on a flat ridge and the fit is repeated with the prior (``prior_used``).
    """
    begun = starts
    if sample is not None:
        found = _highest(sample, starts)
        begun = starts if found is None else [found.theta, *starts]
    best = _highest(objective, begun, agreeing=1 if sample is not None else agreeing)
    if best is not None and np.linalg.eigvalsh(best.covariance)[-1] < prior.sd**2:
        return best
    shrunk = _highest(lambda theta: prior.add(objective(theta), theta), starts)
    if shrunk is None:
        raise ConvergenceError(f"{what}: no optimum from any of {len(starts)} starts; check the units and outliers")
    return Optimum(shrunk.theta, objective(shrunk.theta)[0], shrunk.covariance, prior_used=True)


def evaluated_at(theta: Floats, objective: Objective, what: str) -> Optimum:
    """Return as an optimum where another fitter ended; ConvergenceError when that is no peak."""
    value, _, hessian = objective(theta)
    if not (np.isfinite(value) and np.isfinite(hessian).all() and np.linalg.eigvalsh(hessian)[-1] < 0):
        raise ConvergenceError(f"{what}: it ended where the likelihood has no peak; take the project's own fitter")
    return Optimum(theta, value, np.asarray(np.linalg.inv(-hessian), dtype=np.float64))


def _highest(objective: Objective, starts: Sequence[Floats], agreeing: int = 2) -> Optimum | None:
    """Return the highest peak reached, as soon as so many climbs have ended there."""
    reached: list[Optimum] = []
    for start in starts:
        found = climb(objective, start)
        if found is not None:
            reached.append(found)
            top = max(peak.value for peak in reached)
            if sum(peak.value >= top - _SAME_PEAK for peak in reached) >= agreeing:
                break
    return max(reached, key=lambda peak: peak.value, default=None)


def climb(objective: Objective, start: Floats) -> Optimum | None:
    """Climb in Newton steps, the Hessian's eigenvalues made negative, halved until they gain; None without a peak."""
    theta = start
    value, gradient, hessian = objective(theta)
    for _ in range(_MAX_STEPS):
        curvature, axes = np.linalg.eigh(-hessian)
        bounded = np.maximum(np.abs(curvature), 1e-12)
        step = axes @ ((axes.T @ gradient) / bounded)
        gain = float(gradient @ step)
        if gain < _TOLERANCE:
            peak = bool(curvature[0] > 0)
            return Optimum(theta, value, (axes / bounded) @ axes.T) if peak else None
        step *= min(1.0, _MAX_STEP / float(np.abs(step).max()))
        moved = _line_search(objective, theta, step, value)
        if moved is None or np.abs(moved[0] - start).max() > _BOX:
            return None
        theta, (value, gradient, hessian) = moved
    return None


def _line_search(objective: Objective, theta: Floats, step: Floats, value: float) -> tuple[Floats, Evaluation] | None:
    noise = 1e-12 * abs(value)
    for halving in range(30):
        there = theta + step * 0.5**halving
        evaluation = objective(there)
        if np.isfinite(evaluation[0]) and np.isfinite(evaluation[2]).all() and evaluation[0] >= value - noise:
            return there, evaluation
    return None


class LikelihoodModel:
    """A model fitted by maximum likelihood over parameters that are all over 0.

    Attributes
    ----------
    params_ : dict of str to float
    standard_errors_ : dict of str to float
        By the delta method from ``covariance_log_``.
    covariance_log_ : ndarray of shape (n_params, n_params)
        Covariance of the log parameters.
    log_likelihood_ : float
        Without prior.
    prior_used_ : bool
        Whether the data alone could not fix every parameter, so that a weak prior had to help.
    n_customers_ : int
        Customers fitted on.
    """

    family: ClassVar[str]
    parameter_names: ClassVar[tuple[str, ...]]

    params_: dict[str, float]
    standard_errors_: dict[str, float]
    covariance_log_: Floats
    log_likelihood_: float
    prior_used_: bool
    n_customers_: int

    def _learn(
        self, params: Floats, covariance: Floats, log_likelihood: float, prior_used: bool, n_customers: int
    ) -> None:
        errors = params * np.sqrt(np.diag(covariance))
        self.params_ = dict(zip(self.parameter_names, params.tolist(), strict=True))
        self.standard_errors_ = dict(zip(self.parameter_names, errors.tolist(), strict=True))
        self.covariance_log_, self.log_likelihood_ = covariance, log_likelihood
        self.prior_used_, self.n_customers_ = prior_used, n_customers

    def parameters_at(self, normals: Floats) -> Floats:
        """Turn standard normals into parameters as uncertain as Laplace's approximation; both (n_draws, n_params)."""
        root = np.linalg.cholesky(self.covariance_log_)
        return np.asarray(np.exp(np.log(list(self.params_.values())) + normals @ root.T))

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain JSON values."""
        return {
            "family": self.family,
            "params": self.params_,
            "covariance_log": self.covariance_log_.tolist(),
            "log_likelihood": self.log_likelihood_,
            "prior_used": self.prior_used_,
            "n_customers": self.n_customers_,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Restore a fitted model; ArtefactError when the state is not that of a fitted model of this family."""
        model = cls()
        try:
            params = np.array([state["params"][name] for name in cls.parameter_names], dtype=np.float64)
            covariance = np.array(state["covariance_log"], dtype=np.float64).reshape(len(params), len(params))
            np.linalg.cholesky(covariance)
            facts = (float(state["log_likelihood"]), bool(state["prior_used"]), int(state["n_customers"]))
            proper = state["family"] == cls.family and bool((np.isfinite(params) & (params > 0)).all())
        except (KeyError, TypeError, ValueError, np.linalg.LinAlgError):
            proper = False
        if not proper:
            raise ArtefactError(f"{cls.family}: the stored state is not that of a fitted model; train it again")
        model._learn(params, covariance, *facts)
        return model

    def to_files(self) -> dict[str, bytes]:
        """Return the fitted model as an artefact's files."""
        return {f"{self.family}.json": json_file(self.to_json())}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Restore a fitted model from an artefact's files."""
        return cls.from_json(read_json_file(files, f"{cls.family}.json"))
