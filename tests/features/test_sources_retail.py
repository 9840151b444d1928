"""Online Retail with the source file that the documentation shows, and what a check finds in it."""

from pathlib import Path

import pytest

from features.mapping import Source, load_source
from features.records import Records
from features.sources import read_records
from features.usability import MEANINGS, REMEDIES, remedy, usability
from tests.features.sourcing import report

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
def retail_source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    if not DATA.is_file():
        pytest.skip(f"the Online Retail records are not at {DATA}")
    folder = tmp_path_factory.mktemp("retail")
    (folder / DATA.name).symlink_to(DATA)
    (folder / "retail.toml").write_text(SOURCE)
    return load_source(folder / "retail.toml")


@pytest.fixture(scope="module")
def retail(retail_source: Source) -> Records:
    return read_records(retail_source)


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


def test_the_facts_and_suspicions_of_online_retail(retail: Records, retail_source: Source) -> None:
    facts = usability(retail_source, retail)
    assert (facts.customers, facts.orders, facts.returns) == (4_339, 18_536, 3_654)
    assert (str(facts.first_day), str(facts.last_day)) == ("2010-12-01", "2011-12-09")
    assert [(entry.column, entry.empty, entry.rows) for entry in facts.missing] == [("customer_id", 135_080, 541_909)]
    assert any(note.startswith("8,905 lines are returns or cancellations") for note in facts.reports[0].notes)
    found = {each.code: each for each in facts.suspicions}
    assert list(found) == [
        "gap",
        "last_day_incomplete",
        "left_censored",
        "non_product_codes",
        "opposite_extremes",
        "identical_rows",
    ]
    assert found["non_product_codes"].examples == ("POST", "M", "C2", "D", "CRUK", "DOT", "BANK CHARGES", "PADS")
    assert found["identical_rows"].rows == 5_268
    assert "80,995 units" in found["opposite_extremes"].text
    assert "ends at 12:50" in found["last_day_incomplete"].text


def test_every_code_the_rules_can_give_has_words() -> None:
    import re

    folder = Path(__file__).parents[2] / "features"
    rules = "".join((folder / f"{name}.py").read_text() for name in ("rules", "repeats", "links", "cleaning"))
    codes = set(re.findall(r'"((?:bad|missing|unknown|out|clock|too|return|discount|withdrawn|lower)_[a-z_]+)"', rules))
    codes |= set(re.findall(r"""['"]((?:duplicate|conflicting|superseded|cyclic)_[a-z]+)['"]""", rules))
    assert len(codes) > 15
    assert codes <= set(MEANINGS)
    assert all(remedy(code) for code in codes)
    assert set(REMEDIES) <= set(MEANINGS)
