"""The second engine: the same expressions on Spark.

The reader validates the records once, by the same rules and with the same counts for either engine. `on_spark` writes
what it kept as Parquet to a work folder in the home, and Spark reads it from there; from then on snapshot, context and
scores are expressions that Spark runs. Which Spark is said in Spark's own ways (``spark-defaults.conf``, ``MASTER``,
``PYSPARK_SUBMIT_ARGS``), else it is this machine. On a cluster the home must stand on storage that every worker sees
under the same path, and the workers' Python (``PYSPARK_PYTHON``) must have this package installed.
"""

import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import ibis

from features.records import Records
from perennial.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BACKEND = "pyspark"
LEAST_JAVA = 17  # Spark 4.0's release notes
LOG = "spark.log"
_TELLING = (r"perennial\.errors\.\w+: (.+)", r"(\[[A-Z][A-Z0-9_.]+\] .+)", r"(.+)")
# What makes Spark count as DuckDB does, whatever its own configuration says: instants stay as they are written, and
# whole numbers that outgrow 64 bits are an error instead of wrong.
_SETTINGS = MappingProxyType(
    {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
        "spark.sql.ansi.enabled": "true",
    }
)


@contextmanager
def on_spark(records: Records, home: Path) -> Iterator[Records]:
    """Yield the same records with Spark as their engine; the copy in ``home`` ends with the block.

    Raises
    ------
    EngineError
        When pyspark or Java is missing, Spark does not start, or fails at what is asked of it within the block.
    """
    folder = (home / "spark").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    backend = _backend(folder / LOG)
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    work = Path(tempfile.mkdtemp(prefix="records-", dir=folder))
    try:
        yield replace(records, tables=_copied(records, backend, work))
    except (PySparkException, Py4JError) as error:
        raise EngineError(f"Spark failed: {_gist(error)}; its log is {folder / LOG}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def is_on_spark(records: Records) -> bool:
    """Return whether Spark is the engine of these records."""
    return str(records.tables["orders"].get_backend().name) == BACKEND


def dataframe(table: ibis.Table) -> "DataFrame":
    """Return an expression over records on Spark as Spark's own DataFrame."""
    from pyspark.sql import SparkSession

    name = ibis.util.gen_name("perennial")
    table.get_backend().create_view(name, table)
    return SparkSession.active().table(name)


def _copied(records: Records, backend: Any, work: Path) -> dict[str, ibis.Table]:
    tables = {}
    for name, table in records.tables.items():
        path = work / f"{name}.parquet"
        table.to_parquet(path)
        tables[name] = backend.read_parquet(path)
    return tables


def _backend(log: Path) -> Any:
    """Return Ibis's door to the running Spark session, or to one that starts now and writes its noise to ``log``."""
    with warnings.catch_warnings():
        # pyspark 4.3 says of pandas 3 that it "does not yet fully support" it, Ibis uses options pandas 3 deprecates
        warnings.simplefilter("ignore")
        try:
            from pyspark.errors import PySparkException
            from pyspark.logger import PySparkLogger
            from pyspark.sql import SparkSession
        except ImportError:
            raise EngineError('pyspark is not installed; run `pip install "perennial[spark]"`') from None
        try:
            session = SparkSession.getActiveSession() or _started(SparkSession, log)
        except PySparkException as error:
            raise EngineError(f"Spark did not start: {_gist(error)}; its log is {log}") from None
        for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
            PySparkLogger.getLogger(name).setLevel(logging.CRITICAL)  # they print what is raised as well
        for name, value in _SETTINGS.items():
            session.conf.set(name, value)
        return ibis.pyspark.connect(session)


def _started(sessions: "type[SparkSession]", log: Path) -> "SparkSession":
    _require_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with _standard_error_to(log):
        return sessions.builder.appName("perennial").config("spark.ui.showConsoleProgress", "false").getOrCreate()


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else "java"
    remedy = f"install Java {LEAST_JAVA} (Debian: openjdk-17-jre-headless) or point JAVA_HOME at it"
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError):
        raise EngineError(f"Spark needs Java, and {java} does not run; {remedy}") from None
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    if found and int(found[1]) < LEAST_JAVA:
        raise EngineError(f"Spark needs Java {LEAST_JAVA} or newer, and {java} is Java {found[1]}; {remedy}")


@contextmanager
def _standard_error_to(log: Path) -> Iterator[None]:
    """Give what starts within the block the file as its standard error, for as long as it lives."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with log.open("wb") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _gist(error: Exception) -> str:
    """Return the one line that says what happened: a worker's own error, else Spark's named condition."""
    told = (re.search(pattern, str(error)) for pattern in _TELLING)
    return next((found[1].strip() for found in told if found), type(error).__name__)
