"""Kept snapshots equal snapshots built anew, and what was kept once stays as it was to the byte."""

import random
from pathlib import Path

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from features import store
from features.records import AsOf
from features.snapshot import build_snapshot
from features.sources import records_from_frames
from features.store import SnapshotStore
from perennial.errors import OutputError, StoreError
from tests.features.test_snapshot_properties import logs

DAYS = [AsOf.parse(day, "UTC") for day in ("2024-03-01", "2024-03-02", "2024-06-30T13:00")]


def line(customer_id, ordered_at, amount=10.0, **rest):
    return {"customer_id": customer_id, "ordered_at": ordered_at, "amount": amount, **rest}


def bytes_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def assert_built(kept, records, as_of):
    pd.testing.assert_frame_equal(kept.snapshot, build_snapshot(records, as_of), check_exact=True)


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(log=logs, seed=st.integers(0, 1000))
def test_each_new_day_equals_a_full_build_and_changes_nothing_before(make_records, tmp_path_factory, log, seed):
    folder = tmp_path_factory.mktemp("store")
    snapshots, shuffled = SnapshotStore(folder), random.Random(seed)
    before: dict[Path, bytes] = {}
    for number, as_of in enumerate(DAYS):
        arrived = {
            table: shuffled.sample(rows, len(rows))
            for table, every in log.items()
            for rows in [[row for row in every if row["known_at"] < as_of.naive_utc]]
        }
        records = make_records(**arrived)
        kept = snapshots.snapshot(records, as_of)
        assert_built(kept, records, as_of)
        for earlier in DAYS[:number]:  # late rows have come in meanwhile
            found = snapshots.snapshot(records, earlier)
            assert (found.version, found.computed) == (1, 0)
            assert_built(found, records, earlier)
        now = bytes_of(folder)
        assert before.items() <= now.items()
        before = now


@pytest.fixture
def orders(at):
    return [
        line(customer, at(day), order_id=f"{customer}{day}") for customer in ("ann", "bob", "cem") for day in (1, 9)
    ]


def test_a_changed_past_computes_only_whom_it_concerns(make_records, orders, at, tmp_path: Path) -> None:
    snapshots, as_of = SnapshotStore(tmp_path), AsOf.parse("2024-02-01", "UTC")
    first = snapshots.snapshot(make_records(orders=orders), as_of)
    assert (first.version, first.computed) == (1, 3)
    old = bytes_of(tmp_path)
    corrected = make_records(orders=[*orders[:-2], line("cem", at(1), 7.0), line("dee", at(3))])  # bob stays
    second = snapshots.snapshot(corrected, as_of)
    assert (second.version, second.computed) == (2, 2)
    assert_built(second, corrected, as_of)
    erased = make_records(orders=[row for row in orders if row["customer_id"] != "ann"])
    third = snapshots.snapshot(erased, as_of)
    assert (third.version, list(third.snapshot.customer_id)) == (3, ["bob", "cem"])
    assert_built(third, erased, as_of)
    assert old.items() <= bytes_of(tmp_path).items()


def test_what_no_feature_looks_at_makes_no_version(make_records, orders, tmp_path: Path) -> None:
    snapshots, as_of = SnapshotStore(tmp_path), AsOf.parse("2024-02-01", "UTC")
    for email, computed in (("a@example.com", 3), ("b@example.com", 1)):
        records = make_records(orders=orders, customers=[{"customer_id": "ann", "email": email}])
        kept = snapshots.snapshot(records, as_of)
        assert (kept.version, kept.computed) == (1, computed)
        assert_built(kept, records, as_of)


def test_repeated_rows_count(make_records, orders, tmp_path: Path) -> None:
    snapshots, as_of = SnapshotStore(tmp_path), AsOf.parse("2024-02-01", "UTC")
    snapshots.snapshot(make_records(orders=orders), as_of)
    thrice = make_records(orders=[*orders, orders[0], orders[0]])
    assert_built(snapshots.snapshot(thrice, as_of), thrice, as_of)


def test_the_same_inputs_give_the_same_bytes(make_records, orders, tmp_path: Path) -> None:
    records, as_of = make_records(orders=orders), AsOf.parse("2024-02-01", "UTC")
    written = []
    for name in ("one", "two"):
        SnapshotStore(tmp_path / name).snapshot(records, as_of)
        written.append({path.relative_to(tmp_path / name): data for path, data in bytes_of(tmp_path / name).items()})
    assert written[0] == written[1]
    assert len(written[0]) == 3


def test_another_definition_stands_apart(make_records, orders, tmp_path: Path, monkeypatch) -> None:
    records, as_of = make_records(orders=orders), AsOf.parse("2024-02-01", "UTC")
    SnapshotStore(tmp_path).snapshot(records, as_of)
    monkeypatch.setattr(store, "_definition", lambda: "another")
    assert SnapshotStore(tmp_path).snapshot(records, as_of).computed == 3
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["rows.parquet", "seen.parquet", "manifest.json"])
def test_a_damaged_file_is_named(make_records, orders, tmp_path: Path, name: str) -> None:
    records, as_of = make_records(orders=orders), AsOf.parse("2024-02-01", "UTC")
    SnapshotStore(tmp_path).snapshot(records, as_of)
    (path,) = tmp_path.rglob(name)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match=r"is missing or differs.*delete .*version=1 to compute it again"):
        SnapshotStore(tmp_path).snapshot(records, as_of)


def test_a_full_disk_leaves_what_stood(make_records, orders, tmp_path: Path, monkeypatch) -> None:
    as_of = AsOf.parse("2024-02-01", "UTC")
    SnapshotStore(tmp_path).snapshot(make_records(orders=orders), as_of)
    stood = bytes_of(tmp_path)

    def full(*_arguments, **_named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OutputError, match=r"version=2: cannot be written \(No space left on device\)"):
        SnapshotStore(tmp_path).snapshot(make_records(orders=orders[:-1]), as_of)
    assert bytes_of(tmp_path) == stood
    assert {path.name for path in tmp_path.rglob(".*")} == {".lock"}


def test_a_link_learned_since_makes_two_customers_one(make_records, at, tmp_path):
    orders = [
        {"customer_id": name, "ordered_at": at(day), "amount": 1.0} for name, day in (("a", 1), ("b", 2), ("c", 3))
    ]
    as_of = AsOf.parse("2024-03-01", "UTC")
    store = SnapshotStore(tmp_path)
    store.snapshot(make_records(orders=orders), as_of)
    linked = make_records(orders=orders, identities=[{"customer_id": "a", "master_id": "b", "known_at": at(5)}])
    again = store.snapshot(linked, as_of).snapshot
    assert list(again.customer_id) == ["b", "c"]
    pd.testing.assert_frame_equal(again, build_snapshot(linked, as_of), check_exact=True)


def test_a_link_learned_later_joins_two_rows_and_leaves_the_earlier_snapshot(tmp_path):
    def records(amount, *links):
        orders = [line(who, f"2024-01-0{day}", amount * day) for who, day in (("A", 1), ("B", 2), ("C", 3), ("B", 5))]
        frames = {"orders": pd.DataFrame(orders)}
        if links:
            frames["identities"] = pd.DataFrame(links, columns=["customer_id", "master_id", "known_at"])
        return records_from_frames(frames)

    early, late = (AsOf.parse(day, "UTC") for day in ("2024-02-01", "2024-04-01"))
    link = ("B", "A", pd.Timestamp("2024-03-01"))
    snapshots = SnapshotStore(tmp_path)
    for moment in (early, late):
        assert_built(snapshots.snapshot(records(1.0), moment), records(1.0), moment)
    linked = records(1.0, link)
    found, joined = snapshots.snapshot(linked, early), snapshots.snapshot(linked, late)
    assert (found.version, found.computed) == (1, 0)
    assert joined.version == 2
    assert list(joined.snapshot["customer_id"]) == ["A", "C"]
    assert_built(joined, linked, late)
    corrected = records(2.0, link)
    assert_built(snapshots.snapshot(corrected, late), corrected, late)
