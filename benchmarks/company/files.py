"""The company as the files a business would have: Parquet by table, a source file, the truth beside them."""

import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.company.baskets import FOREIGN, FOREIGN_RATE
from benchmarks.company.blocks import Block, block_count, make_block
from benchmarks.company.register import MARGIN_RATE
from benchmarks.company.settings import CompanySettings

BLOCKS_PER_FILE = 10
TRUTH = "truth/"


@dataclass(frozen=True)
class Order:
    """What to write and where; the rows do not depend on ``folder``."""

    folder: Path
    customers: int
    days: int
    seed: int
    settings: CompanySettings

    def block(self, number: int) -> Block:
        """Generate one block, alone."""
        return make_block(number, self.customers, self.days, self.seed, self.settings)


def write_company(order: Order, workers: int = 2) -> dict[str, int]:
    """Write every table to ``folder/TABLE/part-NNNNN.parquet`` and the truth to ``folder/truth/…``; count rows.

    A file holds ten blocks, one row group each, so memory holds one block a worker whatever the size, and the same
    order gives the same bytes whatever the number of workers. ``source.toml`` is written last.

    Raises
    ------
    FileExistsError
        When the folder holds something already: parts of two companies must not mix.
    """
    if order.folder.exists() and any(order.folder.iterdir()):
        raise FileExistsError(f"{order.folder} is not empty; name a new folder or empty it first")
    files = range(-(-block_count(order.customers) // BLOCKS_PER_FILE))
    counts: dict[str, int] = {}
    schemas: dict[str, list[str]] = {}
    for written, columns in _written(order, files, workers):
        schemas |= columns
        for name, rows in written.items():
            counts[name] = counts.get(name, 0) + rows
    (order.folder / "source.toml").write_text(_source(schemas, counts, order.settings), encoding="utf-8")
    return counts


def _written(order: Order, files: range, workers: int) -> Iterator[tuple[dict[str, int], dict[str, list[str]]]]:
    if workers == 1:
        yield from map(_write_file, [order] * len(files), files)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_write_file, [order] * len(files), files)


def _write_file(order: Order, number: int) -> tuple[dict[str, int], dict[str, list[str]]]:
    writers: dict[str, pq.ParquetWriter] = {}
    counts: dict[str, int] = {}
    columns: dict[str, list[str]] = {}
    last = min((number + 1) * BLOCKS_PER_FILE, block_count(order.customers))
    for position in range(number * BLOCKS_PER_FILE, last):
        for name, table in _all_tables(order.block(position)).items():
            if name not in writers:
                path = _part(order, name, number)
                path.parent.mkdir(parents=True, exist_ok=True)
                writers[name], columns[name] = pq.ParquetWriter(path, table.schema), table.column_names
            writers[name].write_table(table, row_group_size=max(table.num_rows, 1))
            counts[name] = counts.get(name, 0) + table.num_rows
    for name, writer in writers.items():
        writer.close()
        if not counts[name] and not name.startswith(TRUTH):  # the reader refuses a file without rows
            _part(order, name, number).unlink()
    return counts, columns


def _part(order: Order, name: str, number: int) -> Path:
    return order.folder / name / f"part-{number:05d}.parquet"


def _all_tables(block: Block) -> dict[str, pa.Table]:
    return {**block.tables, **{f"{TRUTH}{name}": table for name, table in block.truth.items()}}


def _source(columns: Mapping[str, list[str]], counts: Mapping[str, int], settings: CompanySettings) -> str:
    """Return a source file over the tables that have rows."""
    lines = ['name = "generated company"', 'currency = "EUR"', 'timezone = "UTC"', 'consent_default = "refuse"']
    lines += ["", "[economics]", f"margin_rate = {MARGIN_RATE}"]
    if settings.foreign_share:
        lines += ["", "[rates]", f"{FOREIGN} = {FOREIGN_RATE}"]
    for name, names in columns.items():
        if counts[name] and not name.startswith(TRUTH):
            lines += ["", f"[{name}]", f'path = "{name}/*.parquet"', *(f'{column} = "{column}"' for column in names)]
    return "\n".join(lines) + "\n"
