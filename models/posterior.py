"""Parameters as uncertain as the data leave them: Laplace's approximation, corrected by importance sampling.

Draws come from a multivariate t around the posterior's peak, with the peak's curvature; each is weighted by how much
likelier the posterior makes it than the draw's own density. The effective sample size (Kish) says how many independent
draws of the posterior they are worth; when it is low, more are drawn around the weighted mean and covariance so far.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from models.likelihood import CountedLikelihood, LogNormalPrior, climb
from models.matrix import Floats
from perennial.errors import ConvergenceError

_FREEDOM = 12.0  # tails heavy enough to cover a skewed posterior, light enough to waste few draws
_MOST_ROUNDS = 12


@dataclass(frozen=True)
class Posterior:
    """Weighted draws of parameters.

    Attributes
    ----------
    names : tuple of str
    draws : ndarray of shape (n_draws, n_params)
    weights : ndarray of shape (n_draws,)
        Summing to 1.
    """

    names: tuple[str, ...]
    draws: Floats
    weights: Floats

    @property
    def effective_sample_size(self) -> float:
        """How many independent draws these are worth, at most their number."""
        return float(1 / np.sum(self.weights**2))

    @property
    def means(self) -> Mapping[str, float]:
        """Posterior mean of each parameter."""
        return dict(zip(self.names, (self.weights @ self.draws).tolist(), strict=True))

    def quantiles(self, shares: Floats) -> Mapping[str, Floats]:
        """Return posterior quantiles of each parameter; ``shares`` between 0 and 1."""
        found = {}
        for name, column in zip(self.names, self.draws.T, strict=True):
            order = np.argsort(column)
            below = np.cumsum(self.weights[order])
            places = np.minimum(np.searchsorted(below, shares), len(column) - 1)
            found[name] = column[order][places]
        return found

    def resample(self, n: int, seed: int) -> Floats:
        """Return n equally likely draws (n, n_params): systematic resampling, which adds least noise."""
        start = np.random.default_rng(seed).random()
        places = np.searchsorted(np.cumsum(self.weights), (np.arange(n) + start) / n)
        return np.asarray(self.draws[np.minimum(places, len(self.draws) - 1)])


def sample_posterior(
    names: tuple[str, ...],
    likelihood: CountedLikelihood,
    start: Floats,
    prior: LogNormalPrior,
    *,
    effective: int,
    seed: int,
) -> Posterior:
    """Draw until the sample is worth ``effective`` independent draws; ConvergenceError when it never gets there.

    ``start`` are log parameters near the peak.
    """
    peak = climb(lambda theta: prior.add(likelihood(theta), theta), start)
    if peak is None:
        raise ConvergenceError("the posterior has no peak near the fitted parameters; fit again with a narrower prior")
    rng = np.random.default_rng(seed)
    thetas, log_weights = np.empty((0, len(start))), np.empty(0)
    centre, covariance = peak.theta, peak.covariance
    size = int(1.15 * effective) + 50
    for _ in range(_MOST_ROUNDS):
        drawn, log_density = _student(rng, centre, covariance, size)
        log_posterior = likelihood.values(drawn) + prior.log_density(drawn)
        fresh = np.where(np.isfinite(log_posterior), log_posterior - peak.value - log_density, -np.inf)
        if _worth(fresh) < size / 4:  # the proposal fits badly: what it drew only helps to find a better one
            thetas, log_weights = drawn, fresh
        else:
            thetas, log_weights = np.concatenate([thetas, drawn]), np.concatenate([log_weights, fresh])
        weights = special.softmax(log_weights)
        if _worth(log_weights) >= effective:
            return Posterior(names, np.exp(thetas), weights)
        centre = weights @ thetas
        covariance = np.cov(thetas.T, aweights=weights)
        missing = effective - _worth(log_weights)
        size = int(max(1.3 * missing * len(thetas) / _worth(log_weights), effective / 4)) if missing > 0 else size
        size = min(size, 8 * effective)
    raise ConvergenceError(
        f"{len(thetas)} draws are worth {_worth(log_weights):.0f} independent ones, {effective} were asked for:"
        " the posterior is far from normal; ask for fewer or give a narrower prior"
    )


def _worth(log_weights: Floats) -> float:
    return float(1 / np.sum(special.softmax(log_weights) ** 2))


def _student(rng: np.random.Generator, centre: Floats, covariance: Floats, n: int) -> tuple[Floats, Floats]:
    """Return draws (n, n_params) of a multivariate t and their log densities, without its constants but the scale's."""
    root = np.linalg.cholesky(covariance)
    normal = rng.standard_normal((n, len(centre)))
    stretch = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, n))
    distance = (normal**2).sum(axis=1) * stretch**2
    log_density = -(_FREEDOM + len(centre)) / 2 * np.log1p(distance / _FREEDOM) - np.log(np.diag(root)).sum()
    return centre + (normal * stretch[:, None]) @ root.T, log_density
