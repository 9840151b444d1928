"""Inductive Venn-Abers prediction: two isotonic fits a score, one as if it left and one as if it stayed.

For a new score ``s`` isotonic regression is fitted to the calibration rows and one more row at ``s``, labelled 0 and
then 1; its values at ``s`` are ``p0 ≤ p1`` (Vovk & Petej 2014). All of them come from two passes over the rows (Vovk,
Petej & Fedorova 2015, algorithms 1 to 4: the corners of the greatest convex minorant, updated as the new row moves up).
"""

import numpy as np

from models.matrix import Floats

Point = tuple[float, float]


def venn_abers(score: Floats, labels: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the distinct scores, rising, and ``p0`` and ``p1`` at each of them, (n_distinct,) each."""
    distinct, place = np.unique(score, return_inverse=True)
    rows = np.bincount(place).astype(np.float64)
    left: Floats = np.bincount(place, weights=labels).astype(np.float64)
    upper = _as_if_left(rows, left)
    lower = 1.0 - _as_if_left(rows[::-1], (rows - left)[::-1])[::-1]
    return distinct, lower, upper


def merged(lower: Floats, upper: Floats) -> Floats:
    """Return the one probability with the least worst-case log loss (Vovk & Petej 2014, eq. 8)."""
    return upper / (1.0 - lower + upper)


def _as_if_left(rows: Floats, left: Floats) -> Floats:
    """Value at each group of tied scores, rising, after one row that left joins it."""
    points: list[Point] = [(-1.0, -1.0), (0.0, 0.0)]
    points += zip(np.cumsum(rows).tolist(), np.cumsum(left).tolist(), strict=True)
    corners: list[Point] = []
    for point in reversed(points):  # the minorant's corners, the leftmost on top
        _push(corners, point)
    values = np.empty(len(rows))
    for number in range(len(rows)):
        here, there = corners[-1], corners[-2]
        values[number] = (there[1] - here[1]) / (there[0] - here[0])
        # the row that joined moves past this group: the group now comes first
        before, after = points[number], points[number + 2]
        joined = points[number + 1]
        points[number + 1] = (before[0] + after[0] - joined[0], before[1] + after[1] - joined[1])
        if _turn(here, there, points[number + 1]) >= 0:
            continue
        corners.pop()
        _push(corners, points[number + 1])
    return values


def _push(corners: list[Point], point: Point) -> None:
    while len(corners) > 1 and _turn(point, corners[-1], corners[-2]) <= 0:
        corners.pop()
    corners.append(point)


def _turn(a: Point, b: Point, c: Point) -> float:
    """Positive where the way from a over b to c turns left."""
    return (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
