"""Snapshots kept: what was said of every customer at an instant, found again instead of computed again.

``<folder>/<definition>/as_of=<instant>/version=<n>/`` holds ``rows.parquet`` (the snapshot), ``seen.parquet`` (a
fingerprint of all that the instant sees of each customer) and ``manifest.json`` (what both must hash to). A version
appears in one step and is never written again. Where the past as seen from the instant has changed (a correction, an
erasure, a late row that says nothing of ``known_at``), a new version comes to stand beside the old one, and only the
customers whose records changed are computed again: a row depends on its customer's records alone. Rows that became
known later change nothing that an earlier instant sees, so a new day leaves every earlier snapshot as it was.

Every row stands under its customer_id in these two files and nowhere else: that is where erasing a person must reach.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import ibis
import pandas as pd

from features.contract import IDENTITIES, TABLES
from features.inputs import identifier
from features.records import AsOf, Records
from features.snapshot import build_snapshot
from perennial.errors import OutputError, StoreError
from perennial.files import locked, sync

ROWS, SEEN, MANIFEST = "rows.parquet", "seen.parquet", "manifest.json"
SEEN_COLUMNS = ["customer_id", "fingerprint"]


@dataclass(frozen=True)
class Kept:
    """A snapshot and where it stands; ``computed`` customers had to be computed now, 0 for one found whole."""

    snapshot: pd.DataFrame
    version: int
    computed: int


@dataclass(frozen=True)
class SnapshotStore:
    """The snapshots under one folder, of any records and by any definition."""

    folder: Path

    def snapshot(self, records: Records, as_of: AsOf) -> Kept:
        """Return the snapshot at one instant; see `snapshots`."""
        return self.snapshots(records, [as_of])[0]

    def snapshots(self, records: Records, moments: Sequence[AsOf]) -> list[Kept]:
        """Return the snapshots of all features, equal to `build_snapshot`, computing only what is not kept.

        The records stand in DuckDB and are looked through once, for all instants.

        Raises
        ------
        StoreError
            When a kept file differs from what was written.
        OutputError
            When a new version cannot be written; those before it still stand.
        """
        seen = _seen(records, moments)
        return [
            self._snapshot(records, moment, seen[["customer_id", name]].dropna().set_axis(SEEN_COLUMNS, axis=1))
            for moment, name in zip(moments, seen.columns[1:], strict=True)
        ]

    def _snapshot(self, records: Records, as_of: AsOf, seen: pd.DataFrame) -> Kept:
        place = self._place(records, as_of)
        persons = _persons(records, as_of)
        seen = _united(seen, persons).sort_values("customer_id", ignore_index=True)
        with locked(place):
            last = max(_versions(place), default=0)
            if not last:
                snapshot = build_snapshot(records, as_of)
                return self._written(place, 1, snapshot, seen, len(snapshot))
            kept, known = (_read(place / _name(last), name) for name in (ROWS, SEEN))
            changed = _changed(known, seen)
            if changed.empty:
                return Kept(kept, last, 0)
            again = build_snapshot(_only(records, _ids_of(changed, persons)), as_of)
            rest = kept[~kept["customer_id"].isin(changed)]
            snapshot = pd.concat([rest, again]).sort_values("customer_id", ignore_index=True)
            if snapshot.equals(kept):  # what changed is nothing that a feature looks at
                return Kept(kept, last, len(again))
            return self._written(place, last + 1, snapshot, seen, len(again))

    def _place(self, records: Records, as_of: AsOf) -> Path:
        described = json.dumps([_definition(), records.name, records.timezone])
        digest = hashlib.sha256(described.encode()).hexdigest()[:16]
        return self.folder / digest / f"as_of={as_of.instant:%Y-%m-%dT%H%M%S.%fZ}"

    def _written(self, place: Path, version: int, snapshot: pd.DataFrame, seen: pd.DataFrame, computed: int) -> Kept:
        target = place / _name(version)
        try:
            staging = Path(tempfile.mkdtemp(prefix=".", dir=place))
            try:
                _write(staging, {ROWS: snapshot, SEEN: seen})
                staging.rename(target)
                sync(place)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({error.strerror}); earlier snapshots stand") from error
        return Kept(_read(target, ROWS), version, computed)


def _name(version: int) -> str:
    return f"version={version}"


def _versions(place: Path) -> list[int]:
    return [int(folder.name.partition("=")[2]) for folder in place.glob("version=*")]


@cache
def _definition() -> str:
    """Return a hash of what a feature means: names, units and order in the catalogue, and the code behind them."""
    digest = hashlib.sha256()
    here = sorted(files("features").iterdir(), key=lambda file: file.name)
    for file in (file for file in here if file.name.endswith((".py", ".toml"))):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _seen(records: Records, moments: Sequence[AsOf]) -> pd.DataFrame:
    """Return per customer, and one column per instant, a fingerprint of all rows that it sees; null where it sees none.

    A sum of 64-bit row hashes does not depend on the order of the rows. DuckDB's own hash, because it runs over whole
    rows: through Ibis, column by column, it takes as long as building the snapshot.
    """
    parts = []
    for name, contract in TABLES.items():
        if name == IDENTITIES.name:  # `_united` knows who is who
            continue
        table = identifier(records.tables[name].get_name())
        known = f"greatest({contract.instant}, known_at)" if contract.instant else "TIMESTAMP '-infinity'"
        parts.append(f"SELECT customer_id, {known} AS seen_from, hash('{name}', rows) AS print FROM {table} AS rows")
    sums = ", ".join(
        f"sum(print) FILTER (seen_from < TIMESTAMP '{moment.naive_utc}')::VARCHAR AS print_{number}"
        for number, moment in enumerate(moments)
    )
    connection = records.tables["orders"].get_backend().con
    query = f"SELECT customer_id, {sums} FROM ({' UNION ALL '.join(parts)}) GROUP BY customer_id"
    frame: pd.DataFrame = connection.sql(query).to_arrow_table().to_pandas()
    return frame


def _persons(records: Records, as_of: AsOf) -> "pd.Series[str]":
    """Return the person of every id that was linked by then."""
    ids, masters = records.links.persons(as_of.naive_utc)
    return pd.Series(masters, index=pd.Index(ids, dtype="str"), dtype="str")


def _united(seen: pd.DataFrame, persons: "pd.Series[str]") -> pd.DataFrame:
    """Return one fingerprint per person: those of all the person's ids, in one order."""
    if persons.empty:
        return seen
    whose = seen["customer_id"].map(persons).fillna(seen["customer_id"])
    prints = seen["customer_id"] + ":" + seen["fingerprint"]
    one = prints.sort_values().groupby(whose).agg("+".join)
    return one.rename("fingerprint").rename_axis("customer_id").reset_index()


def _ids_of(customers: "pd.Series[str]", persons: "pd.Series[str]") -> "pd.Series[str]":
    """Return the ids under which the customers' records stand."""
    own = persons.index[persons.isin(customers)].to_series()
    whole: pd.Series[str] = pd.concat([customers, own])
    return whole


def _changed(known: pd.DataFrame, seen: pd.DataFrame) -> pd.Series:
    """Return the customers of whom more, less or other is seen than was."""
    both = known.merge(seen, on=SEEN_COLUMNS, how="outer", indicator="where")
    return both.loc[both["where"] != "both", "customer_id"].drop_duplicates()


def _only(records: Records, customers: pd.Series) -> Records:
    chosen = ibis.memtable(pd.DataFrame({"customer_id": customers.to_numpy()}), schema={"customer_id": "string"})
    return replace(
        records, tables={name: table.semi_join(chosen, "customer_id") for name, table in records.tables.items()}
    )


def _write(folder: Path, frames: Mapping[str, pd.DataFrame]) -> None:
    hashes = {}
    for name, frame in frames.items():
        frame.to_parquet(folder / name, index=False, compression="zstd")
        sync(folder / name)
        hashes[name] = _sha256(folder / name)
    (folder / MANIFEST).write_text(json.dumps({"files": hashes}, indent=2, sort_keys=True) + "\n")
    sync(folder / MANIFEST)


def _read(folder: Path, name: str) -> pd.DataFrame:
    path = folder / name
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        whole = _sha256(path) == manifest["files"][name]
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise StoreError(f"{path}: is missing or differs from what was written; delete {folder} to compute it again")
    return pd.read_parquet(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
