"""A labelled table without time: which rows are learned from, and in which folds they are judged.

Every row is judged by fits that did not see it: stratified folds, drawn ``REPEATS`` times in small tables. Rows that
tell each other's label share a fold: those of one id, and those that are equal but for the id. Rows are put into an
order of their own, so that the order in the file changes nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from features.table_file import read_table, require_column
from models.table_churn import Groups, Labels, require_both, stratified_folds
from models.table_columns import numbers, texts
from perennial.errors import InsufficientData, SourceError
from training.dataset import LabelUse, Used
from training.metrics import Floats

FOLDS = 5
REPEATS, REPEATED_ROWS = 2, 20_000  # with more rows, another draw of folds changes nothing that matters
COARSE = 0.5  # where so few rows are distinct, equal rows are no copies: the columns say little
YES = (
    "1",
    "true",
    "yes",
    "y",
    "churned",
    "churn",
    "left",
    "lost",
    "cancelled",
    "canceled",
    "closed",
    "是",
    "流失",
    "已流失",
)


@dataclass(frozen=True)
class Question:
    """What is to be learned from a table's file, in its own column names."""

    path: Path
    label: str
    positive: str | None = None
    id: str | None = None
    exclude: Sequence[str] = ()
    clv: str | None = None


@dataclass(frozen=True)
class LabelledTable:
    """Rows to learn from (n,) and the folds they are judged in (repeats, n); `training.recipes.Material`.

    ``key`` (n,) finds a row again in another table by all it holds, ``identity`` (n,) by its id where there is one.
    """

    question: Question
    positive: str
    latest: pd.DataFrame
    labels: Labels
    clv: Floats | None
    key: npt.NDArray[np.uint64]
    identity: npt.NDArray[np.uint64]
    group: Groups
    folds: npt.NDArray[np.intp]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """File and label."""
        return f"{self.source} {self.question.label}"

    @property
    def source(self) -> str:
        """Name of the file."""
        return self.question.path.name

    @property
    def tags(self) -> dict[str, str]:
        """What runs and versions are found by."""
        return {"table": self.source, "label": f"{self.question.label} = {self.positive}"}

    @property
    def customers(self) -> int:
        """Rows, each judged by fits that did not see it."""
        return len(self.labels)

    @property
    def judged_on(self) -> str:
        """Say how the recipe is judged."""
        times = f", drawn {len(self.folds)} times" if len(self.folds) > 1 else ""
        return f"{self.customers:,} rows, {self.labels.mean():.1%} churned, left out in {FOLDS} folds{times}"

    @property
    def heldout(self) -> pd.DataFrame:
        """Every row: each is left out once in each draw of the folds."""
        return self.latest

    def used(self, labels: LabelUse) -> dict[str, Used]:
        """Return the rows' fingerprint."""
        digest = hashlib.sha256(repr((self.question.label, self.positive, list(self.latest.columns))).encode())
        digest.update(self.key.tobytes() + self.labels.tobytes())
        profile = f'{{"num_rows": {self.customers}, "churned": {self.labels.mean():.6f}}}'
        return {"training": Used(digest.hexdigest(), profile)}

    def described(self) -> dict[str, str]:
        """Say for people which table it is."""
        return {
            "table": self.source,
            "rows": f"{self.customers:,}, {self.labels.mean():.1%} of them with the label",
            "columns": f"{len(self.latest.columns):,}",
        }

    def about(self) -> dict[str, Any]:
        """Return facts for the artefact, in plain JSON."""
        return {
            "table": self.source,
            "label": self.question.label,
            "positive": self.positive,
            "id": self.question.id,
            "clv_column": self.question.clv,
            "excluded": list(self.question.exclude),
            "rows": self.customers,
            "churned": round(float(self.labels.mean()), 6),
            "folds": FOLDS,
            "repeats": len(self.folds),
        }

    def closed(self, *, final: bool) -> dict[str, str]:
        """Return nothing: the table has no time."""
        return {}


def read_labelled(question: Question, seed: int) -> LabelledTable:
    """Read and check a labelled table.

    Raises
    ------
    SourceError
        When a named column is missing, or the label has one value only, or several and none is said to be positive.
    InsufficientData
        When too few rows carry either label.
    """
    path = question.path
    table = read_table(path)
    question = replace(question, exclude=_listed(question.exclude, table))
    named = ((question.label, "the label"), (question.id, "--id"), (question.clv, "--clv-column"))
    for name, what in (*named, *((name, "--exclude") for name in question.exclude)):
        if name is not None:
            require_column(table, name, what, path)
    if question.label in (question.id, question.clv, *question.exclude):
        raise SourceError(f"{path}: {question.label!r} is the label, it cannot be --id, --clv-column or --exclude too")
    table, unlabelled = _labelled_rows(table, question)
    labels, positive = _labels(table[question.label], question)
    require_both(labels)
    apart = {question.label, question.id, question.clv, *question.exclude}
    features = table[[name for name in table.columns if name not in apart]]
    if features.columns.empty:
        raise InsufficientData(f"{path}: no column is left to learn from")
    key = _digests(table)
    order = np.argsort(key, kind="stable")
    table, features, labels, key = table.iloc[order], features.iloc[order], labels[order], key[order]
    ids = texts(table[question.id]) if question.id else None
    group, notes = _groups(_digests(features), ids)
    repeats = REPEATS if len(labels) < REPEATED_ROWS else 1
    return LabelledTable(
        question=question,
        positive=positive,
        latest=features.reset_index(drop=True),
        labels=labels,
        clv=_clv(table, question),
        key=key,
        identity=key if ids is None else _digests(ids.to_frame()),
        group=group,
        folds=np.stack([stratified_folds(labels, group, FOLDS, seed + draw) for draw in range(repeats)]),
        notes=(*unlabelled, *notes),
    )


def _listed(exclude: Sequence[str], table: pd.DataFrame) -> tuple[str, ...]:
    """Return excluded columns one by one; commas separate them where no column is named so."""
    parts = (([name] if name in table.columns else name.split(",")) for name in exclude)
    return tuple(part.strip() for names in parts for part in names if part.strip())


def _labelled_rows(table: pd.DataFrame, question: Question) -> tuple[pd.DataFrame, tuple[str, ...]]:
    known = texts(table[question.label]).notna()
    if not known.any():
        raise SourceError(f"{question.path}: the label {question.label!r} is empty in every row")
    without = int((~known).sum())
    note = (f"{without:,} rows without a label were left out",) if without else ()
    return table[known.to_numpy(dtype=bool)], note


def _labels(column: pd.Series, question: Question) -> tuple[Labels, str]:
    text = texts(column)
    counts = text.value_counts()
    where = f"{question.path}: the label {question.label!r}"
    if len(counts) == 1:
        raise SourceError(f"{where} is {counts.index[0]!r} in every row; nothing can be told apart")
    found = ", ".join(f"{value} ({count:,})" for value, count in counts[:8].items())
    if question.positive is None:
        yes = [value for value in counts.index if _as_number(value) in YES]
        if len(counts) > 2 or len(yes) != 1:
            raise SourceError(f"{where} holds {found}; say which means churned: --positive VALUE")
        return (text == yes[0]).to_numpy(dtype=bool), str(yes[0])
    positive = _matching(question.positive.strip(), list(counts.index))
    if positive is None:
        raise SourceError(f"{where} never is {question.positive!r} (--positive); it holds {found}")
    return (text == positive).to_numpy(dtype=bool), positive


def _matching(wanted: str, values: list[str]) -> str | None:
    """Return the value that is meant: as written, else without regard to case, as a number, or as yes or no."""
    said = {"1": "true", "0": "false"}
    for same in (str, str.casefold, _as_number, lambda value: said.get(_as_number(value), value.casefold())):
        found = [value for value in values if same(value) == same(wanted)]
        if len(found) == 1:
            return found[0]
    return None


def _as_number(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.casefold()


def _clv(table: pd.DataFrame, question: Question) -> Floats | None:
    if question.clv is None:
        return None
    clv = numbers(table[question.clv])
    if np.isnan(clv).any():
        raise SourceError(
            f"{question.path}: {question.clv!r} (--clv-column) is no number in {int(np.isnan(clv).sum()):,} rows"
        )
    return clv


def _digests(table: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """One number a row for what it holds, the same on every machine."""
    written = pd.DataFrame({name: texts(table[name]).fillna("\x1f").astype(object) for name in table.columns})
    return np.asarray(pd.util.hash_pandas_object(written, index=False), dtype=np.uint64)


def _groups(content: npt.NDArray[np.uint64], ids: pd.Series | None) -> tuple[Groups, tuple[str, ...]]:
    """Return which rows belong together (n,), and notes on why."""
    rows, notes = len(content), []
    kinds: list[npt.NDArray[np.intp]] = []
    copies = rows - len(np.unique(content))
    if copies and rows - copies < COARSE * rows:
        notes.append(f"only {rows - copies:,} of {rows:,} rows are distinct: equal rows are not taken for copies")
    elif copies:
        notes.append(f"{copies:,} rows are equal to another but for id and label; equal rows share a fold")
        kinds.append(np.unique(content, return_inverse=True)[1])
    if ids is not None:
        known = ids.fillna("").to_numpy(dtype=object)
        again = rows - len(set(known))
        if again:
            notes.append(f"{again:,} rows repeat an id; rows of one id share a fold")
            kinds.append(pd.factorize(known)[0])
    return _united(rows, kinds), tuple(notes)


def _united(rows: int, kinds: Sequence[npt.NDArray[np.intp]]) -> Groups:
    """Join rows that share a code of any kind, however many steps apart."""
    at, offset = np.arange(rows), rows
    links: list[npt.NDArray[np.intp]] = []
    for code in kinds:
        links.append(code + offset)
        offset += int(code.max()) + 1
    if not links:
        return at
    ends = np.concatenate(links)
    graph = coo_array((np.ones(len(ends)), (np.tile(at, len(links)), ends)), shape=(offset, offset))
    return np.asarray(connected_components(graph, directed=False)[1][:rows], dtype=np.intp)
