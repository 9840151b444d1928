"""How every picture of a run is drawn: style, headline, axes, PNG bytes.

Figures are made without pyplot, so no backend or style of the process is touched; the same numbers give the same bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
MODEL, ACTUAL, RULE = "#1d6fb8", "#e07a1f", "#9aa5b1"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """Give an empty figure, in inches, that is drawn and saved within this style."""
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def title(axes: Any, headline: str, note: str) -> None:
    """Write what the picture shows, and below it from what."""
    axes.set_title(headline, loc="left", fontsize=12.5, fontweight="bold", pad=24)
    axes.annotate(note, (0, 1), (0, 8), xycoords="axes fraction", textcoords="offset points", fontsize=9.5, color=MUTED)


def thousands() -> Any:
    """Return the format of counts and money on an axis."""
    return FuncFormatter(lambda value, _: f"{value:,.0f}")


def percent() -> Any:
    """Return the format of shares on an axis."""
    return PercentFormatter(1.0, decimals=0)


def to_png(figure: Figure) -> bytes:
    """Return the picture's bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    return buffer.getvalue()
