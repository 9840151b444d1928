"""The engine that records are read into: bounded memory, and a folder of its own that goes when the records go."""

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

import duckdb
import ibis
import ibis.expr.operations as ops

from perennial.settings import settings


@dataclass(frozen=True)
class Workspace:
    """A DuckDB engine; ``folder`` holds its database, what does not fit in memory, and converted text files."""

    backend: ibis.BaseBackend
    folder: Path

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB's own connection."""
        connection: duckdb.DuckDBPyConnection = self.backend.con
        return connection

    def table(self, name: str, schema: ibis.Schema) -> ibis.Table:
        """Return a table of this schema as an expression; asking the engine for it would take longer than reading."""
        table: ibis.Table = ops.DatabaseTable(name, schema, self.backend, ops.Namespace()).to_expr()
        return table


def open_workspace(*, on_disk: bool) -> Workspace:
    """Open an engine under ``PERENNIAL_MEMORY_LIMIT``.

    On disk, tables are compressed and leave memory for free; in memory (for frames, which are there already) only what
    does not fit spills. The folder is removed when nothing refers to the engine any more, at the latest at exit.
    """
    folder = Path(tempfile.mkdtemp(prefix="perennial-"))
    backend = ibis.duckdb.connect(
        folder / "records.duckdb" if on_disk else ":memory:",
        memory_limit=settings().memory_limit,
        temp_directory=str(folder / "spill"),
    )
    backend.con.execute("SET TimeZone = 'UTC'")
    weakref.finalize(backend, _discard, backend.con, folder)
    return Workspace(backend, folder)


def _discard(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    connection.close()
    shutil.rmtree(folder, ignore_errors=True)
