"""Reasons for a row of any table, from the names and values of its columns."""

from typing import Literal

import numpy as np
import pandas as pd

from models.table_churn import TableChurnModel
from models.table_columns import Column, numbers, texts

Language = Literal["en", "zh"]
_IS = {"en": "{name} is {value}", "zh": "{name} 为 {value}"}
_AGAINST = {"en": "{name} {value} (typical {typical})", "zh": "{name} 为 {value}（通常 {typical}）"}
_MISSING = {"en": "{name} is missing", "zh": "{name} 缺失"}


def table_reasons(model: TableChurnModel, table: pd.DataFrame, language: Language, n: int = 3) -> pd.DataFrame:
    """Return ``reason_1`` … ``reason_n`` of every row: the columns that speak loudest for the row's own direction.

    A row whose log odds lie above the model's base, or above even odds, hears what raises them, any other what lowers
    them; missing where fewer columns speak that way.
    """
    shares = model.contributions(table)
    rising = shares.sum(axis=1) > min(0.0, -model.base_log_odds_)
    loud = np.where(rising[:, None], shares, -shares)
    order = np.argsort(-loud, axis=1, kind="stable")[:, :n]
    spoken = np.take_along_axis(loud, order, axis=1) > 0
    chosen = np.full((len(table), n), None, dtype=object)
    for number, column in enumerate(model.columns_.columns):
        rows, places = np.nonzero((order == number) & spoken)
        if len(rows):
            chosen[rows, places] = _sentences(column, table[column.name].iloc[rows], language)
    return pd.DataFrame({f"reason_{i + 1}": chosen[:, i] for i in range(n)}, index=table.index, dtype="str")


def _sentences(column: Column, values: pd.Series, language: Language) -> list[str]:
    missing = _MISSING[language].format(name=column.name)
    if column.kind == "category":
        return [
            missing if pd.isna(value) else _IS[language].format(name=column.name, value=value)
            for value in texts(values)
        ]
    typical = _written(float(column.typical))
    return [
        missing
        if np.isnan(value)
        else (_IS if _written(value) == typical else _AGAINST)[language].format(
            name=column.name, value=_written(value), typical=typical
        )
        for value in numbers(values).tolist()
    ]


def _written(value: float) -> str:
    return (
        f"{value:.0f}"
        if value.is_integer() and abs(value) < 1e15
        else f"{value:.4g}"
        if abs(value) < 1e4
        else f"{value:.0f}"
    )
