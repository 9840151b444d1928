"""The serving store: the current scores, profiles, keys and the ledger, on SQLite or PostgreSQL by URL.

Customer ids stand in one table, ``subjects``. Everything else keys on a random ``subject_key``, so that deleting
one mapping row cuts a person off from every score, profile and decision.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import orjson
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from perennial.errors import StoreError
from serving.codes import SCOPES
from serving.tables import api_keys, ledger, merges, metadata, profiles, runs, scores, subjects

_CHUNK = 5_000
_BUSY_SECONDS = 30

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run:
    """One scoring of all customers; the current one is what the service answers from."""

    run_id: str
    as_of: datetime
    created_at: datetime
    manifest: Mapping[str, Any]
    row_count: int


class Store:
    """One database per tenant. Every method is one transaction; failures are ``StoreError``."""

    def __init__(self, url: str) -> None:
        self.url = url
        with self._translated("opened"):
            self._engine = _engine(url)
            self._file = _file(self._engine.url)
            with self._engine.begin() as connection:
                for table in metadata.sorted_tables:
                    connection.execute(CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(CreateIndex(index, if_not_exists=True))
            self._inode = self._file.stat().st_ino if self._file else None

    def close(self) -> None:
        """Give every connection back; the object is of no use afterwards."""
        self._engine.dispose()

    def load_run(
        self,
        manifest: Mapping[str, Any],
        scores_frame: pd.DataFrame,
        profile_rows: Iterable[tuple[str, Mapping[str, Any]]] = (),
        masters: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        """Make a scoring the current one and return its ``run_id``; readers see the old one until then.

        ``manifest`` holds ``as_of`` (ISO text or datetime) and is kept whole. ``scores_frame`` has one row per
        ``customer_id``; ``profile_rows`` are (customer_id, payload) of customers in it. ``masters`` says of former ids
        which customer they are; those of customers who were not scored are left out.
        """
        run_id = secrets.token_hex(16)
        run = {
            "run_id": run_id,
            "as_of": _instant(manifest["as_of"]),
            "created_at": datetime.now(UTC),
            "manifest": _dump(manifest),
            "row_count": len(scores_frame),
            "current": True,
        }
        ids = scores_frame["customer_id"].tolist()
        with self._writing("loaded with this run; the last good one still serves") as connection:
            keys = _subject_keys(connection, ids, create=True)
            former = {one: keys[master] for one, master in masters.items() if master in keys and one not in keys}
            own = _subject_keys(connection, list(former), create=True)
            connection.execute(sa.update(runs).where(runs.c.current).values(current=False))
            connection.execute(sa.insert(runs), run)
            _insert(connection, scores, run_id, zip((keys[i] for i in ids), _payloads(scores_frame), strict=True))
            _insert(connection, profiles, run_id, ((keys[i], _dump(payload)) for i, payload in profile_rows))
            for chunk in _chunks(former.items()):
                rows = [{"run_id": run_id, "subject_key": own[one], "master_key": master} for one, master in chunk]
                connection.execute(sa.insert(merges), rows)
            for table in (scores, profiles, merges):
                connection.execute(sa.delete(table).where(table.c.run_id != run_id))
        return run_id

    def current_run(self) -> Run | None:
        """Return the run being served; None before the first one."""
        columns = [column for column in runs.c if column.name != "current"]
        with self._reading() as connection:
            row = connection.execute(sa.select(*columns).where(runs.c.current)).one_or_none()
        return None if row is None else Run(**{**row._mapping, "manifest": orjson.loads(row.manifest)})

    def scores_for(self, customer_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the current scores by customer id; unknown ids are absent."""
        return self._payloads_for(scores, customer_ids)

    def masters(self, customer_ids: Iterable[str]) -> dict[str, str]:
        """Return by former id the customer that it is now, in the current run; other ids are absent."""
        former, master = subjects.alias("former"), subjects.alias("master")
        query = (
            sa.select(former.c.customer_id, master.c.customer_id)
            .join(merges, merges.c.subject_key == former.c.subject_key)
            .join(runs, sa.and_(runs.c.run_id == merges.c.run_id, runs.c.current))
            .join(master, master.c.subject_key == merges.c.master_key)
        )
        with self._reading() as connection:
            return {
                row[0]: row[1]
                for chunk in _chunks(customer_ids)
                for row in connection.execute(query.where(former.c.customer_id.in_(chunk)))
            }

    def profile(self, customer_id: str) -> dict[str, Any] | None:
        """Return the current 360° profile, or None for an unknown id."""
        return self._payloads_for(profiles, [customer_id]).get(customer_id)

    def _payloads_for(self, table: sa.Table, customer_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        query = (
            sa.select(subjects.c.customer_id, table.c.payload)
            .join(table, table.c.subject_key == subjects.c.subject_key)
            .join(runs, sa.and_(runs.c.run_id == table.c.run_id, runs.c.current))
        )
        found = {}
        with self._reading() as connection:
            for chunk in _chunks(customer_ids):
                for customer_id, payload in connection.execute(query.where(subjects.c.customer_id.in_(chunk))):
                    found[customer_id] = {"customer_id": customer_id, **orjson.loads(payload)}
        return found

    def subject_keys(self, customer_ids: Iterable[str], *, create: bool = False) -> dict[str, str]:
        """Return the random key of each customer; unknown ids get one with ``create``, else are absent."""
        with self._writing("asked for subject keys") as connection:
            return _subject_keys(connection, list(customer_ids), create=create)

    def add_key(self, name: str, scopes: Sequence[str]) -> str:
        """Make an API key and return it, the only time it is seen; the store keeps its sha256."""
        wanted = sorted({scope.strip() for scope in scopes})
        unknown = [scope for scope in wanted if scope not in SCOPES]
        if unknown or not wanted:
            raise StoreError(f"scope {', '.join(unknown) or 'missing'}: a key needs one or more of {', '.join(SCOPES)}")
        plaintext = f"pk_{secrets.token_urlsafe(32)}"
        row = {
            "key_hash": _sha256(plaintext),
            "name": name,
            "scopes": ",".join(wanted),
            "created_at": datetime.now(UTC),
        }
        with self._writing("given a new key") as connection:
            connection.execute(sa.insert(api_keys), row)
        return plaintext

    def scopes_of(self, plaintext: str) -> frozenset[str] | None:
        """Return what a key may do, or None for a key that was never given out."""
        digest = _sha256(plaintext)
        query = sa.select(api_keys.c.key_hash, api_keys.c.scopes).where(api_keys.c.key_hash == digest)
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or not hmac.compare_digest(row.key_hash, digest):
            return None
        return frozenset(row.scopes.split(","))

    def record_decisions(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Append ledger rows and return how many were new.

        A customer already decided on, for the same ``as_of`` or under the same key, keeps that decision.
        """
        packed = [
            {
                **row,
                "eligible_actions": _dump(row["eligible_actions"]),
                "model_versions": _dump(row["model_versions"]),
            }
            for row in rows
        ]
        with self._writing("given these decisions; none of them was kept") as connection:
            return sum(_append(connection, chunk) for chunk in _chunks(packed))

    def decided(self, customer_ids: Iterable[str], idempotency_key: str, as_of: datetime) -> dict[str, dict[str, Any]]:
        """Return by customer the decision under a key, else the one for ``as_of``; undecided customers are absent."""
        query = _ledger_with_ids().where(sa.or_(ledger.c.idempotency_key == idempotency_key, ledger.c.as_of == as_of))
        found: dict[str, dict[str, Any]] = {}
        with self._reading() as connection:
            for chunk in _chunks(customer_ids):
                for row in connection.execute(query.where(subjects.c.customer_id.in_(chunk))):
                    if row.customer_id not in found or row.idempotency_key == idempotency_key:
                        found[row.customer_id] = _decision(row)
        return found

    def decided_since(self, instant: datetime, *, as_of: datetime) -> pd.DataFrame:
        """Return ``customer_id, action_id, decided_at`` since an instant: the history of a scoring at ``as_of``.

        Decisions on that ``as_of`` itself are not its history, so scoring it again gives what was decided.
        """
        query = (
            sa.select(subjects.c.customer_id, ledger.c.action_id, ledger.c.decided_at)
            .join(subjects, subjects.c.subject_key == ledger.c.subject_key)
            .where(ledger.c.decided_at >= instant, ledger.c.as_of < as_of)
            .order_by(ledger.c.decided_at, ledger.c.decision_id)
        )
        with self._reading() as connection:
            rows = connection.execute(query).all()
        frame = pd.DataFrame(rows, columns=["customer_id", "action_id", "decided_at"])
        return frame.assign(decided_at=pd.to_datetime(frame["decided_at"], utc=True))

    def decisions_of(self, customer_id: str) -> list[dict[str, Any]]:
        """Return a customer's decisions, newest first."""
        query = _ledger_with_ids().where(subjects.c.customer_id == customer_id)
        newest_first = query.order_by(ledger.c.decided_at.desc(), ledger.c.decision_id)
        with self._reading() as connection:
            return [_decision(row) for row in connection.execute(newest_first)]

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._translated("read"):
            self._follow_file()
            with self._engine.connect() as connection:
                yield connection

    @contextmanager
    def _writing(self, what: str) -> Iterator[sa.Connection]:
        with self._translated(what):
            self._follow_file()
            with self._engine.begin() as connection:
                yield connection

    def _follow_file(self) -> None:
        """Refuse a SQLite file that was deleted, whose open connections would go on as if nothing had happened."""
        if self._file is None:
            return
        inode = self._file.stat().st_ino
        if inode != self._inode:
            self._engine.dispose()
            self._inode = inode

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except ModuleNotFoundError as error:
            need = f"needs the package {error.name}; install it (PostgreSQL: pip install 'psycopg[binary]')"
            raise StoreError(f"store {_shown(self.url)}: {need}") from error
        except (SQLAlchemyError, OSError) as error:
            cause = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise StoreError(f"store {_shown(self.url)}: could not be {what} ({cause})") from error


def _file(url: sa.URL) -> Path | None:
    stored = url.database if url.get_backend_name() == "sqlite" else None
    return Path(stored) if stored and stored != ":memory:" else None


def _shown(url: str) -> str:
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "address"


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # WAL lets the service read while a run is being loaded.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _subject_keys(connection: sa.Connection, customer_ids: Sequence[str], *, create: bool) -> dict[str, str]:
    keys = _known_keys(connection, customer_ids)
    missing = list(dict.fromkeys(i for i in customer_ids if i not in keys)) if create else []
    for chunk in _chunks(missing):
        rows = [{"subject_key": secrets.token_hex(16), "customer_id": customer_id} for customer_id in chunk]
        connection.execute(_insert_new(connection, subjects), rows)
    return keys | _known_keys(connection, missing)


def _known_keys(connection: sa.Connection, customer_ids: Iterable[str]) -> dict[str, str]:
    query = sa.select(subjects.c.customer_id, subjects.c.subject_key)
    chunks = list(_chunks(customer_ids))
    if len(chunks) > 1:  # reading the whole mapping is five times faster than many long lists of ids
        wanted = {customer_id for chunk in chunks for customer_id in chunk}
        return {row[0]: row[1] for row in connection.execute(query) if row[0] in wanted}
    found = connection.execute(query.where(subjects.c.customer_id.in_(chunks[0]))) if chunks else ()
    return {row[0]: row[1] for row in found}


def _append(connection: sa.Connection, rows: list[dict[str, Any]]) -> int:
    mine = sa.select(sa.func.count()).where(ledger.c.decision_id.in_([row["decision_id"] for row in rows]))
    before = connection.execute(mine).scalar_one()
    connection.execute(_insert_new(connection, ledger), rows)
    return int(connection.execute(mine).scalar_one() - before)


def _ledger_with_ids() -> sa.Select[Any]:
    return sa.select(ledger, subjects.c.customer_id).join(subjects, subjects.c.subject_key == ledger.c.subject_key)


def _decision(row: "sa.Row[Any]") -> dict[str, Any]:
    entry = {name: value for name, value in row._mapping.items() if name != "customer_id"}
    for name in ("eligible_actions", "model_versions"):
        entry[name] = orjson.loads(entry[name])
    return entry


def _insert_new(connection: sa.Connection, table: sa.Table) -> sa.Insert:
    """Insert that leaves rows already there as they are."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def _insert(connection: sa.Connection, table: sa.Table, run_id: str, rows: Iterable[tuple[str, str]]) -> None:
    for chunk in _chunks(rows):
        connection.execute(
            sa.insert(table),
            [{"run_id": run_id, "subject_key": key, "payload": payload} for key, payload in chunk],
        )


def _payloads(frame: pd.DataFrame) -> Iterator[str]:
    """One JSON object per row, without the customer's id."""
    names = [name for name in frame.columns if name != "customer_id"]
    columns = [_plain(frame[name]) for name in names]
    for row in zip(*columns, strict=True):
        yield _dump(dict(zip(names, row, strict=True)))


def _plain(series: "pd.Series[Any]") -> list[Any]:
    """Values that orjson knows; a missing value is None, an instant is UTC text."""
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        naive = series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[s]")
        return [None if text == "NaT" else f"{text}Z" for text in np.datetime_as_string(naive).tolist()]
    return [*series.astype(object).where(series.notna(), None)]


def _dump(value: object) -> str:
    return orjson.dumps(value, default=_other, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z).decode()


def _other(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _instant(value: str | datetime) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
