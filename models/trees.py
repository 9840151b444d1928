"""Boosted trees, grown in one way: deterministic, with a stated number of threads, and scored from their own text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.matrix import Floats
from models.openmp import load_lightgbm, read_booster


@dataclass(frozen=True, slots=True)
class Boosting:
    """Shape of the trees; few and small keeps exact contributions cheap."""

    trees: int
    leaves: int
    learning_rate: float
    min_leaf_rows: int = 200
    l2: float = 10.0
    feature_share: float = 0.6
    row_share: float = 0.7
    bins: int = 255


def grow(
    matrix: Floats,
    target: npt.ArrayLike,
    shape: Boosting,
    *,
    objective: str,
    seed: int,
    num_threads: int,
    names: Sequence[str] | None = None,
    offset: Floats | None = None,
) -> Any:
    """Return a LightGBM booster; ``offset`` (n,) is what the raw score starts from and must be added when scoring."""
    lightgbm = load_lightgbm()
    values = np.asarray(target, dtype=np.float64)
    parameters = {
        "objective": objective,
        "verbosity": -1,
        "num_threads": num_threads,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "max_bin": shape.bins,
        "num_leaves": shape.leaves,
        "learning_rate": shape.learning_rate,
        # small bases still need leaves: never more than a tenth of the rows each
        "min_data_in_leaf": min(shape.min_leaf_rows, len(values) // 10),
        "lambda_l2": shape.l2,
        "feature_fraction": shape.feature_share,
        "bagging_fraction": shape.row_share,
        "bagging_freq": 1,
    }
    named = "auto" if names is None else list(names)
    rows = lightgbm.Dataset(matrix, values, init_score=offset, feature_name=named)
    # scored from its own text from the first moment, so that a saved model cannot differ
    return read_booster(lightgbm.train(parameters, rows, shape.trees).model_to_string())
