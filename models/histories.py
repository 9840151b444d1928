"""Purchase histories of many customers as counts of distinct ones: what likelihoods need, however large the base.

Whole days repeat: a base of millions holds some hundred thousand distinct (frequency, recency, T), a cohort some ten
thousand. They are counted in a table with a cell for every combination when that is not much larger than the base,
else by sorting; a formula is evaluated once for every distinct history and handed out, or for every customer where
finding the distinct ones would take longer than the formula.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.matrix import Floats
from models.parallel import in_pieces
from models.summary import Numbers, read_stored_history
from perennial.errors import SourceError

Places = npt.NDArray[np.intp]
Formula = Callable[..., Floats]

_MAX_KEY = 2**62
_DENSE_CELLS = 4_000_000  # a table this large is still counted faster than keys are sorted
_ROWS = 262_144  # keys made at once: the table's cells are touched at random, so short pieces gain nothing


@dataclass(frozen=True)
class Collapsed:
    """Distinct rows of some columns: ``columns[i][inverse]`` is the column itself, ``counts`` how often each occurs."""

    columns: tuple[Floats, ...]
    counts: Floats
    inverse: Places


def collapse(columns: Sequence[Numbers]) -> Collapsed:
    """Find the distinct rows of equally long columns, sorted by the columns in turn whatever the rows' order."""
    key = _Key.of(columns)
    if key.cells > _MAX_KEY:
        return _collapse_in_turn(columns)
    if key.cells <= _DENSE_CELLS:
        codes = key.codes()
        table = np.bincount(codes, minlength=key.cells)
        present = np.flatnonzero(table)
        table_counts = table[present].astype(np.float64)
        table[present] = np.arange(len(present))
        spread(table, codes, out=codes)
        return Collapsed(key.values(present), table_counts, codes)
    inverse, present = pd.factorize(key.codes(), sort=True)
    return Collapsed(key.values(present), np.bincount(inverse).astype(np.float64), inverse)


def _collapse_in_turn(columns: Sequence[Numbers]) -> Collapsed:
    """Find the distinct rows of all columns but the last, then those of their places with the last."""
    first = collapse(columns[:-1])
    both = collapse((first.inverse, columns[-1]))
    places = both.columns[0].astype(np.intp)
    return Collapsed((*(column[places] for column in first.columns), both.columns[1]), both.counts, both.inverse)


@dataclass(frozen=True)
class _Key:
    """Rows of several columns numbered so that equal rows have equal numbers, in the rows' order."""

    columns: tuple[Numbers, ...]  # whole numbers, or codes of other values
    lowest: tuple[int, ...]
    sizes: tuple[int, ...]
    levels: tuple[Floats | None, ...]  # what codes stand for

    @classmethod
    def of(cls, columns: Sequence[Numbers]) -> Self:
        coded = [_whole(column) for column in columns]
        lowest, sizes = zip(*(_range(codes) for codes, _ in coded), strict=True)
        if prod(sizes) > _MAX_KEY:
            coded = [_coded(column) for column in columns]
            lowest, sizes = zip(*(_range(codes) for codes, _ in coded), strict=True)
        return cls(tuple(codes for codes, _ in coded), lowest, sizes, tuple(levels for _, levels in coded))

    @property
    def cells(self) -> int:
        """Numbers there are, with or without a row."""
        return prod(self.sizes)

    def codes(self) -> npt.NDArray[np.int64]:
        """Return the number of every row (n,)."""
        n = len(self.columns[0])
        key = np.empty(n, dtype=np.int64)

        def fill(rows: slice) -> None:
            part = key[rows]
            part[:] = self.columns[0][rows]
            part -= self.lowest[0]
            for column, low, size in zip(self.columns[1:], self.lowest[1:], self.sizes[1:], strict=True):
                part *= size
                part += column[rows]
                part -= low

        in_pieces(fill, n)
        return key

    def values(self, codes: npt.NDArray[np.int64]) -> tuple[Floats, ...]:
        """Return the columns' values in rows of those numbers."""
        columns = []
        for low, size, levels in zip(self.lowest[::-1], self.sizes[::-1], self.levels[::-1], strict=True):
            codes, own = np.divmod(codes, size)
            columns.append(own.astype(np.float64) + low if levels is None else levels[own + low])
        return tuple(columns[::-1])


def _whole(column: Numbers) -> tuple[Numbers, Floats | None]:
    """Return whole numbers as they are, other values coded with the values the codes stand for."""
    if column.dtype.kind in "iu":
        return column, None
    if len(column) and np.abs(column).max() < 2**31:
        whole = column.astype(np.int32)
        if (whole == column).all():
            return whole, None
    return _coded(column)


def _range(codes: Numbers) -> tuple[int, int]:
    """Return the lowest code and how many there are up to the highest."""
    lowest = int(codes.min()) if len(codes) else 0
    return lowest, int(codes.max()) - lowest + 1 if len(codes) else 1


def _coded(column: Numbers) -> tuple[Numbers, Floats]:
    codes, levels = pd.factorize(column, sort=True)
    return codes, np.asarray(levels, dtype=np.float64)


@dataclass(frozen=True)
class HistoryCounts:
    """How many customers have each distinct history: all that a fit needs, kept up to date without reading the log.

    Attributes
    ----------
    x, t_x, age : ndarray of shape (n_distinct,)
        Frequency, recency and T, sorted.
    n : ndarray of shape (n_distinct,)
        Customers with that history.
    log_gaps : float
        Sum over all customers of the logarithms of the times between their purchases, NaN when unknown: what the
        choice of regularity needs.
    """

    x: Floats
    t_x: Floats
    age: Floats
    n: Floats
    log_gaps: float = np.nan

    @classmethod
    def of(cls, summary: pd.DataFrame) -> Self:
        """Count a summary's histories; a column ``log_gaps`` is summed when there is one."""
        return cls.counted(read_stored_history(summary), _log_gaps(summary))

    @classmethod
    def counted(cls, history: Sequence[Numbers], log_gaps: float = np.nan) -> Self:
        """Count the distinct rows of frequency, recency and T."""
        key = _Key.of(history)
        if key.cells > _MAX_KEY:
            rows = collapse(history)
            return cls._from(rows.columns, rows.counts, log_gaps)
        codes = key.codes()
        if key.cells <= max(_DENSE_CELLS, len(codes) // 2):
            table = np.bincount(codes, minlength=key.cells)
            present = np.flatnonzero(table)
            counts = table[present]
        else:
            codes.sort()
            first = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
            present, counts = codes[first], np.diff(np.r_[first, len(codes)])
        x, t_x, age = key.values(present)
        return cls(x, t_x, age, counts.astype(np.float64), log_gaps)

    @classmethod
    def _from(cls, history: tuple[Floats, ...], n: Floats, log_gaps: float) -> Self:
        x, t_x, age = history
        return cls(x, t_x, age, n, log_gaps)

    @property
    def n_customers(self) -> int:
        """Customers counted."""
        return int(self.n.sum())

    def aged(self, time: float) -> Self:
        """Return the counts so much later, when nobody has bought in between."""
        return type(self)(self.x, self.t_x, self.age + time, self.n, self.log_gaps)

    def updated(self, before: pd.DataFrame | None, after: pd.DataFrame) -> Self:
        """Return the counts after some customers' histories changed from ``before`` (None: new ones) to ``after``.

        ``before`` must speak of the same instant as the counts: age them first. SourceError when it names histories
        that nobody has.
        """
        parts = [self, type(self).of(after)]
        signs = [1.0, 1.0]
        if before is not None and len(before):
            parts.append(type(self).of(before))
            signs.append(-1.0)
        rows = collapse([np.concatenate(column) for column in zip(*((p.x, p.t_x, p.age) for p in parts), strict=True)])
        signed = np.concatenate([sign * part.n for sign, part in zip(signs, parts, strict=True)])
        n = np.bincount(rows.inverse, weights=signed).astype(np.float64)
        if (n < 0).any():
            at = int(np.argmin(n))
            x, t_x, age = (column[at] for column in rows.columns)
            raise SourceError(
                f"no customer is counted with frequency {x:g}, recency {t_x:g} and T {age:g}, so none can have changed;"
                " age the counts to the instant of the histories before"
            )
        kept = n > 0
        log_gaps = sum(sign * part.log_gaps for sign, part in zip(signs, parts, strict=True))
        return type(self)._from(tuple(column[kept] for column in rows.columns), n[kept], log_gaps)

    def thinned(self, customers: int) -> Self:
        """Return an evenly spaced sample of so many customers, the same whatever their order."""
        ends = np.cumsum(self.n)
        places = np.searchsorted(ends, (np.arange(customers) + 0.5) * ends[-1] / customers, side="right")
        n = np.bincount(places, minlength=len(self.n)).astype(np.float64)
        kept = n > 0
        return type(self)(self.x[kept], self.t_x[kept], self.age[kept], n[kept], self.log_gaps)


class PurchaseHistories:
    """A summary read once and used many times: fits count it, predictions are worked out once per distinct history.

    Wherever a purchases model takes a summary it takes this instead; ``PurchaseHistories(summary)`` holds on to the
    summary's columns, which must not change while it is used.
    """

    def __init__(self, summary: pd.DataFrame) -> None:
        self.x, self.t_x, self.age = read_stored_history(summary)
        self._log_gaps = _log_gaps(summary)

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def counts(self) -> HistoryCounts:
        """The distinct histories and how many customers have each."""
        distinct = self._quickly_distinct
        if distinct is None:
            return HistoryCounts.counted((self.x, self.t_x, self.age), self._log_gaps)
        return HistoryCounts._from(distinct.columns, distinct.counts, self._log_gaps)

    def each(self, formula: Formula, living: Callable[[Floats, Floats], Floats] | None = None) -> Floats:
        """Return ``formula(x, t_x, age)`` for every customer (n,).

        With ``living``, a function of ``x`` and ``age`` alone that takes long to work out, its values are the formula's
        fourth argument. Without, the formula itself takes long.
        """
        distinct = self.distinct if living is None else self._quickly_distinct
        if distinct is not None:
            return spread(_with_living(formula, distinct.columns, living), distinct.inverse)
        assert living is not None
        by_age = self._by_age
        values, result = living(*by_age.columns), np.empty(len(self))

        def fill(rows: slice) -> None:
            history = (column[rows].astype(np.float64) for column in (self.x, self.t_x, self.age))
            result[rows] = formula(*history, values[by_age.inverse[rows]])

        in_pieces(fill, len(self))
        return result

    def each_quickly(self, formula: Formula) -> Floats:
        """Return a formula that takes no longer than finding the distinct histories would."""
        return self.each(lambda x, t_x, age, _: formula(x, t_x, age), lambda x, _: x)

    @cached_property
    def _by_age(self) -> Collapsed:
        return collapse((self.x, self.age))

    @cached_property
    def distinct(self) -> Collapsed:
        """The distinct rows of frequency, recency and T."""
        return self._quickly_distinct or collapse((self.x, self.t_x, self.age))

    @cached_property
    def _quickly_distinct(self) -> Collapsed | None:
        """The distinct rows, None where a table cannot hold them and sorting would take longer than most formulas."""
        history = (self.x, self.t_x, self.age)
        dense = _Key.of(history).cells <= max(_DENSE_CELLS, len(self) // 2)
        return collapse(history) if dense or len(self) < _DENSE_CELLS // 8 else None


class IndividualHistories(PurchaseHistories):
    """Histories of customers who differ in more than their histories: every row is worked out by itself."""

    @cached_property
    def distinct(self) -> Collapsed:
        """Every row."""
        columns = tuple(column.astype(np.float64) for column in (self.x, self.t_x, self.age))
        return Collapsed(columns, np.ones(len(self)), np.arange(len(self)))

    def each(self, formula: Formula, living: Callable[[Floats, Floats], Floats] | None = None) -> Floats:
        """Return ``formula(x, t_x, age)`` of all rows at once; see `PurchaseHistories.each`."""
        x, t_x, age = self.distinct.columns
        return formula(x, t_x, age) if living is None else formula(x, t_x, age, living(x, age))


def _with_living(
    formula: Formula, history: tuple[Floats, ...], living: Callable[[Floats, Floats], Floats] | None
) -> Floats:
    if living is None:
        return formula(*history)
    x, _, age = history
    by_age = collapse((x, age))
    return formula(*history, living(*by_age.columns)[by_age.inverse])


def spread(values: Numbers, places: Places, out: Numbers | None = None) -> Numbers:
    """Return ``values[places]`` (n,) for long ``places``."""
    result = np.empty(len(places), dtype=values.dtype) if out is None else out

    def fill(rows: slice) -> None:
        np.take(values, places[rows], out=result[rows], mode="clip")

    in_pieces(fill, len(places), _ROWS)
    return result


def _log_gaps(summary: pd.DataFrame) -> float:
    return float(summary["log_gaps"].sum(skipna=True)) if "log_gaps" in summary.columns else np.nan
