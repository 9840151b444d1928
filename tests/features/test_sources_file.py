"""The source file: what it may say, and the one line a slip of the pen is answered with."""

from pathlib import Path

import pytest

from features.context import attributes_of, build_context
from features.sources import load_source, read_records
from perennial.errors import SourceError
from tests.features.sourcing import COLUMNS, HEAD, ORDERS, column, read_orders, report, write


def refusal(folder: Path, *, head: str = HEAD, orders: str = ORDERS, **files: str | bytes) -> str:
    files = files or {"orders_csv": COLUMNS + "A,2024-01-05,10\n"}
    with pytest.raises(SourceError) as caught:
        read_records(write(folder, head=head, orders=orders, **files))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("head", "orders", "parts"),
    [
        ('curency = "EUR"\n', ORDERS, ["source.toml", "'curency'", "did you mean 'currency'?"]),
        (HEAD, ORDERS.replace("amount =", "amuont ="), ["[orders]", "'amuont'", "did you mean 'amount'?"]),
        (HEAD, ORDERS.replace("[orders]", "[order]"), ["'order'", "did you mean 'orders'?"]),
        (HEAD, ORDERS.replace('"amount"', '"amuont"'), ["orders.csv", "'amuont'", "mean 'amount'?", "id, at, amount"]),
        (HEAD, ORDERS.replace('"id"', '"ID"'), ["customer_id", "did you mean 'id'?"]),
        (HEAD, ORDERS.replace('customer_id = "id"', ""), ["[orders]", "customer_id is missing"]),
        (HEAD, ORDERS.replace('amount = "amount"', 'quantity = "amount"'), ["quantity and unit_price"]),
        (HEAD, ORDERS.replace("orders.csv", "order.csv"), ["no such file", "did you mean 'orders.csv'?"]),
        (HEAD, ORDERS + 'url = "postgresql://h/d"\n', ["path (files)", "not both"]),
        (HEAD, ORDERS.replace('path = "orders.csv"', 'url = "postgresql://h/d"'), ["table is missing"]),
        (HEAD, ORDERS.replace('path = "orders.csv"', 'url = "mysql://h/d"\ntable = "t"'), ["postgresql://"]),
        (
            HEAD,
            ORDERS.replace('path = "orders.csv"', 'url = "postgresql://u:${NO_SUCH}@h/d"\ntable = "t"'),
            ["NO_SUCH"],
        ),
        (HEAD, ORDERS + 'is_return = "amount"\n', ["'is_return'"]),
        (HEAD, ORDERS + 'cancelled_prefix = "C"\n', ["cancelled_prefix", "order_id"]),
        (HEAD, ORDERS + "channel = 5\n", ["channel", "constant = 5"]),
        (HEAD, ORDERS + 'channel = { column = "x", constant = "y" }\n', ["either column or constant"]),
        (HEAD, ORDERS + 'channel = { colunm = "x" }\n', ["'colunm'", "did you mean 'column'?"]),
        (HEAD, ORDERS.replace('"amount"', '{ column = "amount", format = "%d" }'), ["format", "number"]),
        (HEAD, ORDERS.replace('"amount"', '{ column = "amount", decimal = ";" }'), ["decimal"]),
        (HEAD, ORDERS.replace('"at"', '{ column = "at", format = "%Q" }'), ["ordered_at", "'%Q'"]),
        (HEAD, ORDERS.replace('"at"', '{ column = "at", timezone = "Mars/X" }'), ["ordered_at", "'Mars/X'"]),
        (HEAD, ORDERS + 'encoding = "utf-88"\n', ["encoding", "'utf-88'"]),
        (HEAD, ORDERS + '[customers]\npath = "orders.csv"\ncustomer_id = "id"\nbirthdya = "at"\n', ["'birthday'"]),
        (HEAD, ORDERS + '[customers]\npath = "orders.csv"\ncustomer_id = "id"\nage = "age"\n', ["age = 'age'"]),
        ('timezone = "UTC"\n', ORDERS, ["currency is missing"]),
        ('currency = "Euro"\n', ORDERS, ["'Euro'"]),
        ('currency = "EUR"\ntimezone = "Europe/Londn"\n', ORDERS, ["did you mean 'Europe/London'?"]),
        (HEAD + 'consent_default = "maybe"\n', ORDERS, ["consent_default", "'allow' or 'refuse'"]),
        (HEAD + "[economics]\nmargin_rate = 20\n", ORDERS, ["margin_rate", "0 to 1"]),
        (HEAD + "[economics]\nmargin = 0.2\n", ORDERS, ["'margin'", "margin_rate"]),
        (
            HEAD + "[economics.margin_rate_by_category]\ntea = 30\n",
            ORDERS,
            ["margin_rate_by_category", "tea", "0 to 1"],
        ),
        (HEAD + "[rates]\nUSD = 0\n", ORDERS, ["USD", "above 0"]),
        (HEAD + "[rates]\nEUR = 2.0\n", ORDERS, ["EUR", "itself"]),
        (HEAD, "", ["no [orders] section"]),
        ("currency = EUR\n", ORDERS, ["not a TOML file"]),
    ],
)
def test_slip_is_named_with_file_section_and_remedy(tmp_path: Path, head: str, orders: str, parts: list[str]) -> None:
    message = refusal(tmp_path, head=head, orders=orders)
    for part in (str(tmp_path), *parts):
        assert part in message


def test_missing_source_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.toml: no such source file"):
        load_source(tmp_path / "nowhere.toml")
    with pytest.raises(SourceError, match="is a folder"):
        load_source(tmp_path)


def test_defaults_refuse_contact_and_claim_no_margin(tmp_path: Path) -> None:
    source = load_source(write(tmp_path))
    assert source.consent_default == "refuse"
    assert source.economics.margin_rate is None
    assert source.economics.clv_basis == "revenue"
    assert source.name == "source"


def test_everything_a_source_says_reaches_the_records(tmp_path: Path) -> None:
    head = (
        'name = "Shop"\ncurrency = "eur"\ntimezone = "Asia/Shanghai"\nconsent_default = "allow"\n'
        "[economics]\nmargin_rate = 0.3\ndiscount_rate_per_year = 0.05\n"
    )
    records = read_orders(tmp_path, "A,2024-01-05,10\n", head=head)
    assert (records.name, records.currency, records.timezone) == ("Shop", "EUR", "Asia/Shanghai")
    assert records.consent_default == "allow"
    assert (records.economics.margin_rate, records.economics.discount_rate_per_year) == (0.3, 0.05)


def test_lines_that_name_no_margin_have_the_one_of_their_category(tmp_path: Path) -> None:
    head = 'currency = "EUR"\ntimezone = "UTC"\n[economics.margin_rate_by_category]\ntea = 0.5\n'
    orders = ORDERS + 'category = "kind"\nmargin = "kept"\n'
    rows = ["A,2024-01-05,10,tea,", "A,2024-01-06,10,tea,1", "A,2024-01-07,10,cups,", "A,2024-01-08,-10,tea,"]
    file = "\n".join(["id,at,amount,kind,kept", *rows])
    margins = read_records(write(tmp_path, head=head, orders=orders, orders_csv=file)).tables["orders"]
    assert margins.order_by("ordered_at").margin.to_pyarrow().to_pylist() == [5.0, 1.0, None, -5.0]


def test_byte_order_mark_before_the_source_file_is_no_fault(tmp_path: Path) -> None:
    path = write(tmp_path, orders_csv=COLUMNS + "A,2024-01-05,10\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert report(read_records(path)).accepted == 1


def test_a_table_may_come_from_several_sections_and_globs(tmp_path: Path) -> None:
    orders = ORDERS.replace("[orders]", "[[orders]]").replace("orders.csv", "web.*.csv")
    orders += 'channel = { constant = "web" }\n'
    orders += '[[orders]]\npath = "shops.csv"\ncustomer_id = "who"\nordered_at = "day"\namount = "paid"\n'
    files = {
        "web_1_csv": COLUMNS + "A,2024-01-05,10\n",
        "web_2_csv": "at,amount,id\n2024-01-06,11,B\n",
        "shops_csv": "day,who,paid\n2024-01-07,A,12\n",
    }
    records = read_records(write(tmp_path, orders=orders, **files))
    assert report(records).accepted == 3
    assert column(records, "customer_id") == ["A", "B", "A"]
    assert column(records, "amount") == [10, 11, 12]
    assert column(records, "channel") == ["web", "web", None]


def test_renamed_column_in_one_of_many_files_names_that_file(tmp_path: Path) -> None:
    orders = ORDERS.replace("orders.csv", "*.csv")
    files = {"a_csv": COLUMNS + "A,2024-01-05,10\n", "b_csv": "id,at,Amounts\nA,2024-01-05,10\n"}
    assert "b.csv has no such column; did you mean 'Amounts'?" in refusal(tmp_path, orders=orders, **files)


def test_attributes_of_the_business_are_carried_as_text(tmp_path: Path) -> None:
    customers = '[customers]\npath = "people.csv"\ncustomer_id = "id"\nincome = "Income"\nsize = { constant = 3 }\n'
    files = {
        "orders_csv": COLUMNS + "A,2024-01-05,10\nB,2024-01-05,10\n",
        "people_csv": "id,Income,shoe\nA,35-49K,42\n",
    }
    records = read_records(write(tmp_path, orders=ORDERS + customers, **files))
    assert records.attributes == ("income", "size")
    assert records.tables["customers"].schema()["income"].is_string()
    assert report(records, "customers").inputs[0].unused == ("shoe",)
    context = build_context(records, records.as_of())
    assert context[["customer_id", "income", "size"]].iloc[0].tolist() == ["A", "35-49K", "3"]
    assert context[["income", "size"]].iloc[1].isna().all()


def test_attributes_of_two_sections_stand_beside_each_other(tmp_path: Path) -> None:
    customers = (
        '[[customers]]\npath = "a.csv"\ncustomer_id = "id"\nincome = "income"\n'
        '[[customers]]\npath = "b.csv"\ncustomer_id = "id"\nclub = "club"\n'
    )
    files = {"orders_csv": COLUMNS + "A,2024-01-05,10\n", "a_csv": "id,income\nA,high\n", "b_csv": "id,club\nB,gold\n"}
    records = read_records(write(tmp_path, orders=ORDERS + customers, **files))
    assert column(records, "income", "customers") == ["high", None]
    assert column(records, "club", "customers") == [None, "gold"]


@pytest.mark.parametrize("name", ["frequency", "last_order_at"])
def test_an_attribute_cannot_take_the_name_of_a_computed_fact(tmp_path: Path, name: str) -> None:
    customers = f'[customers]\npath = "people.csv"\ncustomer_id = "id"\n{name} = "x"\n'
    assert "name your attribute otherwise" in refusal(tmp_path, orders=ORDERS + customers)


PEOPLE = '[customers]\npath = "people.csv"\ncustomer_id = "id"\nincome = "Income"\nregion = "Place"\nemail = "Mail"\n'
PEOPLE_FILES = {
    "orders_csv": COLUMNS + "A,2024-01-05,10\nB,2024-01-05,10\n",
    "people_csv": "id,Income,Place,Mail\nA,35-49K,North,a@b.example\nB,,South,\n",
}


def test_attributes_for_fairness_are_named_in_the_source_file(tmp_path: Path) -> None:
    orders = ORDERS + PEOPLE + '[fairness]\nattributes = ["income", "region"]\n'
    records = read_records(write(tmp_path, orders=orders, **PEOPLE_FILES))
    assert records.fairness == ("income", "region")
    known = attributes_of(records, records.as_of(), records.fairness).sort_values("customer_id")
    assert known["income"].tolist()[0] == "35-49K"
    assert known["income"].isna().tolist() == [False, True]
    assert known["region"].tolist() == ["North", "South"]


@pytest.mark.parametrize(
    ("fairness", "parts"),
    [
        ('attributes = ["incme"]', ["'incme' is no attribute that [customers] maps", "did you mean 'income'?"]),
        ('attributes = ["language"]', ["'language' is no attribute", "mapped: income, region"]),
        ('attributes = ["email"]', ["'email' is no attribute"]),
        ('attributes = "income"', ["must be a list of names"]),
        ('attribute = ["income"]', ["unknown key 'attribute'", "'attributes'"]),
    ],
)
def test_an_attribute_for_fairness_that_is_not_mapped_is_an_error(
    tmp_path: Path, fairness: str, parts: list[str]
) -> None:
    message = refusal(tmp_path, orders=f"{ORDERS}{PEOPLE}[fairness]\n{fairness}\n", **PEOPLE_FILES)
    for part in ("source.toml: [fairness]", *parts):
        assert part in message
