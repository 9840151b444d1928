"""Damaged, foreign and empty files: refused whole and named, or read when the mapping says how."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from features.sources import read_records
from perennial.errors import SourceError
from tests.features.sourcing import COLUMNS, ORDERS, column, read_orders, report, write

CITIES = "A,2024-01-05,10,北京\nB,2024-01-06,11,上海\n"
TOWNS = "A,2024-01-05,10,Münster\nB,2024-01-06,11,Orléans\n"
WITH_CITY = "id,at,amount,city\n"
CHANNEL = 'channel = "city"\n'


def refused(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    with pytest.raises(SourceError) as caught:
        read_records(write(folder, orders=ORDERS.replace("orders.csv", name)))
    message = str(caught.value)
    assert "\n" not in message
    assert name in message
    return message


def parquet(folder: Path, frame: pd.DataFrame) -> bytes:
    path = folder / "whole.parquet"
    frame.to_parquet(path)
    return path.read_bytes()


def many_orders(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"id": range(rows), "at": pd.Timestamp("2024-01-05"), "amount": 1.0})


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "the file is empty"),
        (COLUMNS.encode(), "no rows"),
        (b"id,at,amount", "no rows"),
        (b"\n\nA,2024-01-05,10\n", "first line is empty"),
        (b"id,at,amount,Amount\nA,2024-01-05,10,10\n", "'amount', 'Amount'"),
        (b"id,at,amount\nA;2024-01-05;10\nB;2024-01-05;10\n", "delimiter ','"),
        (b'id,at,amount\nA,2024-01-05,10\nB,"2024-01-06,11\nC,2024-01-07,12\n', "line 3 opens a quote"),
        (b"PK\x03\x04 a workbook", "workbook"),
        ((WITH_CITY + CITIES).encode("gb18030"), 'encoding = "gb18030"'),
        ((WITH_CITY + TOWNS).encode("cp1252"), 'encoding = "cp1252"'),
        (("编号,at,amount,city\n" + CITIES).encode("gb18030"), 'encoding = "gb18030"'),
        ((WITH_CITY + TOWNS).encode("utf-16-le"), 'encoding = "utf-16-le"'),
        (gzip.compress(("id,at,amount\n" + "A,2024-01-05,10\n" * 9999).encode(), mtime=0)[:-20], "cut short"),
    ],
)
def test_unusable_text_file_is_refused_and_named(tmp_path: Path, content: bytes, word: str) -> None:
    assert word in refused(tmp_path, "orders.csv", content)


def test_wrong_encoding_deep_in_a_file_is_found(tmp_path: Path) -> None:
    lines = "A,2024-01-05,10,x\n" * 5000 + TOWNS
    assert "line 5002 is not UTF-8" in refused(tmp_path, "orders.csv", (WITH_CITY + lines).encode("cp1252"))


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_another_encoding_is_read_when_the_mapping_says_so(tmp_path: Path, encoding: str) -> None:
    orders = ORDERS + CHANNEL + f'encoding = "{encoding}"\n'
    source = write(tmp_path, orders=orders, orders_csv=(WITH_CITY + CITIES).encode(encoding))
    assert column(read_records(source), "channel") == ["北京", "上海"]


def test_a_wrongly_named_encoding_is_not_read_as_mojibake(tmp_path: Path) -> None:
    orders = ORDERS + CHANNEL + 'encoding = "ascii"\n'
    with pytest.raises(SourceError, match="change encoding"):
        read_records(write(tmp_path, orders=orders, orders_csv=(WITH_CITY + CITIES).encode()))


def test_truncated_and_overwritten_parquet_are_refused_whole(tmp_path: Path) -> None:
    whole = parquet(tmp_path, many_orders(50_000))
    assert "cut short" in refused(tmp_path, "orders.parquet", whole[:-200])
    assert "cut short" in refused(tmp_path, "orders.parquet", b"PAR1" + b"\0" * 40)
    # A damaged page in a file whose footer is whole only shows while the rows are read.
    assert "orders.parquet" in refused(tmp_path, "orders.parquet", whole[:60] + b"\xff" * 3000 + whole[3060:])


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    assert "no rows" in refused(tmp_path, "orders.parquet", parquet(tmp_path, many_orders(0)))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfid,at,amount\nA,2024-01-05,10\nB,2024-01-06,11\n",
        b"id,at,amount\r\nA,2024-01-05,10\r\nB,2024-01-06,11\r\n",
        b"id,at,amount\r\nA,2024-01-05,10\nB,2024-01-06,11\r\n",
        b"amount;id;at\n10;A;2024-01-05\n11;B;2024-01-06\n",
        b"id\tat\tamount\nA\t2024-01-05\t10\nB\t2024-01-06\t11",
        b'"id"|"at"|"amount"|"a,b,c,d,e"\nA|2024-01-05|10|\n\nB|2024-01-06|11|\n',
        gzip.compress(b"id,at,amount\nA,2024-01-05,10\nB,2024-01-06,11\n", mtime=0),
    ],
    ids=["bom", "crlf", "mixed-line-ends", "semicolon-reordered", "tab", "bar", "gzip"],
)
def test_usual_forms_of_csv_are_read_alike(tmp_path: Path, content: bytes) -> None:
    records = read_records(write(tmp_path, orders_csv=content))
    assert report(records).accepted == 2
    assert column(records, "customer_id") == ["A", "B"]
    assert column(records, "amount") == [10, 11]


def test_line_without_the_header_columns_is_quarantined_with_its_place(tmp_path: Path) -> None:
    lines = "A,2024-01-05,10\nB,2024-01-06,11,12\nC,2024-01-07\nD,2024-01-08,nan\nE,2024-01-09,13\n"
    records = read_orders(tmp_path, lines)
    assert report(records).reasons == {"malformed_line": 2, "bad_number": 1}
    kept = records.quarantine.set_index("row")
    assert list(kept.index) == [2, 3, 4]
    assert list(kept.reason) == ["malformed_line", "malformed_line", "bad_number"]
    assert json.loads(kept.original[2]) == {"line": "B,2024-01-06,11,12"}
    assert json.loads(kept.original[4]) == {"id": "D", "at": "2024-01-08", "amount": "nan"}
    assert column(records, "customer_id") == ["A", "E"]


def test_nothing_is_used_when_one_of_two_files_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"")
    with pytest.raises(SourceError, match=r"b\.csv"):
        read_records(write(tmp_path, orders=ORDERS.replace("orders.csv", "*.csv"), a_csv=COLUMNS + "A,2024-01-05,1\n"))


@pytest.mark.parametrize(
    ("name", "values"),
    [("amount", [True, False]), ("amount", pd.to_datetime(["2024-01-05"] * 2)), ("at", [1.5, 2.5]), ("id", [[1], [2]])],
)
def test_column_of_a_changed_type_is_refused(tmp_path: Path, name: str, values: object) -> None:
    message = refused(tmp_path, "orders.parquet", parquet(tmp_path, many_orders(2).assign(**{name: values})))
    assert f"column {name!r} holds" in message


def test_a_file_name_with_brackets_is_taken_literally(tmp_path: Path) -> None:
    (tmp_path / "a[1].parquet").write_bytes(parquet(tmp_path, many_orders(3)))
    (tmp_path / "a1.parquet").write_bytes(parquet(tmp_path, many_orders(5)))
    source = write(tmp_path, orders=ORDERS.replace("orders.csv", "a[1].parquet"))
    assert report(read_records(source)).accepted == 3
