"""The generated company's canonical tables where the benchmarks of the features read them."""

from pathlib import Path

import duckdb
import ibis

from benchmarks.company import CompanySettings
from benchmarks.company.blocks import block_count, make_block
from features.cleaning import DUCKDB_TYPES
from features.contract import TABLES, Table
from features.engine import open_table
from features.records import Records

DAYS = 730
LINES_PER_CUSTOMER = 15.5  # of the generated company over 730 days


def company(path: Path, lines: int, seed: int) -> Path:
    """Write the generated company's canonical tables to a DuckDB file."""
    customers = max(1, round(lines / LINES_PER_CUSTOMER))
    connection = duckdb.connect(str(path), config={"memory_limit": "2GB", "threads": 2})
    create(connection)
    for number in range(block_count(customers)):
        for name, rows in make_block(number, customers, DAYS, seed, CompanySettings()).tables.items():
            connection.register("rows_", rows)
            connection.execute(
                f"INSERT INTO {name} BY NAME SELECT {_canonical(TABLES[name], rows.schema.names)} FROM rows_"
            )
    connection.close()
    return path


def lines_in(records: Records) -> int:
    """Return how many order lines there are."""
    return int(records.tables["orders"].count().to_pyarrow().as_py())


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Create empty contract tables."""
    for name, table in TABLES.items():
        columns = ", ".join(f"{column.name} {DUCKDB_TYPES[column.kind]}" for column in table.columns)
        connection.execute(f"CREATE TABLE {name} ({columns})")


def _canonical(table: Table, given: list[str]) -> str:
    """Return the company's columns and those that the reader derives, for records in UTC."""
    columns = [column.name for column in table.columns if column.name in given]
    derived = {}
    if table.instant:
        derived = {name: table.instant for name in ("known_at", "local_at") if name not in given}
    if table.name == "orders":
        derived["is_return"] = "amount < 0"
    return ", ".join([*columns, *(f"{sql} AS {name}" for name, sql in derived.items())])


def records_in(database: Path, memory_limit: str) -> Records:
    """Return the records in a DuckDB file."""
    backend = ibis.duckdb.connect(
        database, read_only=True, threads=2, memory_limit=memory_limit, temp_directory=str(spill_folder(database))
    )
    return Records({name: open_table(backend, name) for name in TABLES}, "UTC", "EUR")


def records_over(parquet: Path) -> Records:
    """Return the order lines of a Parquet file as records that the engine reads in place; nothing else is known."""
    backend = ibis.duckdb.connect(threads=2)
    create(backend.con)
    backend.con.execute(f"DROP TABLE orders; CREATE VIEW orders AS SELECT * FROM '{parquet}'")
    return Records({name: open_table(backend, name) for name in TABLES}, "UTC", "EUR")


def spill_folder(database: Path) -> Path:
    """Return where the engine puts what its memory limit leaves no room for."""
    return database.parent / f"{database.stem}-spill"
