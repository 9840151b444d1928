"""`perennial check`: what it prints, what it leaves behind, and that its grades are those that training gives."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from features.sources import read_records
from perennial.check import check, default_folder
from perennial.check_files import write
from tests.features.sourcing import ORDERS, report
from tests.features.sourcing import write as write_source

LINES = (
    "id,at,amount,note,=x\n"
    ' A,2024-01-05,10,"fine",\n'
    "B,2024-01-06,ten,=cmd(),\n"
    ",2024-01-07,-3.50,+1 (0),\n"
    "C,2024-01-08,20,ok,\n"
    "D,soon,5,ok,\n"
)


def perennial(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perennial.cli", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path, orders_csv=LINES)


def quarantine(folder: Path, name: str = "orders-orders.csv") -> list[dict[str, str]]:
    text = (folder / "quarantine" / name).read_bytes()
    assert text.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(text.decode("utf-8-sig").splitlines()))


def test_it_prints_what_became_of_the_rows_and_where_it_wrote(source: Path) -> None:
    done = perennial("check", "--source", source.name, cwd=source.parent)
    assert done.returncode == 0, done.stderr
    for part in (
        "Usable: 3 of 5 rows set aside, nothing looks wrong",
        "2024-01-05 to 2024-01-08, 4 days on the clock of UTC; days without times",
        "margin_rate is not set",
        'consent_default = "refuse"',
        "1 set aside  number that cannot be read",
        "orders.csv, row 2: id B, at 2024-01-06, amount ten, note =cmd()",
        "1 corrected  blanks around a value removed",
        "churn, 90 days  D  for grade C:",
        "180 days from the first order to the last: 4 now, 176 more",
        "2024-07-02",
        "50 customers with repeat purchases of value: 0 now, 50 more",
        "orders.csv: 5 rows, utf-8, delimiter ','; columns not used: note, =x",
        "customer_id is empty in 1 of 5 rows",
        "source-check/report.html",
        "source-check/quarantine/orders-orders.csv",
        "add older records (or other files) to source.toml",
    ):
        assert part in done.stdout, part
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert done.stderr == ""


def test_rows_set_aside_open_in_excel_and_run_nothing(source: Path, tmp_path: Path) -> None:
    write(check(source, 90), tmp_path / "out")
    rows = quarantine(tmp_path / "out")
    assert list(rows[0]) == ["file", "row", "reason", "meaning", "id", "at", "amount", "note", "'=x"]
    assert [(row["row"], row["reason"]) for row in rows] == [
        ("2", "bad_number"),
        ("3", "missing_customer"),
        ("5", "bad_instant"),
    ]
    assert rows[0]["note"] == "'=cmd()"
    assert rows[1]["note"] == "'+1 (0)"
    assert rows[1]["amount"] == "-3.50"  # a number runs nothing and must come back as it was


def test_corrected_rows_are_read_back_with_the_same_keys(source: Path) -> None:
    found = check(source, 90)
    folder = default_folder(source)
    write(found, folder)
    path = folder / "quarantine" / "orders-orders.csv"
    path.write_bytes(path.read_bytes().replace(b'"ten"', b'"12.5"').replace(b'"soon"', b'"2024-01-09"'))
    again = ORDERS.replace('"orders.csv"', '"source-check/quarantine/orders-orders.csv"')
    text = source.read_text()
    source.write_text((text + again).replace("[orders]", "[[orders]]"))
    counts = report(read_records(source))
    assert (counts.accepted + counts.corrected, counts.quarantined) == (4, 4)


def test_a_file_that_somebody_edited_is_left_alone_and_a_stale_one_is_not(source: Path) -> None:
    folder = default_folder(source)
    write(check(source, 90), folder)
    path = folder / "quarantine" / "orders-orders.csv"
    written = write(check(source, 90), folder)
    assert path in written
    assert len(list(path.parent.iterdir())) == 1
    path.write_bytes(path.read_bytes() + b"edited")
    written = write(check(source, 90), folder)
    assert path.read_bytes().endswith(b"edited")
    assert folder / "quarantine" / "orders-orders-2.csv" in written


def test_the_report_for_programs_adds_up(source: Path, tmp_path: Path) -> None:
    write(check(source, 90), tmp_path)
    content = json.loads((tmp_path / "report.json").read_text())
    (table,) = content["tables"]
    assert table["accepted"] + table["corrected"] + table["quarantined"] == table["rows"] == 5
    assert sum(reason["rows"] for reason in table["reasons"].values()) == table["quarantined"]
    assert table["inputs"][0]["missing"] == {"customer_id": 1, "ordered_at": 0, "amount": 0}
    assert content["grades"]["churn"]["grade"] == "D"
    assert content["grades"]["clv"]["missing"][0] == {"fact": "repeat_buyers", "have": 0, "need": 50}
    assert (tmp_path / next(iter(content["quarantine_files"]))).is_file()


def test_the_page_is_whole_and_runs_nothing(source: Path, tmp_path: Path) -> None:
    source.write_text('name = "<script>alert(1)</script>"\n' + source.read_text())
    write(check(source, 90), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "number that cannot be read" in page


def test_a_log_without_a_usable_order_says_so_and_fails(source: Path) -> None:
    (source.parent / "orders.csv").write_text("id,at,amount\n,2024-01-05,1\n")
    done = perennial("check", "--source", source.name, "--output", "there", cwd=source.parent)
    assert done.returncode == 1
    assert "Not usable" in done.stdout
    assert json.loads((source.parent / "there" / "report.json").read_text())["usable"] is False


def test_a_folder_that_cannot_be_written_is_one_line(source: Path) -> None:
    done = perennial("check", "--source", source.name, "--output", "orders.csv", cwd=source.parent)
    assert done.returncode == 1
    assert done.stderr.startswith("perennial: orders.csv: the check could not be written")
    assert len(done.stderr.strip().splitlines()) == 1
