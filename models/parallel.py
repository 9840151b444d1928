"""Long arrays worked on a cache-sized piece at a time, on every core: NumPy computes outside the interpreter's lock."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_PIECE = 16_384  # rows whose dozen columns of intermediate results stay in a core's cache
_ALONE = 8 * _PIECE  # shorter arrays are done before threads have started
_MOST_THREADS = 8


def in_pieces(work: Callable[[slice], Result], n: int, piece: int = _PIECE) -> list[Result]:
    """Return ``work`` of every piece of n rows, in order; the pieces do not depend on the number of cores."""
    pieces = [slice(start, min(start + piece, n)) for start in range(0, n, piece)]
    if n <= _ALONE or len(pieces) == 1:
        return [work(rows) for rows in pieces]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        return list(pool.map(work, pieces))
