"""Pictures of customer value: purchases that were expected and came, who is still there, what they are worth.

Those the field knows from BTYDplus, CLVTools and lifetimes. Every function returns PNG bytes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap

from training.drawing import ACTUAL, GRID, INK, MODEL, MUTED, RULE, canvas, percent, thousands, title, to_png

Floats = npt.NDArray[np.float64]


def cumulative_tracking(day: Floats, actual: Floats, expected: Floats, cutoff_day: float) -> bytes:
    """Draw cumulative repeat purchase occasions, came and expected, by days since the log's first purchase."""
    with canvas(7.2, 4.6) as figure:
        axes = figure.subplots()
        axes.axvspan(cutoff_day, day[-1], color=GRID, alpha=0.6, lw=0)
        axes.plot(day, actual, color=ACTUAL, lw=2.2, label="came")
        axes.plot(day, expected, color=MODEL, lw=2.2, ls=(0, (5, 2)), label="expected by the purchase model")
        axes.set(xlim=(day[0], day[-1]), ylim=(0, None), xlabel="days since the first purchase in the log",
                 ylabel="repeat purchase occasions, cumulative")  # fmt: skip
        axes.yaxis.set_major_formatter(thousands())
        axes.annotate(
            "held out from here", (cutoff_day, 0), (-6, 8), textcoords="offset points", color=MUTED, ha="right"
        )
        axes.legend(loc="upper left")
        last = int(np.searchsorted(day, cutoff_day))
        ahead, came = expected[-1] - expected[last], actual[-1] - actual[last]
        note = f"after the cutoff {came:,.0f} came, {ahead:,.0f} were expected"
        title(axes, "Does the purchase model keep track?", f"{note} ({ahead / came - 1:+.1%})" if came > 0 else note)
        return to_png(figure)


def incremental_tracking(came: Floats, expected: Floats, cutoff_day: float) -> bytes:
    """Draw repeat purchase occasions week by week; ``came`` and ``expected`` are by day of the log, (n_days,)."""
    weeks = len(came) // 7
    weekly = [values[: weeks * 7].reshape(weeks, 7).sum(axis=1) for values in (came, expected)]
    week = 1 + np.arange(weeks)
    with canvas(7.2, 4.6) as figure:
        axes = figure.subplots()
        axes.axvspan(cutoff_day / 7, weeks, color=GRID, alpha=0.6, lw=0)
        axes.plot(week, weekly[0], color=ACTUAL, lw=1.8, label="came")
        axes.plot(week, weekly[1], color=MODEL, lw=1.8, ls=(0, (5, 2)), label="expected by the purchase model")
        axes.set(xlim=(1, weeks), ylim=(0, None), xlabel="week of the log (grey: held out)",
                 ylabel="repeat purchase occasions a week")  # fmt: skip
        axes.yaxis.set_major_formatter(thousands())
        axes.legend(loc="lower right")
        missed = np.abs(weekly[0] - weekly[1]).sum() / max(weekly[0].sum(), 1)
        title(axes, "Which weeks does the purchase model miss?",
              f"mean distance {missed:.1%} of what came; a season shows as a wave around the expectation")  # fmt: skip
        return to_png(figure)


def frequency_bins(actual: Floats, expected: Floats, horizon_days: int) -> bytes:
    """Draw how many customers bought 0, 1, 2 … times in the hold-out; the last bin is "or more"."""
    with canvas(7.2, 4.6) as figure:
        axes = figure.subplots()
        times = np.arange(len(actual))
        axes.bar(times - 0.2, actual, width=0.38, color=ACTUAL, label="came")
        axes.bar(times + 0.2, expected, width=0.38, color=MODEL, label="expected by the purchase model")
        axes.set_xticks(times, [*map(str, times[:-1]), f"{times[-1]}+"])
        axes.set(xlabel=f"purchase occasions in the {horizon_days} days held out", ylabel="customers")
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_formatter(thousands())
        axes.legend(loc="upper right")
        missed = np.abs(actual - expected).sum() / 2 / actual.sum()
        title(
            axes, "How often did customers come back?", f"{missed:.1%} of {actual.sum():,.0f} customers in another bin"
        )
        return to_png(figure)


def past_purchases(label: Sequence[str], came: Floats, expected: Floats, served: Floats, horizon_days: int) -> bytes:
    """Draw mean purchase occasions in the hold-out by how often customers had bought again before."""
    with canvas(7.2, 4.6) as figure:
        axes = figure.subplots()
        axes.plot(label, came, color=ACTUAL, lw=2.2, marker="o", label="came")
        axes.plot(
            label, expected, color=MODEL, lw=1.8, ls=(0, (5, 2)), marker="o", label="expected by the purchase model"
        )
        axes.plot(label, served, color=INK, lw=1.2, marker=".", label="expected in scores")
        axes.set(ylim=(0, None), xlabel="repeat purchase occasions before",
                 ylabel=f"mean purchase occasions in {horizon_days} days")  # fmt: skip
        axes.legend(loc="upper left")
        title(axes, "Do those who came often come on?", "customers of the hold-out by their purchases before it")
        return to_png(figure)


def interval_calibration(ranks: Mapping[str, Floats], horizon_days: int) -> bytes:
    """Draw at which ranks of their own distributions outcomes came; ``ranks`` are shares by twentieth, (20,) each."""
    with canvas(9.6, 4.0) as figure:
        for axes, (name, share) in zip(figure.subplots(1, len(ranks), sharey=True), ranks.items(), strict=True):
            edges = np.arange(len(share)) / len(share)
            inside = np.ones(len(share), dtype=bool)
            inside[[0, -1]] = False
            axes.bar(edges, share, width=1 / len(share), align="edge", color=np.where(inside, MODEL, ACTUAL),
                     edgecolor="white", lw=0.6)  # fmt: skip
            axes.axhline(1 / len(share), color=INK, lw=1, ls=(0, (4, 3)))
            axes.set(xlim=(0, 1), xlabel=f"rank of the {name} that came among those foretold")
            axes.xaxis.set_major_formatter(percent())
            axes.yaxis.set_major_formatter(percent())
            axes.grid(visible=False, axis="x")
            low, high = share[0], share[-1]
            title(axes, f"90 % intervals hold {share[1:-1].sum():.1%} of {name}",
                  f"{low:.1%} came below and {high:.1%} above, in {horizon_days} days; 5 % each is right")  # fmt: skip
        figure.axes[0].set_ylabel("share of customers")
        return to_png(figure)


def alive_matrix(recency_days: Floats, frequency: Floats, alive: Floats, age_days: float) -> bytes:
    """Draw P(alive) of customers of one age by frequency and recency; ``alive`` is (n_frequency, n_recency)."""
    shades = LinearSegmentedColormap.from_list("alive", ["#fdf3e7", ACTUAL, MODEL])
    with canvas(7.2, 5.2) as figure:
        axes = figure.subplots()
        shown = axes.pcolormesh(recency_days, frequency, alive, cmap=shades, vmin=0, vmax=1, shading="nearest")
        axes.set(xlabel="recency: age at the last purchase, days", ylabel="frequency: repeat purchase occasions")
        axes.grid(visible=False)
        bar = figure.colorbar(shown, ax=axes, label="P(alive)")
        bar.ax.yaxis.set_major_formatter(percent())
        title(axes, "Silence says more about those who bought often",
              f"probability that a customer first seen {age_days:,.0f} days ago has not left for good")  # fmt: skip
        return to_png(figure)


def customer_history(purchase_days: Sequence[float], day: Floats, alive: Floats, name: str) -> bytes:
    """Draw one customer's purchases and P(alive) from day to day; days count from the first purchase."""
    with canvas(8.4, 3.0) as figure:
        axes = figure.subplots()
        axes.plot(day, alive, color=MODEL, lw=1.8, label="P(alive)")
        axes.vlines(purchase_days, 0, 1, color=ACTUAL, lw=1.2, ls=(0, (2, 2)), label="purchases")
        axes.set(xlim=(0, day[-1]), ylim=(0, 1.03), xlabel="days since the first purchase", ylabel="P(alive)")
        axes.yaxis.set_major_formatter(percent())
        axes.legend(loc="lower left", frameon=True, facecolor="white", framealpha=0.9, edgecolor="none")
        silent = day[-1] - max(purchase_days)
        title(axes, name, f"{len(purchase_days)} purchases, then {silent:,.0f} days of silence: {alive[-1]:.0%} alive")
        return to_png(figure)


def value_distribution(clv: Floats, horizon_days: float, currency: str) -> bytes:
    """Draw how value is spread over customers, and which share of it the most valuable ones hold."""
    value = np.sort(clv)[::-1]
    share = np.cumsum(value) / value.sum() if value.sum() > 0 else np.zeros(len(value))
    top = np.arange(1, len(value) + 1) / len(value)
    with canvas(9.6, 4.2) as figure:
        left, right = figure.subplots(1, 2)
        left.hist(value, bins=np.linspace(0, max(float(np.quantile(value, 0.99)), 1e-9), 50), color=MODEL, alpha=0.85)
        left.set(xlabel=f"value of the coming {horizon_days:,.0f} days, {currency} (to the 99th percentile)",
                 ylabel="customers")  # fmt: skip
        left.xaxis.set_major_formatter(thousands())
        left.yaxis.set_major_formatter(thousands())
        title(left, "What customers are worth", f"mean {value.mean():,.0f}, median {np.median(value):,.0f} {currency}")
        right.plot(top, share, color=MODEL, lw=2.2)
        right.plot([0, 1], [0, 1], color=RULE, lw=1, ls=(0, (4, 3)))
        right.set(
            xlim=(0, 1), ylim=(0, 1.02), xlabel="share of the customers, most valuable first", ylabel="of the value"
        )
        right.xaxis.set_major_formatter(percent())
        right.yaxis.set_major_formatter(percent())
        fifth = float(np.interp(0.2, top, share))
        right.plot([0.2, 0.2, 0], [0, fifth, fifth], color=INK, lw=0.8)
        title(right, f"A fifth of them hold {fifth:.0%}", f"of {value.sum():,.0f} {currency} in all")
        return to_png(figure)
