"""Some customers' records by themselves: sent along by a program, or standing in an engine of their own."""

from dataclasses import replace
from datetime import timedelta

import ibis
import numpy as np

from benchmarks.features_records import create
from features.contract import TABLES
from features.engine import open_table
from features.online import READ
from features.records import AsOf, Records


class ByCustomer:
    """Each customer's records alone, as a program sends them along."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._tables = {
            name: records.tables[name].order_by("customer_id").to_pyarrow().combine_chunks() for name in READ
        }
        self._places = {name: _stretches(table["customer_id"].to_numpy()) for name, table in self._tables.items()}

    def of(self, customer: str) -> Records:
        """Return the records of one customer."""
        places = {name: places[customer] for name, places in self._places.items() if customer in places}
        return replace(self._records, few={name: self._tables[name].slice(*place) for name, place in places.items()})


def _stretches(ids: np.ndarray) -> dict[str, tuple[int, int]]:
    """Return where each id's rows begin and how many they are."""
    starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])) if len(ids) else np.array([], int)
    lengths = np.diff(np.append(starts, len(ids)))
    return {ids[start]: (start, length) for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)}


class Alone:
    """Some customers' records in an engine of their own, whose rows are replaced and whose tables stay."""

    def __init__(self, records: Records) -> None:
        self._whole = records.tables["orders"]._find_backend().con
        self._backend = ibis.duckdb.connect(threads=1)
        create(self._backend.con)
        self._records = replace(records, tables={name: open_table(self._backend, name) for name in TABLES})
        self._frames = {name: self._whole.sql(f"SELECT * FROM {name}").df() for name in TABLES}
        self._groups = {
            name: frame.groupby("customer_id").indices for name, frame in self._frames.items() if len(frame)
        }

    def customers(self) -> list[str]:
        """Return who has orders."""
        return sorted(self._groups["orders"])

    def of(self, customers: list[str]) -> Records:
        """Return the records of these customers alone."""
        connection = self._backend.con
        for name, groups in self._groups.items():
            connection.execute(f"DELETE FROM {name}")
            places = [groups[customer] for customer in customers if customer in groups]
            if places:
                connection.register("rows_", self._frames[name].iloc[np.concatenate(places)])
                connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM rows_")
        return self._records

    def append_after(self, cutoff: AsOf, count: int, rng: np.random.Generator) -> None:
        """Append lines that happen, or that are only learned, at the cutoff or later."""
        late = rng.random(count) < 0.5
        shift = rng.integers(0, 60 * 86_400, count)
        for is_late, seconds in zip(late.tolist(), shift.tolist(), strict=True):
            known = cutoff.naive_utc + timedelta(seconds=seconds)
            occurred = known - timedelta(days=float(rng.integers(1, 300))) if is_late else known
            self._backend.con.execute(
                "INSERT INTO orders BY NAME SELECT * REPLACE ($at AS ordered_at, $known AS known_at, $at AS local_at) "
                "FROM orders USING SAMPLE 1 ROWS",
                {"at": occurred, "known": known},
            )
