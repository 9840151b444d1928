"""Tables of a PostgreSQL database, streamed into DuckDB as Arrow batches: never row by row, never whole in memory."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import duckdb
import pyarrow as pa

from features.inputs import Input, described, identifier, literal
from features.sections import Section
from features.toml_values import suggestion
from perennial.errors import SourceError

SCHEMES = ("postgresql", "postgres")
VARIABLE = re.compile(r"\$\{(\w+)\}")
CONNECT_TIMEOUT_SECONDS = 10
# PostgreSQL types that arrive in Arrow as what they are; every other one is asked for as text.
ARROW_TYPES = (
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "bool",
    "text",
    "varchar",
    "date",
    "timestamp",
    "timestamptz",
)
COLUMNS = """
    SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = {relation}::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
NAMES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"""


@dataclass(frozen=True, kw_only=True)
class DatabaseInput(Input):
    """One table or view, seen from one transaction however often it is scanned."""

    session: Any = field(repr=False)
    query: str
    where: str
    secret: str = field(default="", repr=False)
    streams: list[Any] = field(default_factory=list, repr=False)

    def prepare(self) -> None:
        """Ask for the rows."""
        self.rewind()

    def rewind(self) -> None:
        """Ask for the rows; they come in batches while the relation is scanned, once."""
        self._stop()
        cursor = self.session.cursor()
        self.streams.append(cursor)
        try:
            cursor.execute(self.query)
            reader = cursor.fetch_record_batch()
            self.streams.append(reader)
        except _failures() as error:
            raise SourceError(f"{self.where}: {_words(error, self.secret)}") from None
        self.connection.register(f"{self.relation}_frame", reader)
        self.connection.execute(f"CREATE OR REPLACE TEMP VIEW {self.relation} AS FROM {self.relation}_frame")

    def holds_nothing(self, column: str) -> bool:
        """Databases declare their types; an empty column is no reason to doubt them."""
        return False

    def _stop(self) -> None:
        self.connection.unregister(f"{self.relation}_frame")
        while self.streams:  # the batches before the cursor that they come from
            with suppress(*_failures()):
                self.streams.pop().close()

    def release(self) -> None:
        """Hang up."""
        self._stop()
        with suppress(*_failures()):
            self.session.close()


def open_database(connection: duckdb.DuckDBPyConnection, relation: str, section: Section) -> DatabaseInput:
    """Connect and look at the table's columns; the rows are asked for by ``rewind``."""
    where = f"{section.where}: table = {section.relation!r}"
    address, secret = _address(section)
    session = _connect(section, address, secret)
    try:
        columns = _columns(session, section, where, secret)
        exact = frozenset(name for name, type_ in columns.items() if type_ == "numeric")
        listed = ", ".join(
            identifier(name) if type_ in ARROW_TYPES else f"{identifier(name)}::text AS {identifier(name)}"
            for name, type_ in columns.items()
        )
        query = f"SELECT {listed} FROM {_quoted(section.relation)}"
        schema = _schema(session, query, where, secret)
    except BaseException:
        session.close()
        raise
    frame = f"{relation}_frame"
    connection.register(frame, schema.empty_table())
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {relation} AS FROM {frame}")
    return DatabaseInput(
        connection=connection,
        name=section.relation,
        relation=relation,
        columns=described(connection, relation),
        exact=exact,
        session=session,
        query=query,
        where=where,
        secret=secret,
        no_rows="the table has no rows",
    )


def _address(section: Section) -> tuple[str, str]:
    """Return the address with environment variables filled in, and the password in it (to be kept out of messages).

    A variable within an address is one part of it, so signs that part addresses are escaped; one that is the whole
    address is taken as it stands.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            raise SourceError(f"{section.where}: url: the environment variable {match[1]} is not set")
        return found if match[0] == section.url.strip() else quote(found, safe="")

    address = VARIABLE.sub(value, section.url.strip())
    try:
        parts = urlsplit(address)
        password = parts.password or ""
    except ValueError:
        raise SourceError(f"{section.where}: url is no address; write postgresql://user@host:5432/database") from None
    if parts.scheme not in SCHEMES:
        raise SourceError(
            f"{section.where}: url must begin with postgresql:// (PostgreSQL is the only database that is read)"
        )
    if "connect_timeout=" not in address:
        address += f"{'&' if parts.query else '?'}connect_timeout={CONNECT_TIMEOUT_SECONDS}"
    return address, password


def _connect(section: Section, address: str, secret: str) -> Any:
    try:
        from adbc_driver_postgresql import dbapi
    except ImportError:
        raise SourceError(
            f"{section.where}: reading PostgreSQL needs its driver: pip install 'perennial[postgres]'"
        ) from None
    try:
        session = dbapi.connect(address)
        with session.cursor() as cursor:
            # One snapshot for all scans, which a second one in the same order needs; and instants written in UTC.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET LOCAL TIME ZONE 'UTC'")
    except _failures() as error:
        raise SourceError(f"{section.where}: url: no connection: {_words(error, secret)}") from None
    return session


def _failures() -> tuple[type[Exception], ...]:
    """Return what a conversation with the server fails with: the driver's errors, and Arrow's when batches come."""
    from adbc_driver_manager import Error

    return Error, pa.ArrowException, OSError


def _rows(session: Any, query: str) -> list[tuple[Any, ...]]:
    with session.cursor() as cursor:
        cursor.execute(query)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _columns(session: Any, section: Section, where: str, secret: str) -> dict[str, str]:
    """Return the columns with their PostgreSQL types, or raise with the nearest table's name."""
    try:
        quoted = literal(_quoted(section.relation))
        if _rows(session, f"SELECT to_regclass({quoted}) IS NULL")[0][0]:
            names = [(schema, name) for schema, name in _rows(session, NAMES)]
            known = [name for schema, name in names if schema == "public"] + [".".join(pair) for pair in names]
            raise SourceError(f"{where}: no such table{suggestion(section.relation, known)}")
        return dict(_rows(session, COLUMNS.format(relation=quoted)))
    except _failures() as error:
        raise SourceError(f"{where}: {_words(error, secret)}") from None


def _schema(session: Any, query: str, where: str, secret: str) -> pa.Schema:
    try:
        with session.cursor() as cursor:
            cursor.execute(f"{query} LIMIT 0")
            return cursor.fetch_arrow_table().schema
    except _failures() as error:
        raise SourceError(f"{where}: {_words(error, secret)}") from None


def _quoted(relation: str) -> str:
    """Quote ``table`` or ``schema.table`` part by part."""
    return ".".join(identifier(part) for part in relation.split(".", 1))


def _words(error: Exception, secret: str) -> str:
    """Return what the server said, in one line and without the password."""
    text = str(error)
    said = re.search(r"(?:ERROR|FATAL):\s*(.+)", text) or re.search(r"(?:failed|error):\s*(.+)", text)
    line = " ".join((said[1] if said else text).split())
    for hidden in filter(None, (secret, unquote(secret))):
        line = line.replace(hidden, "***")
    return line
