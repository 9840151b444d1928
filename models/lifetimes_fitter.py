"""The same likelihoods maximised by the package lifetimes: a second opinion on a fit."""

import warnings
from typing import Literal

import numpy as np

from models.histories import HistoryCounts
from models.matrix import Floats
from perennial.errors import ConvergenceError

Fitter = Literal["own", "lifetimes"]

_FITTERS = {"bg_nbd": "BetaGeoFitter", "mbg_nbd": "ModifiedBetaGeoFitter", "pareto_nbd": "ParetoNBDFitter"}


def fit_with_lifetimes(family: str, counts: HistoryCounts) -> Floats:
    """Return the parameters in lifetimes' order, which is ours; ConvergenceError when it finds none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns when imported under pandas 3, and at every step too far
        import lifetimes
        from lifetimes.utils import ConvergenceError as TheirError

        fitter = getattr(lifetimes, _FITTERS[family])()
        try:
            fitter.fit(counts.x, counts.t_x, counts.age, weights=counts.n)
        except (TheirError, ValueError, TypeError, ArithmeticError) as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise ConvergenceError(f"{family}: lifetimes did not converge ({reason}); take the own fitter") from error
    params = np.array(list(dict(fitter.params_).values()), dtype=np.float64)
    if not (np.isfinite(params) & (params > 0)).all():
        raise ConvergenceError(f"{family}: lifetimes ended at {params.tolist()}; parameters must be finite and over 0")
    return params
