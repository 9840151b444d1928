"""Online Retail with the source file that the documentation shows, and what `check` says about it."""

from pathlib import Path

import pytest

from features.records import Records
from features.sources import read_records
from features.usability import MEANINGS, render, usability
from tests.features.sourcing import column, from_orders, read_orders, report

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "online_retail_2010_2011.parquet"
SOURCE = """\
currency = "GBP"
timezone = "Europe/London"
[orders]
path = "online_retail_2010_2011.parquet"
order_id = "InvoiceNo"
customer_id = "CustomerID"
ordered_at = "InvoiceDate"
quantity = "Quantity"
unit_price = "UnitPrice"
product_id = "StockCode"
cancelled_prefix = "C"
"""


@pytest.fixture(scope="module")
def retail(tmp_path_factory: pytest.TempPathFactory) -> Records:
    if not DATA.is_file():
        pytest.skip(f"the Online Retail records are not at {DATA}")
    folder = tmp_path_factory.mktemp("retail")
    (folder / DATA.name).symlink_to(DATA)
    (folder / "retail.toml").write_text(SOURCE)
    return read_records(folder / "retail.toml")


def test_every_line_of_online_retail_is_accounted_for(retail: Records) -> None:
    found = report(retail)
    assert (found.rows, found.accepted, found.corrected) == (541_909, 406_829, 0)
    assert found.reasons == {"missing_customer": 135_080}
    assert found.conversions == {"customer_id": 406_829}
    (read,) = found.inputs
    assert (read.identical, read.unused) == (5_268, ("Description", "Country"))
    assert read.missing["customer_id"] == 135_080


def test_cancelled_invoices_are_returns(retail: Records) -> None:
    orders = retail.tables["orders"]
    cancelled = orders.filter(orders.order_id.startswith("C"))
    assert cancelled.count().to_pyarrow().as_py() == 8_905
    assert orders.filter(orders.is_return).count().to_pyarrow().as_py() == 8_905
    assert orders.amount.sum().to_pyarrow().as_py() == pytest.approx(8_300_065.81, abs=0.01)


def test_customer_ids_lose_the_float_and_product_ids_stay_text(retail: Records) -> None:
    orders = retail.tables["orders"]
    first = orders.order_by("ordered_at", "order_id").limit(3)
    assert set(first.customer_id.to_pyarrow().to_pylist()) == {"17850"}
    assert orders.filter(orders.product_id == "85123A").count().to_pyarrow().as_py() > 2_000


def test_check_says_the_counts_the_reasons_and_the_basis(retail: Records) -> None:
    text = render(retail)
    for part in (
        "4,372 customers with 22,190 orders from 2010-12-01 to 2011-12-09 (Europe/London), in GBP",
        "revenue (no margin given",
        "contact is refused",
        "quarantined 135,080: missing_customer (no customer id)",
        "8,905 lines are returns",
    ):
        assert part in text
    row = next(line for line in text.splitlines() if line.startswith("orders "))
    assert row.split() == ["orders", "541,909", "406,829", "0", "135,080"]


def test_check_of_records_without_a_usable_order_still_says_why() -> None:
    records = from_orders([{"customer_id": None}])
    assert usability(records).first_day is None
    text = render(records)
    assert "No usable order" in text
    assert "quarantined 1: missing_customer" in text


def test_check_names_corrections_and_unknown_reasons_in_words(tmp_path: Path) -> None:
    text = render(read_orders(tmp_path, " A,2024-01-05,10\nB,2024-01-06,ten\n"))
    assert "corrected 1: trimmed (blanks around a value removed)" in text
    assert "orders.csv: amount: 1 values cannot be read, the first in row 2" in text
    assert column(read_orders(tmp_path, " A,2024-01-05,10\n"), "customer_id") == ["A"]


def test_every_code_the_rules_can_give_has_words() -> None:
    import re

    folder = Path(__file__).parents[2] / "features"
    rules = (
        (folder / "rules.py").read_text() + (folder / "reading.py").read_text() + (folder / "cleaning.py").read_text()
    )
    codes = set(re.findall(r'"((?:bad|missing|unknown|out|clock|too|return|discount|withdrawn|lower)_[a-z_]+)"', rules))
    codes |= set(re.findall(r"'((?:duplicate|conflicting|superseded)_[a-z]+)'", rules))
    assert len(codes) > 15
    assert codes <= set(MEANINGS)
