"""Score files: written whole or not at all, verified before they are read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perennial.errors import OutputError
from serving.codes import CODE_LISTS, Code, Language
from serving.columns import COLUMN_NAMES, COLUMNS, PENDING, SCHEMA, SCORE_COLUMNS, Kind
from serving.decisions.policy import SUPPRESSIONS
from serving.fileset import MANIFEST, current, publish, sha256
from serving.lists import READY_LISTS, ready_lists
from serving.manifest import FileFacts, Manifest, read_manifest
from serving.spreadsheet import write_csv
from serving.totals import TOTAL_COLUMNS

if TYPE_CHECKING:
    from features.records import AsOf, Records
    from perennial.settings import Settings
    from serving.scoring import ScoreRun

SCORES, TOTALS = "scores.parquet", "totals.csv"
MONEY = frozenset(column.name for column in (*SCORE_COLUMNS, *TOTAL_COLUMNS) if column.unit == "currency")


@dataclass(frozen=True)
class ScoreSet:
    """Verified score files: their manifest and the scores."""

    manifest: Manifest
    scores: pd.DataFrame


def score_to(
    directory: Path,
    records: "Records",
    as_of: "AsOf",
    language: Language,
    settings: "Settings",
    *,
    capacity: int | None = None,
) -> Manifest:
    """Score every customer, write the files, load the serving store and keep the scores to be judged later.

    ``capacity`` is how many customers the staff can call: the early warning holds no more.
    """
    from features.catalogue import FEATURES
    from features.history import monthly_history
    from models.kept_scores import Scored, keep_scores
    from serving.decisions.attributes import require_attributes
    from serving.decisions.playbook import LONGEST_COOLDOWN, load_playbook
    from serving.loading import load
    from serving.profiles import last_orders
    from serving.scoring import score
    from serving.store import Store

    playbook = load_playbook(settings.playbook)
    require_attributes(playbook, records)
    store = Store(settings.store_url)
    try:
        history = store.decided_since(as_of.instant - LONGEST_COOLDOWN, as_of=as_of.instant)
        run = score(
            records,
            as_of,
            settings.shelf,
            language=language,
            playbook=playbook,
            num_threads=settings.threads,
            history=history,
            features=FEATURES,  # a customer's page shows them all
        )
        run = replace(run, manifest=replace(run.manifest, capacity=capacity))
        manifest = write_scores(run, directory)
        masters = dict(zip(*records.links.persons(as_of.naive_utc), strict=True))
        load(store, run, monthly_history(records, as_of), last_orders(records, as_of), masters)
        facts = Scored(
            records.name, as_of.instant, manifest.horizon_days, manifest.customers, dict(manifest.model_versions)
        )
        keep_scores(settings.scored, facts, run.scores, run.snapshot)
    finally:
        store.close()
    return manifest


def write_scores(run: "ScoreRun", directory: Path) -> Manifest:
    """Write the score files of a run and return their manifest; on any failure what stood there stays.

    The same run gives byte-identical files.
    """
    table = _whole(_table(run.scores[list(COLUMN_NAMES)]))
    frames = {
        "data_dictionary.csv": _data_dictionary(),
        "code_lists.csv": _code_lists(run.manifest),
        TOTALS: _totals(run.manifest),
        **{f"segments/{name}.csv": frame for name, frame in ready_lists(run.scores, run.manifest).items()},
    }
    written = run.manifest

    def write(folder: Path) -> None:
        nonlocal written
        rows = _write_tables(folder, table, frames)
        facts = {name: FileFacts(count, (folder / name).stat().st_size, sha256(folder / name)) for name, count in rows}
        written = replace(run.manifest, customers=table.num_rows, files=facts)
        (folder / MANIFEST).write_bytes(written.to_json())

    publish(Path(directory), write)
    return written


def read_scores(directory: Path) -> ScoreSet:
    """Read the score files of a folder, refusing a set whose files differ from its manifest."""
    directory = Path(directory)
    folder = current(directory)
    try:
        return _read_set(folder)
    except OutputError:
        if current(directory) == folder:
            raise
        return _read_set(current(directory))  # another writer finished meanwhile


def _read_set(folder: Path) -> ScoreSet:
    manifest = read_manifest(folder)
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.is_file() or sha256(path) != facts.sha256:
            raise OutputError(
                f"{path}: is missing or differs from what was written (sha256 in {MANIFEST}); "
                "run `perennial score` again"
            )
    if SCORES not in manifest.files:
        raise OutputError(f"{folder / MANIFEST}: names no {SCORES}; run `perennial score` again")
    return ScoreSet(manifest, pd.read_parquet(folder / SCORES))


def _write_tables(folder: Path, table: pa.Table, frames: Mapping[str, pd.DataFrame]) -> list[tuple[str, int]]:
    """Write every file but the manifest; return (name, rows) of each."""
    (folder / "segments").mkdir()
    pq.write_table(table, folder / SCORES, compression="zstd")
    write_csv(table, folder / "scores.csv", MONEY)
    for name, frame in frames.items():
        write_csv(_table(frame), folder / name, MONEY)
    return [
        (SCORES, table.num_rows),
        ("scores.csv", table.num_rows),
        *((name, len(frame)) for name, frame in frames.items()),
    ]


def _whole(table: pa.Table) -> pa.Table:
    """Refuse scores that lack what every customer must have: a hole is a wrong score, not an empty cell."""
    holes = [c.name for c in SCORE_COLUMNS if not c.nullable and table[c.name].null_count]
    endless = [c.name for c in SCORE_COLUMNS if c.kind is Kind.NUMBER and pc.any(pc.is_inf(table[c.name])).as_py()]
    if holes or endless:
        raise OutputError(
            f"scores without a value in {', '.join(holes) or 'none'} and infinite in {', '.join(endless) or 'none'}; "
            "nothing was written. Train again, and if it stays, look at those columns' inputs with `perennial features`"
        )
    return pa.Table.from_arrays(table.columns, schema=SCHEMA)


def _table(frame: pd.DataFrame) -> pa.Table:
    """Return a frame as a table whose score columns have their types, however few rows there are."""
    return pa.table({name: _array(frame[name]) for name in frame.columns})


def _array(column: "pd.Series[Any]") -> pa.Array:
    kind = COLUMNS[str(column.name)].arrow_type if column.name in COLUMNS else None
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        # pyarrow would take the instants through a deprecated door of pandas that drops the zone.
        return pa.array(column.dt.tz_convert("UTC").dt.tz_localize(None), type=pa.timestamp("us")).cast(kind)
    return pa.array(column, type=kind, from_pandas=True)


def _totals(manifest: Manifest) -> pd.DataFrame:
    """One row for the portfolio and for each group of customers: what they will bring together."""
    shared = {name: getattr(manifest, name) for name in ("horizon_days", "clv_horizon_days", "clv_basis", "currency")}
    rows = [asdict(total) | {"label": total.label(manifest.language)} | shared for total in manifest.totals]
    return pd.DataFrame(rows, columns=[column.name for column in TOTAL_COLUMNS])


def _data_dictionary() -> pd.DataFrame:
    """One row per column of the score file, then of the totals."""
    return pd.DataFrame(
        [
            {
                "column": column.name,
                "type": column.kind.value,
                "unit": column.unit,
                "may_be_empty": column.nullable,
                "pending": column.name in PENDING,
                "personal": column.personal,
                "meaning_en": column.meaning_en,
                "meaning_zh": column.meaning_zh,
                "codes": "; ".join(code.code for code in CODE_LISTS[column.codes]) if column.codes else "",
                "csv": _csv_form(column.kind, column.unit),
                "file": file,
            }
            for file, columns in (("scores.csv", SCORE_COLUMNS), (TOTALS, TOTAL_COLUMNS))
            for column in columns
        ]
    )


def _csv_form(kind: Kind, unit: str) -> str:
    """How scores.csv writes a column; scores.parquet is exact."""
    forms = {
        Kind.NUMBER: "2 decimals" if unit == "currency" else "4 decimals",
        Kind.INTEGER: "whole number",
        Kind.FLAG: "true or false",
        Kind.INSTANT: "ISO 8601, UTC",
        Kind.DAY: "ISO 8601",
    }
    return forms.get(kind, "text; an apostrophe precedes what a spreadsheet would run as a formula")


def _code_lists(manifest: Manifest) -> pd.DataFrame:
    """One row per code: of the fixed lists, of the playbook's actions and of the ready lists."""
    ready = tuple(Code(r.name, r.title_en, r.title_zh, r.meaning_en, r.meaning_zh) for r in READY_LISTS)
    lists = {**CODE_LISTS, "action_id": manifest.actions, "suppressed_by": SUPPRESSIONS, "segments/": ready}
    return pd.DataFrame(
        [
            (name, code.code, code.label_en, code.label_zh, code.meaning_en, code.meaning_zh)
            for name, codes in lists.items()
            for code in codes
        ],
        columns=["list", "code", "label_en", "label_zh", "meaning_en", "meaning_zh"],
    )
