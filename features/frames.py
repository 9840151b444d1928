"""Rows of a snapshot as they leave the engine, a block at a time, and the one frame that they become."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

KEYS = ("customer_id", "as_of")


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one cutoff; ``features`` has shape ``(n_features, n_rows)``, NaN where undefined."""

    names: tuple[str, ...]
    keys: pa.Table
    features: npt.NDArray[np.float64]

    @classmethod
    def of(cls, rows: pa.Table) -> "Block":
        """Copy the rows: an engine's batch stays in memory as a whole as long as anything refers to a part of it."""
        names = tuple(name for name in rows.column_names if name not in KEYS)
        values = np.empty((len(names), len(rows)))
        for place, name in enumerate(names):
            values[place] = rows[name].to_numpy()
        return cls(names, rows.select(KEYS).take(pa.array(np.arange(len(rows)))), values)


def frame_of(blocks: deque[Block]) -> pd.DataFrame:
    """Return one frame of all blocks, in their order, and empty the queue: so their rows never all exist twice."""
    names, keys = blocks[0].names, pa.concat_tables([block.keys for block in blocks]).to_pandas()
    if len(blocks) == 1:
        values = blocks.pop().features
    else:
        values, start = np.empty((len(names), len(keys))), 0
        while blocks:
            part = blocks.popleft().features
            values[:, start : start + part.shape[1]] = part
            start += part.shape[1]
    frame = pd.DataFrame(values.T, columns=list(names), copy=False)
    frame.insert(0, "customer_id", keys["customer_id"])
    frame.insert(1, "as_of", keys["as_of"].dt.tz_localize("UTC"))
    return frame
