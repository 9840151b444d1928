"""Values: what is read, what is put right and counted, what is quarantined and why."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.contract import TABLES
from features.records import Economics
from features.snapshot import build_snapshot
from features.sources import read_records, records_from_frames
from perennial.errors import SourceError
from tests.features.sourcing import COLUMNS, HEAD, ORDERS, column, from_orders, read_orders, report, write

FAR = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=2)
SOON = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (",2024-01-05,10", "missing_customer"),
        ("  ,2024-01-05,10", "missing_customer"),
        ("A,,10", "missing_instant"),
        ("A,05/13/2024,10", "bad_instant"),
        ("A,infinity,10", "bad_instant"),
        ("A,0001-01-01,10", "bad_instant"),
        pytest.param(f"A,{FAR},10", "clock_skew", id="two days ahead"),
        ("A,2024-01-05,", "missing_amount"),
        ("A,2024-01-05,nan", "bad_number"),
        ("A,2024-01-05,-inf", "bad_number"),
        ("A,2024-01-05,1e400", "bad_number"),
        ("A,2024-01-05,ten", "bad_number"),
        ("A\x07B,2024-01-05,10", "bad_id"),
        ("A" * 129 + ",2024-01-05,10", "bad_id"),
        ("A,,ten", "bad_number"),
    ],
)
def test_unusable_row_is_quarantined_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    records = read_orders(tmp_path, f"Z,2024-01-05,1\n{line}\n")
    assert report(records).reasons == {reason: 1}
    assert list(records.quarantine.columns) == ["table", "file", "row", "reason", "original"]
    assert records.quarantine.iloc[0].row == 2
    assert column(records, "customer_id") == ["Z"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"A,{SOON},10", id="an hour ahead"),
        "A" * 128 + ",2024-01-05,10",
        "A,1900-01-03,0",
        "A,2024-01-05,-5",
    ],
)
def test_row_just_inside_the_bounds_is_accepted(tmp_path: Path, line: str) -> None:
    assert report(read_orders(tmp_path, line + "\n")).accepted == 1


@pytest.mark.parametrize(
    ("given_id", "kept", "correction"),
    [
        ("00042", "00042", None),
        ("17850.0", "17850", None),
        ("1.5", "1.5", None),
        (" A\u00a0", "A", "trimmed"),
        ("A\t", "A", "trimmed"),
        ("\u3000é", "é", "trimmed"),
        ("\ufeffA", "A", "trimmed"),
        ("!Aé", "!Aé", None),
        ("Jose\u0301", "José", "unicode_form"),
    ],
)
def test_ids_are_text_in_one_form(tmp_path: Path, given_id: str, kept: str, correction: str | None) -> None:
    records = read_orders(tmp_path, f"{given_id},2024-01-05,10\n")
    assert column(records, "customer_id") == [kept]
    assert report(records).corrections == ({correction: 1} if correction else {})
    assert report(records).conversions == ({"customer_id": 1} if given_id == "17850.0" else {})


def test_numbers_as_ids_are_conversions_of_the_column_not_corrections() -> None:
    records = from_orders([{"customer_id": 17850.0}, {"customer_id": None}, {"customer_id": 2.5e9}])
    assert column(records, "customer_id") == ["17850", "2500000000"]
    found = report(records)
    assert (found.accepted, found.corrected, found.reasons) == (2, 0, {"missing_customer": 1})
    assert found.conversions["customer_id"] == 2


def test_not_a_number_inside_parquet_is_no_missing_value(tmp_path: Path) -> None:
    import duckdb

    duckdb.sql(
        "SELECT 'A' AS id, DATE '2024-01-05' AS at, unnest([1.0::DOUBLE, 'nan', 'inf', NULL]) AS amount"
    ).write_parquet(str(tmp_path / "orders.parquet"))
    records = read_records(write(tmp_path, orders=ORDERS.replace("orders.csv", "orders.parquet")))
    assert report(records).reasons == {"bad_number": 2, "missing_amount": 1}


def test_decimal_comma_and_constants(tmp_path: Path) -> None:
    orders = ORDERS.replace('"amount"', '{ column = "amount", decimal = "," }')
    orders += 'channel = { constant = "web" }\nquantity = { constant = 2 }\n'
    records = read_orders(tmp_path, 'A,2024-01-05,"1.234,50"\nA,2024-01-06,"-0,5"\n', orders=orders)
    assert column(records, "amount") == [1234.5, -0.5]
    assert column(records, "channel") == ["web", "web"]
    assert column(records, "quantity") == [2, 2]


@pytest.mark.parametrize(
    ("format_", "text", "expected"),
    [
        ("%m/%d/%Y %H:%M", "1/2/2024 8:05", pd.Timestamp(2024, 1, 2, 8, 5)),
        ("%Y%m%d", "20240102", pd.Timestamp(2024, 1, 2)),
        ("%d.%m.%Y", "2.1.2024", pd.Timestamp(2024, 1, 2)),
        ("%Y-%m-%d %H:%M:%S%z", "2024-01-02 08:00:00+0200", pd.Timestamp(2024, 1, 2, 6)),
    ],
)
def test_dates_by_format_padded_or_not(tmp_path: Path, format_: str, text: str, expected: pd.Timestamp) -> None:
    orders = ORDERS.replace('"at"', f'{{ column = "at", format = "{format_}" }}')
    records = read_orders(tmp_path, f"A,{text},10\nA,nonsense,10\n", orders=orders)
    assert column(records, "ordered_at") == [expected]
    assert report(records).reasons == {"bad_instant": 1}


@pytest.mark.parametrize(
    ("wall", "instant"),
    [
        ("2017-07-01 12:00", "2017-07-01 16:00"),
        ("2017-03-12 02:30", "2017-03-12 07:30"),  # skipped: read as 03:30 daylight time
        ("2017-11-05 00:30", "2017-11-05 04:30"),
        ("2017-11-05 01:30", "2017-11-05 06:30"),  # twice: the second, standard time
        ("2017-11-05T01:30:00-04:00", "2017-11-05 05:30"),  # its own offset wins
        ("2017-11-05T05:30:00Z", "2017-11-05 05:30"),
    ],
)
def test_wall_clock_of_the_source_and_its_changes(tmp_path: Path, wall: str, instant: str) -> None:
    head = 'currency = "USD"\ntimezone = "America/New_York"\n'
    records = read_orders(tmp_path, f"A,{wall},10\n", head=head)
    expected = pd.Timestamp(instant)
    assert column(records, "ordered_at") == [expected]
    local = expected.tz_localize("UTC").tz_convert("America/New_York").tz_localize(None)
    assert column(records, "local_at") == [local]
    assert column(records, "known_at") == [expected]


def test_column_with_a_zone_of_its_own(tmp_path: Path) -> None:
    orders = ORDERS.replace('"at"', '{ column = "at", timezone = "UTC" }')
    head = 'currency = "USD"\ntimezone = "Asia/Shanghai"\n'
    records = read_orders(tmp_path, "A,2024-01-05 20:00,10\n", head=head, orders=orders)
    assert column(records, "ordered_at") == [pd.Timestamp(2024, 1, 5, 20)]
    assert column(records, "local_at") == [pd.Timestamp(2024, 1, 6, 4)]


def test_naive_instants_without_any_zone_are_refused(tmp_path: Path) -> None:
    head = 'currency = "USD"\n'
    with pytest.raises(SourceError, match=r"ordered_at: 1 instants .* no zone"):
        read_orders(tmp_path, "A,2024-01-05T10:00:00Z,10\nA,2024-01-05,10\n", head=head)
    records = read_orders(tmp_path, "A,2024-01-05T10:00:00Z,10\n", head=head)
    assert records.timezone == "UTC"


def test_naive_parquet_without_any_zone_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["A"], "at": [pd.Timestamp("2024-01-05")], "amount": [1.0]})
    frame.to_parquet(tmp_path / "orders.parquet")
    orders = ORDERS.replace("orders.csv", "orders.parquet")
    with pytest.raises(SourceError, match="no zone"):
        read_records(write(tmp_path, head='currency = "USD"\n', orders=orders))


def test_known_at_is_kept_apart_and_defaults_row_by_row() -> None:
    records = from_orders([{"known_at": "2024-02-01"}, {"known_at": None}])
    assert column(records, "known_at") == [pd.Timestamp(2024, 2, 1), pd.Timestamp(2024, 1, 5)]


def test_returns_by_prefix_quantity_and_amount(tmp_path: Path) -> None:
    orders = (
        '[orders]\npath = "orders.csv"\ncustomer_id = "id"\nordered_at = "at"\norder_id = "order"\n'
        'quantity = "n"\nunit_price = "price"\ncancelled_prefix = "C"\n'
    )
    lines = "A,2024-01-05,1,2,5\nA,2024-01-06,C2,-1,5\nA,2024-01-07,C3,3,5\nA,2024-01-08,4,1,-7\nA,2024-01-09,5,0,5\n"
    records = read_records(write(tmp_path, orders=orders, orders_csv="id,at,order,n,price\n" + lines))
    assert column(records, "is_return") == [False, True, True, True, False]
    assert column(records, "amount") == [10, -5, -15, -7, 0]
    assert column(records, "quantity") == [2, -1, -3, 1, 0]
    assert report(records).corrections == {"return_sign": 1}
    assert any(note.startswith("3 lines are returns") for note in report(records).notes)
    assert any(note.startswith("1 lines have the value 0") for note in report(records).notes)


def test_overflowing_product_is_quarantined() -> None:
    rows = [
        {"amount": None, "quantity": 1e200, "unit_price": 1e200},
        {"amount": None, "quantity": 2.0, "unit_price": 3.0},
    ]
    records = from_orders(rows)
    assert report(records).reasons == {"too_large": 1}
    assert column(records, "amount") == [6]


def test_what_exact_sums_cannot_hold_is_quarantined() -> None:
    records = from_orders(
        [{"amount": 1e20}, {"amount": -1e13}, {"quantity": 1e15}, {"discount": 1e13}, {"amount": 1e12}]
    )
    assert report(records).reasons == {"too_large": 4}
    assert build_snapshot(records, records.as_of())["spend_total"].tolist() == [1e12]


def test_negative_discount_is_made_positive_and_counted() -> None:
    records = from_orders([{"discount": -2.0}, {"discount": 1.0}])
    assert column(records, "discount") == [2, 1]
    assert report(records).corrections == {"discount_sign": 1}


def test_without_order_id_customer_and_instant_make_the_order() -> None:
    records = from_orders([{"ordered_at": "2024-01-05 10:00"}, {"ordered_at": "2024-01-05 10:00"}, {}])
    ids = column(records, "order_id")
    assert ids[0] == ids[1] != ids[2]


def test_repeated_line_id_keeps_one_of_equals_and_none_of_conflicting() -> None:
    rows: list[dict[str, Any]] = [
        {"line_id": "1"},
        {"line_id": "1", "customer_id": " A"},
        {"line_id": "2"},
        {"line_id": "2", "amount": 11.0},
        {"line_id": "2"},
        {"line_id": "3", "known_at": "2024-03-01"},
        {"line_id": "3", "known_at": "2024-02-01"},
        {"line_id": None},
        {"line_id": None},
    ]
    records = from_orders(rows)
    assert report(records).reasons == {"conflicting_line": 3, "duplicate_line": 2}
    assert column(records, "line_id") == ["1", "3", None, None]
    assert column(records, "known_at")[1] == pd.Timestamp(2024, 2, 1)


def test_a_faulty_twin_does_not_condemn_the_good_line() -> None:
    records = from_orders([{"line_id": "1"}, {"line_id": "1", "customer_id": None}])
    assert report(records).reasons == {"missing_customer": 1}


def test_line_ids_of_two_shops_do_not_meet(tmp_path: Path) -> None:
    sections = "".join(
        ORDERS.replace("[orders]", "[[orders]]").replace("orders.csv", name) + 'line_id = "line"\n'
        for name in ("a.csv", "b.csv")
    )
    files = {"a_csv": "id,at,amount,line\nA,2024-01-05,1,1\n", "b_csv": "id,at,amount,line\nB,2024-01-05,2,1\n"}
    assert report(read_records(write(tmp_path, orders=sections, **files))).accepted == 2


def test_equal_rows_without_line_id_are_kept_and_reported(tmp_path: Path) -> None:
    records = read_orders(tmp_path, "A,2024-01-05,10\nA,2024-01-05,10\nA,2024-01-05,10\nB,2024-01-05,1\n")
    assert report(records).accepted == 4
    assert [read.identical for read in report(records).inputs] == [2]


def test_unused_columns_are_named(tmp_path: Path) -> None:
    records = read_records(write(tmp_path, orders_csv="id,at,amount,colour\nA,2024-01-05,10,red\n"))
    (read,) = report(records).inputs
    assert read.unused == ("colour",)


def test_how_a_file_was_read_and_what_is_missing_in_it_is_said(tmp_path: Path) -> None:
    orders = ORDERS + 'encoding = "gb18030"\nchannel = "渠道"\n'
    lines = "id;at;amount;渠道\nA;2024-01-05;10;门店\nB;2024-01-05;; \n"
    (read,) = report(read_records(write(tmp_path, orders=orders, orders_csv=lines.encode("gb18030")))).inputs
    assert (read.file, read.rows, read.encoding, read.delimiter) == ("orders.csv", 2, "gb18030", ";")
    assert read.missing == {"customer_id": 0, "ordered_at": 0, "amount": 1, "channel": 1}


def test_mixed_currencies_are_refused_unless_rates_are_given(tmp_path: Path) -> None:
    orders = ORDERS + 'currency = "money"\ndiscount = "off"\n'
    lines = "id,at,amount,money,off\nA,2024-01-05,10,usd,1\nA,2024-01-06,10,,2\nA,2024-01-07,10,EUR,3\n"
    with pytest.raises(SourceError, match=r"USD \(1 lines\).*\[rates\]"):
        read_records(write(tmp_path, orders=orders, orders_csv=lines))
    source = write(tmp_path, head=HEAD + "[rates]\nUSD = 0.5\n", orders=orders, orders_csv=lines)
    records = read_records(source)
    assert column(records, "amount") == [5, 10, 10]
    assert column(records, "discount") == [0.5, 2, 3]
    assert column(records, "currency") == ["USD", "EUR", "EUR"]
    assert any("converted to EUR" in note for note in report(records).notes)


def test_currency_of_an_unusable_row_does_not_refuse_the_source(tmp_path: Path) -> None:
    lines = "id,at,amount,money\nA,2024-01-05,10,EUR\n,2024-01-06,10,USD\n"
    records = read_records(write(tmp_path, orders=ORDERS + 'currency = "money"\n', orders_csv=lines))
    assert report(records).reasons == {"missing_customer": 1}


def test_a_file_may_name_its_columns_as_the_reader_names_its_own(tmp_path: Path) -> None:
    lines = "id,at,amount,reason,part,row,file\n,2024-01-05,10,r,p,1,f\nA,2024-01-05,10,r,p,2,f\n"
    records = read_records(write(tmp_path, orders_csv=lines))
    assert report(records).reasons == {"missing_customer": 1}


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_zoned_instants_of_every_precision_are_instants(unit: str) -> None:
    at = pd.Series([pd.Timestamp("2024-07-01 10:00", tz="Europe/Berlin")]).dt.as_unit(unit)
    records = records_from_frames({"orders": pd.DataFrame({"customer_id": ["A"], "ordered_at": at, "amount": [1.0]})})
    assert str(column(records, "ordered_at")[0]) == "2024-07-01 08:00:00"


def test_every_contract_table_is_there_with_its_exact_schema() -> None:
    records = from_orders([{}])
    for name, table in TABLES.items():
        assert records.tables[name].schema() == table.schema
    assert [entry.table for entry in records.reports] == ["orders"]


OTHERS = {
    "customers": pd.DataFrame(
        {
            "customer_id": ["A", "B", "A", "C", "D"],
            "birthday": ["1990-02-03", None, "1991-02-03", "31.31.1990", None],
            "timezone": ["Europe/Paris", "Mars/X", None, None, None],
            "margin_rate": [0.5, None, None, None, 1.5],
        }
    ),
    "interactions": pd.DataFrame(
        {
            "customer_id": ["A", "A", "A", "A", "A"],
            "occurred_at": "2024-01-05",
            "kind": ["nps", "nps", "satisfaction", "dance", None],
            "value": [10, 11, 0, 1, 1],
        }
    ),
    "offers": pd.DataFrame(
        {
            "customer_id": "A",
            "occurred_at": "2024-01-05",
            "action_id": "x",
            "propensity": [0.0, 0.5, 1.0],
            "control": ["no", "YES", "perhaps"],
        }
    ),
    "consents": pd.DataFrame(
        {
            "customer_id": "A",
            "occurred_at": "2024-01-05",
            "channel": ["Email", "pigeon", "pigeon", None, "sms"],
            "purpose": [None, None, None, "service", None],
            "granted": [True, True, False, False, None],
        }
    ),
    "identities": pd.DataFrame({"customer_id": ["A", "B"], "master_id": ["M", None]}),
}


def test_customers_keep_the_last_row_and_fall_back_to_the_source_zone() -> None:
    records = records_from_frames(OTHERS, timezone="Asia/Shanghai")
    found = report(records, "customers")
    assert found.reasons == {"superseded_customer": 1, "bad_day": 1, "out_of_range": 1}
    assert found.corrections == {"unknown_timezone": 1}
    assert column(records, "customer_id", "customers") == ["B", "A"]
    assert column(records, "birthday", "customers") == [None, date(1991, 2, 3)]
    assert column(records, "timezone", "customers") == ["Asia/Shanghai", "Asia/Shanghai"]


def test_interactions_have_known_kinds_and_scores_in_range() -> None:
    found = report(records_from_frames(OTHERS), "interactions")
    assert found.reasons == {"out_of_range": 2, "unknown_kind": 1, "missing_kind": 1}


def test_offers_have_propensities_above_zero() -> None:
    records = records_from_frames(OTHERS)
    assert report(records, "offers").reasons == {"out_of_range": 1, "bad_flag": 1}
    assert column(records, "control", "offers") == [True]


def test_a_refusal_for_an_unknown_channel_is_never_lost() -> None:
    records = records_from_frames(OTHERS)
    found = report(records, "consents")
    assert found.reasons == {"unknown_channel": 1, "missing_granted": 1}
    assert found.corrections == {"lower_case": 1, "withdrawn_everywhere": 1}
    assert column(records, "channel", "consents") == ["email", None, None]
    assert column(records, "granted", "consents") == [True, False, False]
    assert column(records, "purpose", "consents") == ["marketing", "marketing", "service"]


def test_identities_need_both_ids() -> None:
    assert report(records_from_frames(OTHERS), "identities").reasons == {"missing_master_id": 1}


def test_frames_carry_their_settings_and_refuse_what_the_contract_does_not_know() -> None:
    records = from_orders([{}], currency="eur", economics=Economics(0.4), timezone="Europe/Paris")
    assert (records.currency, records.timezone, records.economics.margin_rate) == ("EUR", "Europe/Paris", 0.4)
    assert records.consent_default == "allow"
    with pytest.raises(SourceError, match="did you mean 'orders'"):
        records_from_frames({"order": pd.DataFrame()})
    with pytest.raises(SourceError, match="ordered_at is missing; did you mean 'order_at'"):
        records_from_frames({"orders": pd.DataFrame({"customer_id": ["A"], "order_at": ["2024-01-05"], "amount": [1]})})


def test_empty_and_wholly_missing_columns_of_frames_are_no_fault() -> None:
    frames = {"orders": pd.DataFrame([{"customer_id": "A", "ordered_at": "2024-01-05", "amount": 1, "known_at": None}])}
    frames["outcomes"] = pd.DataFrame(columns=["customer_id", "occurred_at", "kind"])
    records = records_from_frames(frames)
    assert report(records).accepted == 1
    assert report(records, "outcomes").rows == 0


def test_day_after_the_last_order_is_the_default_instant() -> None:
    assert from_orders([{}]).as_of().day == date(2024, 1, 6)
    with pytest.raises(SourceError, match="no usable order"):
        from_orders([{"customer_id": None}]).as_of()


CELLS = st.one_of(
    st.sampled_from(
        ["A", " A", "17850.0", "", "2024-01-05", "2024-01-05T10:00:00+02:00", "2999-01-01", "10", "-3", "nan"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters='\r\n",'), max_size=6),
)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=12))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_add_up_whatever_stands_in_the_cells(tmp_path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    lines = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)
    source = write(tmp_path, orders=ORDERS + 'line_id = "line"\n', orders_csv=COLUMNS.strip() + ",line\n" + lines)
    records = read_records(source)
    assert report(records).rows == len(rows)
    kept = records.tables["orders"].to_pyarrow().to_pylist()
    assert all(row["customer_id"] and row["order_id"] and abs(row["amount"]) < float("inf") for row in kept)


@given(st.lists(st.tuples(st.none() | st.text(max_size=3), st.floats() | st.none()), min_size=1, max_size=12))
@settings(max_examples=15, deadline=None)
def test_counts_add_up_for_frames(rows: list[tuple[str | None, float | None]]) -> None:
    records = from_orders([{"customer_id": customer, "amount": amount} for customer, amount in rows])
    assert report(records).rows == len(rows)
