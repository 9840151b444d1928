"""Pictures of churn and of segments: does the probability hold, does it rank. Every function returns PNG bytes."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from training.drawing import MODEL, MUTED, RULE, canvas, percent, thousands, title, to_png
from training.metrics import Interval

Floats = npt.NDArray[np.float64]

_Z = 1.96  # two-sided 95 % of the normal distribution


def calibration(outcome: Floats, probability: Floats, horizon_days: int | None) -> bytes:
    """Draw observed against predicted churn in ten groups of equal size, with 95 % Wilson intervals.

    Without a horizon the outcome is a label of rows left out of the fit.
    """
    with canvas(6.4, 6.4) as figure:
        main, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        predicted, observed, low, high = _deciles(outcome, probability)
        main.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (4, 3)), label="perfectly calibrated")
        main.errorbar(
            predicted, observed, yerr=(observed - low, high - observed), fmt="o-", color=MODEL, ms=6, lw=1.5, capsize=3,
            label="tenths of the customers, 95% interval",
        )  # fmt: skip
        main.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel=_share(horizon_days))
        main.yaxis.set_major_formatter(percent())
        main.xaxis.set_major_formatter(percent())
        main.legend(loc="upper left")
        title(main, "When the model says 70%, do 70% leave?",
               f"{len(outcome):,} {_judged(horizon_days)}: "
               f"predicted {probability.mean():.1%}, came {outcome.mean():.1%}")  # fmt: skip
        below.hist(probability, bins=np.linspace(0, 1, 41), color=MODEL, alpha=0.85)
        below.set(xlabel="predicted churn probability", ylabel="customers")
        below.yaxis.set_major_formatter(thousands())
        return to_png(figure)


def decile_lift(
    outcome: Floats, probability: Floats, rule: Floats, rule_name: str, event: str = "did not buy"
) -> bytes:
    """Draw the share that left per tenth, riskiest first, for the model and for the simple rule's order."""
    with canvas(7.2, 4.6) as figure:
        axes = figure.subplots()
        tenth = np.arange(1, 11)
        model, simple = _rate_by_tenth(outcome, probability), _rate_by_tenth(outcome, rule)
        bars = axes.bar(tenth - 0.2, model, width=0.38, color=MODEL, label="this model")
        axes.bar(tenth + 0.2, simple, width=0.38, color=RULE, label=rule_name)
        axes.axhline(outcome.mean(), color=MUTED, lw=1, ls=(0, (4, 3)), label=f"all customers {outcome.mean():.0%}")
        axes.bar_label(bars, [f"{rate:.0%}" for rate in model], padding=3, fontsize=9, color=MUTED)
        axes.set(xticks=tenth, ylim=(0, min(1.12, 1.25 * max(model.max(), simple.max()))),
                 xlabel="tenth of the customers, riskiest first", ylabel=f"share that {event}")  # fmt: skip
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_formatter(percent())
        axes.legend(loc="upper right")
        title(axes, f"Of the riskiest tenth {model[0]:.0%} left, of the safest {model[-1]:.0%}",
               "share that left per tenth, customers ordered by this model and by the simple rule")  # fmt: skip
        return to_png(figure)


def by_origin(ranking: Mapping[str, Interval], gap: Mapping[str, Interval]) -> bytes:
    """Draw AUC and mean predicted − observed churn at every origin (ISO days), with their intervals."""
    with canvas(9.6, 4.2) as figure:
        left, right = figure.subplots(1, 2)
        for axes, found in ((left, ranking), (right, gap)):
            middle = np.array([interval.value for interval in found.values()])
            low = np.array([interval.low for interval in found.values()])
            high = np.array([interval.high for interval in found.values()])
            axes.errorbar(
                list(found), middle, yerr=(middle - low, high - middle), fmt="o-", color=MODEL, ms=6, capsize=3
            )
            axes.tick_params(axis="x", rotation=30)
        right.axhline(0, color=MUTED, lw=1, ls=(0, (4, 3)))
        right.yaxis.set_major_formatter(percent())
        worst = max(abs(interval.value) for interval in gap.values())
        title(left, "Does it rank at every origin?", "AUC with 95% interval; 0.5 is guessing")
        title(right, "Does the level hold?", f"predicted − real share of leavers; at most {100 * worst:.1f} points off")
        return to_png(figure)


def tier_value(tiers: list[str], spend: Floats, customers: Floats, horizon_days: int, currency: str) -> bytes:
    """Draw what customers of each value tier spent after they were put into it."""
    with canvas(7.2, 4.6) as figure:
        axes = figure.subplots()
        place = np.arange(len(tiers))[::-1]
        bars = axes.barh(place, spend, height=0.66, color=MODEL)
        axes.bar_label(bars, [f"{count:,.0f} customers" for count in customers], padding=4, fontsize=9, color=MUTED)
        axes.set_yticks(place, [tier.replace("_", " ") for tier in tiers])
        axes.set(xlabel=f"mean spend in the following {horizon_days} days, {currency}")
        axes.set_xlim(min(0.0, spend.min()), 1.25 * max(spend.max(), 1e-9))
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(thousands())
        title(axes, "What the value tiers went on to spend", "tiers fitted and given before the spend was known")
        return to_png(figure)


def _share(horizon_days: int | None) -> str:
    return "share that left" if horizon_days is None else "share that did not buy"


def _judged(horizon_days: int | None) -> str:
    return "rows left out" if horizon_days is None else f"customers, no purchase within {horizon_days} days"


def _deciles(outcome: Floats, probability: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    groups = [part for part in np.array_split(np.argsort(probability, kind="stable"), 10) if len(part)]
    predicted = np.array([probability[part].mean() for part in groups])
    observed = np.array([outcome[part].mean() for part in groups])
    size = np.array([len(part) for part in groups])
    # Wilson (1927): the interval stays inside 0..1 and is honest at rates near them.
    centre = (observed + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
    half = _Z / (1 + _Z**2 / size) * np.sqrt(observed * (1 - observed) / size + _Z**2 / (4 * size**2))
    return predicted, observed, np.minimum(centre - half, observed), np.maximum(centre + half, observed)


def _rate_by_tenth(outcome: Floats, score: Floats) -> Floats:
    """Outcome rate per tenth of the rows, highest scores first; equal scores share their mean outcome."""
    _, tie = np.unique(score, return_inverse=True)
    shared = (np.bincount(tie, outcome) / np.bincount(tie))[tie]
    parts = np.array_split(shared[np.argsort(-score, kind="stable")], 10)
    return np.array([part.mean() if len(part) else np.nan for part in parts])
