"""Scores as they were given, kept until what they foretold can be seen, with a sample of the features behind them.

``<folder>/<instant>/<digest>/`` holds ``scores.parquet``, ``features.parquet`` and ``manifest.json``, which says what
both must hash to. Of large bases the same customers are kept each time, chosen by a hash of their ids, so that a daily
run costs a few megabytes. Rows stand under their customer_id in these two files: erasing a person must reach them.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from perennial.errors import OutputError, StoreError
from perennial.files import locked, sync

SCORES, FEATURES, MANIFEST = "scores.parquet", "features.parquet", "manifest.json"
COLUMNS = (
    "customer_id",
    "churn_probability",
    "expected_orders",
    "expected_spend",
    "money_at_risk",
    "value_tier",
    "lifecycle_stage",
)
MOST_CUSTOMERS, MOST_FEATURE_ROWS = 50_000, 1_000


@dataclass(frozen=True, slots=True)
class Scored:
    """What one scoring says of itself; ``customers`` were scored, of whom at most `MOST_CUSTOMERS` are kept."""

    records: str
    as_of: datetime
    horizon_days: int
    customers: int
    model_versions: Mapping[str, str]


@dataclass(frozen=True)
class KeptScores:
    """One scoring that was kept; its frames are read, and verified, when asked for."""

    facts: Scored
    folder: Path

    @property
    def scores(self) -> pd.DataFrame:
        """Columns `COLUMNS`, one row per kept customer."""
        return _read(self.folder, SCORES)

    @property
    def features(self) -> pd.DataFrame:
        """Snapshot rows that some of the scores were computed from."""
        return _read(self.folder, FEATURES)


def keep_scores(folder: Path, facts: Scored, scores: pd.DataFrame, snapshot: pd.DataFrame) -> Path:
    """Keep a scoring and return where; the same models at the same instant again take its place."""
    who = json.dumps([facts.records, dict(sorted(facts.model_versions.items()))])
    name = hashlib.sha256(who.encode()).hexdigest()[:16]
    place = folder / f"{facts.as_of.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"
    frames = {
        SCORES: _sampled(scores[list(COLUMNS)], MOST_CUSTOMERS),
        FEATURES: _sampled(snapshot, MOST_FEATURE_ROWS),
    }
    try:
        with locked(place):
            staging = Path(tempfile.mkdtemp(prefix=".", dir=place))
            try:
                _write(staging, frames, facts)
                shutil.rmtree(place / name, ignore_errors=True)
                staging.rename(place / name)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            sync(place)
    except OSError as error:
        raise OutputError(f"{place}: cannot be written ({error.strerror}); these scores were not kept") from error
    return place / name


def kept_scores(folder: Path, records: str, until: datetime) -> Iterator[KeptScores]:
    """Yield what was kept of the records' scorings as of ``until`` or earlier, the latest first."""
    for manifest in sorted(folder.glob(f"*/*/{MANIFEST}"), key=lambda path: path.parts[-3:], reverse=True):
        kept = KeptScores(_facts(manifest), manifest.parent)
        if kept.facts.records == records and kept.facts.as_of <= until:
            yield kept


def _sampled(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    if len(rows) <= most:
        return rows.reset_index(drop=True)
    order = pd.Series(pd.util.hash_array(rows["customer_id"].to_numpy(dtype=object)), index=rows.index)
    return rows.loc[order.nsmallest(most).index].sort_index().reset_index(drop=True)


def _write(folder: Path, frames: Mapping[str, pd.DataFrame], facts: Scored) -> None:
    hashes = {}
    for name, frame in frames.items():
        frame.to_parquet(folder / name, index=False, compression="zstd")
        hashes[name] = _sha256(folder / name)
        sync(folder / name)
    told = {**asdict(facts), "as_of": facts.as_of.astimezone(UTC).isoformat(), "files": hashes}
    (folder / MANIFEST).write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sync(folder / MANIFEST)
    folder.chmod(0o755)


def _facts(manifest: Path) -> Scored:
    try:
        told = json.loads(manifest.read_text(encoding="utf-8"))
        told.pop("files")
        return Scored(**{**told, "as_of": datetime.fromisoformat(told["as_of"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{manifest}: is no manifest of kept scores ({error!r}); delete its folder") from error


def _read(folder: Path, name: str) -> pd.DataFrame:
    try:
        whole = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"][name] == _sha256(folder / name)
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise StoreError(f"{folder / name}: is missing or differs from what was kept (sha256); delete {folder}")
    return pd.read_parquet(folder / name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
