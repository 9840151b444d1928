"""How much a fit had to learn from, as a letter that every score carries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """What a churn fit had to learn from.

    ``rarer_labels`` counts the scarcer of the two outcomes over all training rows; ``history_days`` reaches from the
    first order to the end of the calibration window; ``boosted`` is False where the purchases model stands alone.
    """

    customers: int
    rows: int
    rarer_labels: int
    calibration_rows: int
    history_days: float
    boosted: bool


@dataclass(frozen=True, slots=True)
class Minimum:
    """Least that a grade asks for; ``horizons`` is history over horizon."""

    grade: str
    customers: int
    rarer_labels: int
    horizons: float
    history_days: float
    boosted: bool


# The steps are house rules: 200 of the rarer outcome put the standard error of a rate near a tenth of it.
MINIMUMS = (
    # A asks for a whole year: less has not seen every season.
    Minimum("A", customers=5_000, rarer_labels=1_000, horizons=6, history_days=365, boosted=True),
    Minimum("B", customers=1_000, rarer_labels=200, horizons=4, history_days=0, boosted=True),
    Minimum("C", customers=200, rarer_labels=30, horizons=2, history_days=0, boosted=False),
)


def grade(facts: Facts, horizon_days: int) -> str:
    """Return the best letter of `MINIMUMS` whose every minimum is met, else D."""
    for least in MINIMUMS:
        if (
            facts.customers >= least.customers
            and facts.rarer_labels >= least.rarer_labels
            and facts.history_days >= max(least.horizons * horizon_days, least.history_days)
            and (facts.boosted or not least.boosted)
        ):
            return least.grade
    return "D"
