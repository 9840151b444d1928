"""Rows of several tables beside each other: which rows of each make a row of the join."""

from collections import defaultdict
from typing import Any

import numpy as np

from features.fewrows.columns import Array, Column

Places = tuple[Array, ...]


def alone(rows: int) -> Places:
    """Return the rows of the first table."""
    return (np.arange(rows),)


def joined(places: Places, rows: int, *keys: Column, keeps_left: bool) -> Places:
    """Add a table of so many rows where its keys (the second half) equal the others' (the first); without any, all.

    A row without a match goes, or stays with -1 (``keeps_left``).
    """
    left_rows, half = len(places[0]), len(keys) // 2
    matches: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row, key in enumerate(_listed(rows, keys[half:])):
        if None not in key:
            matches[key].append(row)
    unmatched = [-1] if keeps_left else []
    found = [matches.get(key, unmatched) for key in _listed(left_rows, keys[:half])]
    left = np.repeat(np.arange(left_rows), [len(rows_found) for rows_found in found])
    right = np.array([row for rows_found in found for row in rows_found], np.intp)
    return (*(place[left] for place in places), right)


def _listed(rows: int, keys: tuple[Column, ...]) -> list[tuple[Any, ...]]:
    return list(zip(*(key.listed(rows) for key in keys), strict=True)) if keys else [()] * rows


def kept(places: Places, condition: Column) -> Places:
    """Return the joined rows for which a condition holds."""
    rows = np.flatnonzero(condition.full(len(places[0])).holds)
    return tuple(place[rows] for place in places)
