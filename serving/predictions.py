"""Scores of a table by a model that was trained on such a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.table_file import read_table, require_column
from models.artefact import champions, load_champion
from models.retention_offer import RetentionOffer
from models.table_churn import KIND, TableChurnModel
from models.table_columns import numbers, texts
from models.table_reasons import Language, table_reasons
from perennial.errors import ArtefactError, OutputError, SourceError
from perennial.files import replacing
from serving.codes import churn_band

ROW_NUMBER = "row"


def predict(
    shelf: Path,
    name: str,
    table: Path,
    output: Path,
    language: Language,
    *,
    value: float | None = None,
    cost: float | None = None,
) -> tuple[int, tuple[str, ...]]:
    """Score every row of a table, write one Parquet row for each, and return how many and what is to be said of them.

    Parameters
    ----------
    value, cost
        What keeping a customer is worth and what the incentive costs, instead of what the model was trained with.
        With either, or a model trained with a CLV column, ``contact`` says where contacting pays.

    Raises
    ------
    SourceError
        When the table lacks a column of the model, or a column holds something else than in training.
    """
    if output.is_dir() or not output.name:
        raise OutputError(f"{output} is a folder; --output is the Parquet file to write")
    artefact = _champion(shelf, name)
    model, meta = TableChurnModel.from_files(artefact.files), artefact.meta
    rows = read_table(table)
    try:
        notes = model.columns_.check(rows)
    except SourceError as error:
        raise SourceError(f"{table}: {error}") from None
    probability = model.predict_proba(rows)
    scores = pd.DataFrame({**_ids(rows, meta["id"], table), "churn_probability": probability})
    scores["churn_band"] = churn_band(probability)
    scores = pd.concat([scores, table_reasons(model, rows, language)], axis=1)
    if value is not None or cost is not None or meta["clv_column"]:
        scores["contact"] = _contact(probability, rows, meta, table, value, cost)
    try:
        with replacing(output) as partial:
            scores.to_parquet(partial, index=False)
    except OSError as error:
        raise OutputError(f"{output} could not be written ({error}); nothing there was changed") from error
    return len(scores), notes


def _champion(shelf: Path, name: str) -> Any:
    known = champions(shelf)
    if name not in known:
        tables = [other for other in known if load_champion(shelf, other).kind == KIND]
        raise ArtefactError(
            f"no model of tables named {name!r} serves; "
            + (f"known are {', '.join(sorted(tables))}" if tables else "none has been trained")
            + f" (`perennial train churn --table F --label COLUMN --name {name}`, then `perennial promote {name}`)"
        )
    artefact = load_champion(shelf, name)
    if artefact.kind != KIND:
        raise ArtefactError(f"{name!r} was trained on records, not on a table; use `perennial score`")
    return artefact


def _ids(rows: pd.DataFrame, id_column: str | None, table: Path) -> dict[str, Any]:
    if id_column is None:
        return {ROW_NUMBER: np.arange(1, len(rows) + 1)}
    require_column(rows, id_column, "the id in training", table)
    return {id_column: texts(rows[id_column]).astype("str")}


def _contact(
    probability: NDArray[np.float64],
    rows: pd.DataFrame,
    meta: Any,
    table: Path,
    value: float | None,
    cost: float | None,
) -> NDArray[np.bool_]:
    offer = RetentionOffer(meta["contact_cost"], meta["incentive_cost"] if cost is None else cost)
    if value is not None:
        return offer.expected_profit(probability, value) > 0
    if meta["clv_column"] is None:
        raise SourceError("--cost needs --value: the model was trained without --clv-column")
    require_column(rows, meta["clv_column"], "the CLV in training; or give --value", table)
    clv = numbers(rows[meta["clv_column"]])
    if np.isnan(clv).any():
        raise SourceError(f"{table}: {meta['clv_column']!r} is no number in {int(np.isnan(clv).sum()):,} rows")
    return offer.expected_profit(probability, clv) > 0
