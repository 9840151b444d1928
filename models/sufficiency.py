"""How much a model had to learn from, as a letter that every score carries, and what the next letter asks for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

GRADES = ("A", "B", "C", "D")
EXTRAPOLATED_GRADE = "C"  # at best, where no window as long as the horizon has been seen
BOOSTING_MIN_CUSTOMERS = 500
BOOSTING_MIN_RARER = 50


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
    """Least that a churn grade asks for; ``horizons`` is history over horizon."""

    grade: str
    customers: int
    rarer_labels: int
    horizons: float
    history_days: float
    boosted: bool


@dataclass(frozen=True, slots=True)
class ValueMinimum:
    """Least that a value grade asks for; ``repeat_buyers`` bought on two days or more, and spent on the later ones."""

    grade: str
    repeat_buyers: int
    history_days: float


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One fact below what a grade asks for."""

    fact: str
    have: float
    need: float


@dataclass(frozen=True, slots=True)
class Sufficiency:
    """A grade, the one above it (None at A) and every fact that stands between the two."""

    grade: str
    next_grade: str | None
    missing: tuple[Shortfall, ...]


# The steps are house rules: 200 of the rarer outcome put the standard error of a rate near a tenth of it.
MINIMUMS = (
    # A asks for a whole year: less has not seen every season.
    Minimum("A", customers=5_000, rarer_labels=1_000, horizons=6, history_days=365, boosted=True),
    Minimum("B", customers=1_000, rarer_labels=200, horizons=4, history_days=0, boosted=True),
    Minimum("C", customers=200, rarer_labels=30, horizons=2, history_days=0, boosted=False),
)
# Refitted on 30 random parts of CDNOW and Online Retail, the base's expected spend over 365 days varied by about 2 %
# (standard deviation) with 1,000 repeat buyers, 3 to 5 % with 200 and 9 to 14 % with 50. A value looks 365 days ahead.
VALUE_MINIMUMS = (
    ValueMinimum("A", repeat_buyers=1_000, history_days=365),
    ValueMinimum("B", repeat_buyers=200, history_days=182),
    ValueMinimum("C", repeat_buyers=50, history_days=91),
)


def enough_for_trees(customers: int, rarer_labels: int) -> bool:
    """Whether trees are grown beside the purchases model."""
    return customers >= BOOSTING_MIN_CUSTOMERS and rarer_labels >= BOOSTING_MIN_RARER


def grade(facts: Facts, horizon_days: int) -> str:
    """Return the best letter of `MINIMUMS` whose every minimum is met, else D."""
    return churn_sufficiency(asdict(facts), horizon_days).grade


def churn_sufficiency(
    facts: Mapping[str, float], horizon_days: int, least_days: float = 0, whole_days: float = 0
) -> Sufficiency:
    """Judge churn's facts by name.

    ``least_days`` is the history below which nothing can be trained at all, ``whole_days`` that below which no window
    as long as the horizon can be learned from, so that C is the best grade.

    A fact that is not there cannot be counted yet and is not judged.
    """
    needs = {
        least.grade: {
            "customers": least.customers,
            "rarer_labels": least.rarer_labels,
            "history_days": max(
                least.horizons * horizon_days,
                least.history_days,
                whole_days if least.grade < EXTRAPOLATED_GRADE else least_days,
            ),
            "boosted": least.boosted,
        }
        for least in MINIMUMS
    }
    return _judge(facts, needs)


def value_sufficiency(facts: Mapping[str, float], least_days: float = 0) -> Sufficiency:
    """Judge the facts of customer value by name, like `churn_sufficiency`."""
    needs = {
        least.grade: {
            "repeat_buyers": least.repeat_buyers,
            "history_days": max(least.history_days, least_days),
        }
        for least in VALUE_MINIMUMS
    }
    return _judge(facts, needs)


def _judge(facts: Mapping[str, float], needs: Mapping[str, Mapping[str, float]]) -> Sufficiency:
    missing = {
        letter: tuple(
            Shortfall(fact, facts[fact], least)
            for fact, least in wanted.items()
            if fact in facts and facts[fact] < least
        )
        for letter, wanted in needs.items()
    }
    reached = next((letter for letter in missing if not missing[letter]), GRADES[-1])
    if reached == GRADES[0]:
        return Sufficiency(reached, None, ())
    above = GRADES[GRADES.index(reached) - 1]
    return Sufficiency(reached, above, missing[above])
