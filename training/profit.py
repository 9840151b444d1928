"""What a churn score earns when the customers it ranks highest are offered an incentive to stay.

Contacting a churner earns γ(CLV − d) − f, contacting anybody else costs d + f, where γ is the chance that a churner
accepts, d the incentive and f the contact. γ is not known: it follows a Beta distribution, and for each γ as many
customers are contacted as pay (Verbraken, Verbeke & Baesens 2013, eq. 8 and 12). Every customer may have a CLV of their
own (Óskarsdóttir, Baesens & Vanthienen 2018); implementations that take the mean first give another number.
"""

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import betainc

from models.retention_offer import RetentionOffer
from training.metrics import Floats, Measure


def empc(clv: Floats | float, offer: RetentionOffer) -> Measure:
    """Return the EMPC as a measure of rows whose CLV is ``clv``, for `training.metrics.evaluate` and `compare`."""

    def measure(outcome: Floats, score: Floats, weight: Floats) -> float:
        return expected_maximum_profit(outcome, score, weight, clv, offer)

    return measure


def expected_maximum_profit(
    outcome: Floats, score: Floats, weight: Floats, clv: Floats | float, offer: RetentionOffer
) -> float:
    """Return the EMPC: expected profit per customer when as many as pay are contacted, the highest scores first.

    Parameters
    ----------
    outcome, score, weight : (n,) 1 for a churner, else 0; any ranking; how often each row counts
    clv : what a customer who stays is worth, (n,) or one for all

    Notes
    -----
    For a given γ the best number to contact lies on the upper hull of (cost, gain), summed in the order of the score.
    Isotonic regression finds the hull, on which each stretch is contacted when γ · gain exceeds its cost; the Beta
    distribution's partial moments then give the integral over γ exactly.
    """
    gain, cost = _stretches(outcome, score, weight, clv, offer)
    least = np.where(gain > cost, cost / np.where(gain > 0, gain, 1.0), 1.0)
    alpha, beta = offer.acceptance
    accepted = offer.accepted_share * (1 - betainc(alpha + 1, beta, least))
    contacted = 1 - betainc(alpha, beta, least)
    return float((gain * accepted - cost * contacted).sum() / weight.sum())


def _stretches(
    outcome: Floats, score: Floats, weight: Floats, clv: Floats | float, offer: RetentionOffer
) -> tuple[Floats, Floats]:
    """Gain at full acceptance and cost of each stretch of the hull; equal scores are contacted together."""
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) < 0])
    gains = np.add.reduceat((weight * outcome * (clv - offer.incentive_cost))[order], starts)
    costs = np.add.reduceat((weight * (offer.contact_cost + (1 - outcome) * offer.incentive_cost))[order], starts)
    # a stretch that costs nothing must still have a slope
    costs = np.maximum(costs, 1e-12)
    slope: Floats = isotonic_regression(gains / costs, weights=costs, increasing=False).x
    _, block = np.unique(-slope, return_inverse=True)
    return (
        np.asarray(np.bincount(block, gains), dtype=np.float64),
        np.asarray(np.bincount(block, costs), dtype=np.float64),
    )
