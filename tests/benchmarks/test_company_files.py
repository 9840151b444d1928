"""The company in files: the same rows as in memory, block by block, and read without a loss."""

from dataclasses import fields
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks.company import PURE, CompanySettings, generate
from benchmarks.company.__main__ import main
from benchmarks.company.blocks import BLOCK, make_block
from benchmarks.company.files import Order, write_company
from benchmarks.company.tables import frame
from features.engine import fetch
from features.sources import read_records

DAYS = 150


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Order:
    """Two blocks, the second of 40 customers."""
    return Order(tmp_path_factory.mktemp("company") / "files", BLOCK + 40, DAYS, 5, CompanySettings())


@pytest.fixture(scope="module")
def counts(order: Order) -> dict[str, int]:
    return write_company(order)


def read(folder: Path) -> pd.DataFrame:
    return frame(pq.ParquetFile(folder / "part-00000.parquet").read())


def test_files_hold_what_memory_holds(order: Order, counts: dict[str, int]) -> None:
    company = generate(order.customers, order.days, order.seed)
    for name, table in company.tables.items():
        pd.testing.assert_frame_equal(read(order.folder / name), table)
        assert counts[name] == len(table)
    pd.testing.assert_frame_equal(read(order.folder / "truth" / "customers"), company.truth)
    pd.testing.assert_frame_equal(read(order.folder / "truth" / "offers"), company.offer_truth)


def test_a_block_can_be_generated_alone(order: Order, counts: dict[str, int]) -> None:
    alone = make_block(1, order.customers, order.days, order.seed, order.settings)
    for name, table in alone.tables.items():
        rows = pq.ParquetFile(order.folder / name / "part-00000.parquet").read_row_group(1)
        pd.testing.assert_frame_equal(frame(rows), frame(table))
    other = make_block(0, 40, order.days, order.seed, order.settings)
    assert not set(alone.truth["customers"]["rate_per_day"].to_pylist()) & set(
        other.truth["customers"]["rate_per_day"].to_pylist()
    )
    assert set(alone.truth["customers"]["customer_id"].to_pylist()) == {f"C{BLOCK + i:07d}" for i in range(40)}


def test_the_same_order_gives_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for workers, folder in enumerate(folders, 1):
        write_company(Order(folder, 50, DAYS, 5, CompanySettings()), workers)
    files = [sorted(path.relative_to(folder) for path in folder.rglob("*.*")) for folder in folders]
    assert files[0] == files[1]
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in files[0])
    with pytest.raises(FileExistsError, match="is not empty"):
        write_company(Order(folders[0], 50, DAYS, 5, CompanySettings()))


def test_mess_is_read_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mess = ["--late-share", "0.1", "--second-id-share", "0.3", "--foreign-share", "0.3", "--policy", "targeted"]
    main(["--customers", "400", "--output", str(tmp_path / "mess"), "--workers", "1", *mess])
    assert '"identities"' in capsys.readouterr().out
    records = read_records(tmp_path / "mess" / "source.toml")
    assert len(records.reports) == 7
    assert sum(report.quarantined for report in records.reports) == 0
    orders = fetch(records.tables["orders"])
    assert 0.05 < (orders["known_at"] > orders["ordered_at"]).mean() < 0.15
    people = fetch(records.tables["identities"])
    assert set(people["customer_id"]) & set(orders["customer_id"])
    assert set(people["master_id"]) <= set(orders["customer_id"])


def test_a_table_without_rows_has_no_file(tmp_path: Path) -> None:
    counts = write_company(Order(tmp_path / "pure", 30, DAYS, 5, PURE), workers=1)
    assert counts["outcomes"] == 0
    assert not list((tmp_path / "pure" / "outcomes").iterdir())
    assert {report.table for report in read_records(tmp_path / "pure" / "source.toml").reports} >= {
        "orders",
        "consents",
    }


def test_every_knob_and_every_truth_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "company.md").read_text(encoding="utf-8")
    company = generate(20, days=200)
    columns = [*company.truth, *company.offer_truth, *company.complaint_truth]
    for name in [*(field.name for field in fields(CompanySettings)), *columns]:
        assert f"`{name}`" in page or (name.startswith("uplift_") and "`uplift_<action>`" in page), name
    for field in fields(CompanySettings):
        shown = (
            "on"
            if field.default is True
            else f"{field.default:g}"
            if isinstance(field.default, float)
            else field.default
        )
        assert f"| `{field.name}` | {shown} |" in page, field.name


@pytest.mark.parametrize("wrong", [{"late_share": 1.5}, {"season": -1.0}, {"policy": "greedy"}])
def test_knobs_out_of_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CompanySettings(**wrong)  # type: ignore[arg-type]
