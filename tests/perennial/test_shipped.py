"""The records that come with the installation: unpacked like a business's own, the same each time, all usable."""

import hashlib
from pathlib import Path
from typing import get_args

import duckdb
import pytest

from features.records import Records
from features.sources import load_source, read_records
from perennial.errors import SourceError
from perennial.shipped import Dataset, _package_folder, unpack


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return read_records(unpack("complete-journey", tmp_path_factory.mktemp("journey")))


@pytest.fixture(scope="module")
def cdnow(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return read_records(unpack("cdnow", tmp_path_factory.mktemp("cdnow")))


@pytest.mark.parametrize("dataset", get_args(Dataset))
def test_unpacking_twice_writes_the_same_bytes(dataset: Dataset, tmp_path: Path) -> None:
    unpack(dataset, tmp_path / "a")
    unpack(dataset, tmp_path / "b")
    unpack(dataset, tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert "source.toml" in digests(tmp_path / "a")


@pytest.mark.parametrize("dataset", get_args(Dataset))
def test_source_explains_itself_and_claims_no_margin(dataset: Dataset, tmp_path: Path) -> None:
    path = unpack(dataset, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "# margin_rate" in text
    assert all(ord(sign) < 128 for sign in text)
    source = load_source(path)
    assert source.economics.clv_basis == "revenue"
    assert source.consent_default == "allow"
    assert source.name in ("Complete Journey", "CDNOW")
    # Uncommenting the hint must work as the newcomer would do it.
    path.write_text(text.replace("# [economics]", "[economics]").replace("# margin_rate", "margin_rate"))
    assert load_source(path).economics.clv_basis == "margin"


def test_every_shipped_row_is_accepted(journey: Records, cdnow: Records) -> None:
    counts = {report.table: (report.rows, report.accepted) for report in journey.reports}
    assert counts == {
        "orders": (1_469_307, 1_469_307),
        "customers": (2_469, 2_469),
        "offers": (6_589, 6_589),
        "outcomes": (2_102, 2_102),
    }
    assert [(report.rows, report.accepted) for report in cdnow.reports] == [(69_659, 69_659)]


def test_complete_journey_trades_on_the_stores_clock(journey: Records) -> None:
    """The shops of a grocer are quiet from 1 to 5 at night; on UTC that hole would lie in the morning."""
    orders = journey.tables["orders"]
    hours = orders.group_by(hour=orders.local_at.hour()).agg(n=orders.order_id.nunique()).to_pyarrow().to_pylist()
    by_hour = {row["hour"]: row["n"] for row in hours}
    at_night = sum(by_hour.get(hour, 0) for hour in range(1, 6))
    assert at_night < 0.02 * sum(by_hour.values())
    assert journey.as_of().day.isoformat() == "2018-01-01"


def test_complete_journey_amount_and_discount_make_the_shelf_price(tmp_path: Path) -> None:
    """A coupon line costs what its neighbours on the shelf cost: the maker's coupon is paid back to the chain.

    So ``coupon_disc`` is no discount of the chain's and not part of the line's discount.
    """
    orders = unpack("complete-journey", tmp_path).parent / "records" / "orders.parquet"
    share, lines = duckdb.sql(f"""
        WITH lines AS (
            SELECT *, (sales_value + store_discount) / quantity AS price,
                   date_trunc('week', transaction_timestamp) AS week
            FROM '{orders}' WHERE quantity > 0),
        shelf AS (
            SELECT product_id, store_id, week, median(price) AS price
            FROM lines WHERE coupon_disc = 0 GROUP BY ALL)
        SELECT avg((abs(lines.price - shelf.price) < 0.011)::INT), count(*)
        FROM lines JOIN shelf USING (product_id, store_id, week) WHERE coupon_disc > 0""").fetchall()[0]
    assert lines > 900
    assert share > 0.95


def test_complete_journey_counts_units_apart_from_money(journey: Records) -> None:
    orders = journey.tables["orders"]
    facts = (
        orders.aggregate(
            customers=orders.customer_id.nunique(),
            lowest_discount=orders.discount.min(),
            discounted=(orders.discount > 0).sum(),
            spend=orders.amount.sum(),
            returns=orders.is_return.sum(),
            uncategorised=orders.category.isnull().sum(),
            most_units=orders.quantity.max(),
            dearest=orders.amount.max(),
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    assert facts["customers"] == 2_469
    assert facts["lowest_discount"] == 0
    assert facts["discounted"] > 700_000
    assert facts["returns"] == 0
    # 4,836 lines name a product that the product list does not hold, 2,540 are coupons and the like, not fuel.
    assert facts["uncategorised"] == 7_376
    # Fuel is counted in small units: quantity must never be taken for money.
    assert facts["most_units"] == 89_638
    assert facts["dearest"] == 840
    assert facts["spend"] == pytest.approx(4_593_000, rel=0.01)


def test_every_redemption_answers_an_offer(journey: Records) -> None:
    outcomes, offers = journey.tables["outcomes"], journey.tables["offers"]
    answered = outcomes.semi_join(offers, ["customer_id", "offer_id"]).count().to_pyarrow().as_py()
    assert answered == 2_102
    assert set(offers.action_id.to_pyarrow().to_pylist()) == {"Type A", "Type B", "Type C"}


def test_cdnow_is_whole_and_keeps_its_leading_zeros(cdnow: Records) -> None:
    orders = cdnow.tables["orders"]
    facts = (
        orders.aggregate(
            customers=orders.customer_id.nunique(),
            first=orders.customer_id.min(),
            spend=orders.amount.sum(),
            free=(orders.amount == 0).sum(),
            customer_days=(orders.customer_id + orders.local_at.strftime("%Y%m%d")).nunique(),
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    assert (facts["customers"], facts["first"], facts["free"]) == (23_570, "00001", 80)
    assert facts["customer_days"] == 69_659 - 2_068
    assert facts["spend"] == pytest.approx(2_500_315.63, abs=0.01)
    assert cdnow.as_of().day.isoformat() == "1998-07-01"


def test_missing_package_is_named_with_its_remedy() -> None:
    with pytest.raises(SourceError, match=r"'no_such_package'.*not installed; do so"):
        _package_folder("no_such_package", "do so")
