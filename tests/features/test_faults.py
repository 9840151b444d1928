"""Every promise about faulty data, and the tests that keep it; what no other test shows stands below the table."""

from pathlib import Path

import pandas as pd
import pytest

from features.records import AsOf
from features.snapshot import build_snapshot
from features.sources import read_records, records_from_frames
from perennial.errors import SourceError
from tests.features.sourcing import COLUMNS, ORDERS, column, from_orders, read_orders, report, write

TESTS = Path(__file__).parents[1]
PROMISES = {
    "every row is counted once": "sources_values:test_counts_add_up_whatever_stands_in_the_cells",
    "repeated line_id": "sources_values:test_repeated_line_id_keeps_one_of_equals_and_none_of_conflicting",
    "repeated order id": "faults:test_lines_of_one_order_id_are_one_order_and_two_customers_have_two",
    "returns and cancellations": "faults:test_a_return_is_netted_and_never_a_purchase",
    "zero amount": "faults:test_a_free_order_counts_for_timing_and_not_for_its_value",
    "not a number, infinite": "faults:test_nan_and_infinity_are_quarantined",
    "mixed currencies": "sources_values:test_mixed_currencies_are_refused_unless_rates_are_given",
    "at or after the cutoff": "snapshot_properties:test_what_happens_or_becomes_known_later_changes_nothing",
    "clock skew": "faults:test_an_instant_in_the_future_is_clock_skew",
    "late arrivals": "faults:test_a_late_arrival_leaves_old_snapshots_as_they_were",
    "known_at in every event table": "faults:test_known_at_is_read_in_every_event_table",
    "naive timestamps": "sources_values:test_naive_instants_without_any_zone_are_refused",
    "clock changes": "sources_values:test_wall_clock_of_the_source_and_its_changes",
    "ids": "sources_values:test_ids_are_text_in_one_form",
    "ids beyond bounds": "sources_values:test_unusable_row_is_quarantined_with_its_reason",
    "missing customer": "sources_retail:test_every_line_of_online_retail_is_accounted_for",
    "empty or header only": "sources_damage:test_unusable_text_file_is_refused_and_named",
    "truncated Parquet": "sources_damage:test_truncated_and_overwritten_parquet_are_refused_whole",
    "byte order mark, delimiter": "sources_damage:test_usual_forms_of_csv_are_read_alike",
    "wrong delimiter": "sources_damage:test_unusable_text_file_is_refused_and_named",
    "other encodings, named": "faults:test_the_likely_encoding_is_named",
    "other encodings": "sources_damage:test_another_encoding_is_read_when_the_mapping_says_so",
    "UTF-16": "faults:test_utf_16_is_told_by_its_mark",
    "mojibake": "faults:test_utf_8_is_never_read_as_something_else",
    "reordered columns": "sources_damage:test_usual_forms_of_csv_are_read_alike",
    "renamed column": "sources_file:test_renamed_column_in_one_of_many_files_names_that_file",
    "extra column": "sources_values:test_unused_columns_are_named",
    "changed type": "sources_damage:test_column_of_a_changed_type_is_refused",
    "one customer, very many orders": "faults:test_one_customer_with_very_many_orders_stays_in_memory_and_is_flagged",
    "unseen category": "models/table_columns:test_each_category_has_its_place_and_unknown_values_share_one",
    "unseen category: counted": "models/table_columns:test_what_scoring_says_and_refuses",
    "last scores kept": "perennial/whole_line:test_records_that_end_empty_leave_the_last_scores_in_file_and_store",
    "contradicting ids of one person": "identities:test_links_that_cannot_stand_are_quarantined_with_their_rows",
}


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_has_its_test(promise: str) -> None:
    place, name = (PROMISES[promise] if "/" in PROMISES[promise] else f"features/{PROMISES[promise]}").split(":")
    floor, module = place.split("/")
    assert f"\ndef {name}(" in (TESTS / floor / f"test_{module}.py").read_text(encoding="utf-8")


def snapshot(rows: list[dict[str, object]], as_of: str = "2024-03-01") -> pd.DataFrame:
    return build_snapshot(from_orders(rows), AsOf.parse(as_of, "UTC")).set_index("customer_id")


def test_lines_of_one_order_id_are_one_order_and_two_customers_have_two() -> None:
    rows = snapshot([{"order_id": "1"}, {"order_id": "1"}, {"order_id": "1", "customer_id": "B"}])
    assert rows.order_value_mean.to_dict() == {"A": 20.0, "B": 10.0}
    assert rows.basket_lines_mean.to_dict() == {"A": 2.0, "B": 1.0}


def test_a_return_is_netted_and_never_a_purchase() -> None:
    rows = snapshot([{}, {"ordered_at": "2024-01-20", "amount": -4.0}, {"customer_id": "B", "amount": -1.0}])
    assert list(rows.index) == ["A"]  # nobody is a customer by a return alone
    assert (rows.loc["A", "frequency"], rows.loc["A", "spend_total"]) == (0.0, 6.0)


def test_a_free_order_counts_for_timing_and_not_for_its_value() -> None:
    rows = snapshot([{}, {"ordered_at": "2024-01-20", "amount": 8.0}, {"ordered_at": "2024-02-20", "amount": 0.0}])
    assert (rows.loc["A", "frequency"], rows.loc["A", "monetary_value"]) == (2.0, 8.0)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_nan_and_infinity_are_quarantined(tmp_path: Path, value: str) -> None:
    records = read_orders(tmp_path, f"A,2024-01-05,{value}\nB,2024-01-06,1\n")
    assert report(records).reasons == {"bad_number": 1}
    assert report(from_orders([{"amount": float("inf")}, {}])).reasons == {"bad_number": 1}


def test_an_instant_in_the_future_is_clock_skew() -> None:
    now = pd.Timestamp.now("UTC")
    ahead = [{"ordered_at": (now + pd.Timedelta(hours=hours)).isoformat()} for hours in (23, 25)]
    records = from_orders([{}, *ahead, {"known_at": (now + pd.Timedelta(hours=25)).isoformat()}])
    assert report(records).reasons == {"clock_skew": 2}


def test_a_late_arrival_leaves_old_snapshots_as_they_were() -> None:
    late = {"ordered_at": "2024-01-10", "known_at": "2024-03-01"}
    pd.testing.assert_frame_equal(snapshot([{}, late]), snapshot([{}]), check_exact=True)
    assert snapshot([{}, late], "2024-03-02").loc["A", "frequency"] == 1.0


def test_one_customer_with_very_many_orders_stays_in_memory_and_is_flagged() -> None:
    minutes = pd.Timestamp("2024-01-01") + pd.to_timedelta(range(100_000), unit="min")
    orders = pd.DataFrame({"customer_id": "till", "ordered_at": minutes, "amount": 1.0, "order_id": range(100_000)})
    records = records_from_frames({"orders": orders})
    assert any("100,000" in note for note in report(records).notes)
    connection = records.tables["orders"]._find_backend().con
    connection.execute("SET memory_limit = '200MB'; SET temp_directory = ''")  # and nowhere to spill
    row = build_snapshot(records, records.as_of()).iloc[0]
    assert (row.frequency, row.spend_total) == (69, 100_000)


EVENTS = {
    "interactions": ("kind", "nps"),
    "offers": ("action_id", "call"),
    "outcomes": ("kind", "redeemed"),
    "consents": ("granted", "yes"),
}


@pytest.mark.parametrize("table", EVENTS)
def test_known_at_is_read_in_every_event_table(tmp_path: Path, table: str) -> None:
    name, value = EVENTS[table]
    section = (
        f'[{table}]\npath = "e.csv"\ncustomer_id = "id"\noccurred_at = "at"\nknown_at = "learned"\n'
        f'{name} = {{ constant = "{value}" }}\n'
    )
    files = {
        "orders_csv": COLUMNS + "A,2024-01-05,10\n",
        "e_csv": "id,at,learned\nA,2024-01-05,2024-02-01\nA,2024-01-06,\n",
    }
    records = read_records(write(tmp_path, orders=ORDERS + section, **files))
    assert column(records, "known_at", table) == [pd.Timestamp("2024-02-01"), pd.Timestamp("2024-01-06")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_utf_16_is_told_by_its_mark(tmp_path: Path, encoding: str) -> None:
    text = "id;at;amount;where\nA;2024-01-05;10;北京\n"
    records = read_records(write(tmp_path, orders=ORDERS + 'channel = "where"\n', orders_csv=text.encode(encoding)))
    assert column(records, "channel") == ["北京"]
    (read,) = report(records).inputs
    assert (read.encoding, read.delimiter) == (encoding, ";")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "gb18030"])
def test_utf_8_is_never_read_as_something_else(tmp_path: Path, encoding: str) -> None:
    text = "id,at,amount,where\nA,2024-01-05,10,Orléans\n"
    orders = ORDERS + f'channel = "where"\nencoding = "{encoding}"\n'
    with pytest.raises(SourceError, match="garble"):
        read_records(write(tmp_path, orders=orders, orders_csv=text.encode()))


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "张伟,李娜"),
        ("big5", "台北市信義區"),
        ("cp1251", "Москва"),
        ("shift_jis", "東京都"),
        ("cp1252", "Ñandú"),
    ],
)
def test_the_likely_encoding_is_named(tmp_path: Path, encoding: str, text: str) -> None:
    lines = f'id,at,amount,where\nA,2024-01-05,10,"{text}"\nB,2024-01-05,10,"{text}"\n'
    with pytest.raises(
        SourceError, match=f'line 2 is not UTF-8; it looks like {encoding}: add encoding = "{encoding}"'
    ):
        read_records(write(tmp_path, orders_csv=lines.encode(encoding)))


def test_row_numbers_hold_around_malformed_lines_and_repeats(tmp_path: Path) -> None:
    orders = ORDERS + 'line_id = "line"\n'
    lines = "A,2024-01-05,1,1\nbroken\nbroken,\nB,2024-01-05,x,2\nC,2024-01-05,1,1\nbroken\nD,2024-01-05,1,9\n"
    records = read_records(write(tmp_path, orders=orders, orders_csv="id,at,amount,line\n" + lines))
    kept = records.quarantine
    assert list(zip(kept.row, kept.reason, strict=True)) == [
        (1, "conflicting_line"),
        (2, "malformed_line"),
        (3, "malformed_line"),
        (4, "bad_number"),
        (5, "conflicting_line"),
        (6, "malformed_line"),
    ]
    assert '"id":"C"' in kept.original[4]
    assert any("first in row 4" in note for note in report(records).notes)


def test_the_working_folder_goes_with_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("features.sources.LARGE_BYTES", 0)
    records = read_orders(tmp_path, "A,2024-01-05,10\n")
    assert [path.name[:10] for path in (tmp_path / "temporary").iterdir()] == ["perennial-"]
    assert column(records, "amount") == [10.0]
    del records
    gc.collect()
    assert not list((tmp_path / "temporary").iterdir())
