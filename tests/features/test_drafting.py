"""`perennial init`: a draft loads and reads as it stands, and says what it guessed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.company import generate
from features.drafting import draft
from features.drafting.vocabulary import likeness
from features.mapping import Source, load_source
from features.records import Records
from features.sources import read_records
from perennial.errors import SourceError
from tests.features.sourcing import column, report

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def drafted(folder: Path, *files: Path) -> tuple[str, Source, Records]:
    """Draft, load and read; return the text, the source and the records."""
    output = folder / "source.toml"
    text = draft(files, output).text
    output.write_text(text, encoding="utf-8")
    source = load_source(output)
    return text, source, read_records(source)


def mapped(source: Source, table: str = "orders") -> dict[str, object]:
    (section,) = [section for section in source.sections if section.table == table]
    return {name: field.column or field.constant for name, field in section.fields.items()}


def frame(rows: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    when = pd.Timestamp("2024-01-03 09:00") + pd.to_timedelta(np.sort(rng.integers(0, 200 * 86_400, rows)), unit="s")
    return pd.DataFrame(
        {
            "who": rng.integers(10_000, 10_080, rows),
            "when": when,
            "order": np.arange(rows) // 2 + 700_000,
            "item": [f"A-{number}" for number in rng.integers(100, 140, rows)],
            "units": rng.integers(1, 9, rows),
            "money": rng.gamma(3, 500, rows).round(2),
        }
    )


def german(value: float) -> str:
    return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))


def test_a_german_shop_export(tmp_path: Path) -> None:
    made = frame()
    lines = ["Bestellnummer;Kundennr.;Bestelldatum;Artikelnr;Menge;Umsatz (brutto);Größe"] + [
        f"{row.order};{row.who};{row.when:%d.%m.%Y %H:%M};{row.item};{row.units};{german(row.money)};groß"
        for row in made.itertuples()
    ]
    path = tmp_path / "bestellungen.csv"
    path.write_bytes("\r\n".join(lines).encode("latin-1"))
    text, source, records = drafted(tmp_path, path)
    assert mapped(source) == {
        "customer_id": "Kundennr.",
        "ordered_at": "Bestelldatum",
        "order_id": "Bestellnummer",
        "amount": "Umsatz (brutto)",
        "quantity": "Menge",
        "product_id": "Artikelnr",
    }
    (section,) = source.sections
    assert section.fields["ordered_at"].format == "%d.%m.%Y %H:%M"
    assert section.fields["amount"].decimal == ","
    assert section.encoding == "cp1252"
    assert (source.currency, source.timezone, source.consent_default) == ("EUR", "Europe/Berlin", "refuse")
    assert "the headings are German" in text
    assert "# not used: Größe" in text
    assert report(records).accepted == len(made)
    assert sum(column(records, "amount")) == pytest.approx(made["money"].sum())


def test_a_chinese_export_in_gbk(tmp_path: Path) -> None:
    made = frame()
    lines = ["订单编号,会员编号,下单时间,商品编号,数量,实付金额,门店"] + [
        f"{row.order},{row.who},{row.when:%Y/%m/%d %H:%M:%S},{row.item},{row.units},{row.money},南京东路店"
        for row in made.itertuples()
    ]
    path = tmp_path / "订单.csv"
    path.write_bytes("\n".join(lines).encode("gbk"))
    text, source, records = drafted(tmp_path, path)
    assert mapped(source) == {
        "customer_id": "会员编号",
        "ordered_at": "下单时间",
        "order_id": "订单编号",
        "amount": "实付金额",
        "quantity": "数量",
        "product_id": "商品编号",
    }
    assert source.sections[0].encoding == "gb18030"
    assert (source.currency, source.timezone) == ("CNY", "Asia/Shanghai")
    assert "# not used: 门店" in text
    assert report(records).accepted == len(made)


def test_online_retail(tmp_path: Path) -> None:
    path = DATA / "online_retail_2010_2011.parquet"
    if not path.is_file():
        pytest.skip(f"the Online Retail records are not at {path}")
    text, source, records = drafted(tmp_path, path)
    assert mapped(source) == {
        "customer_id": "CustomerID",
        "ordered_at": "InvoiceDate",
        "order_id": "InvoiceNo",
        "quantity": "Quantity",
        "unit_price": "UnitPrice",
        "product_id": "StockCode",
    }
    assert source.sections[0].cancelled_prefix == "C"
    assert (source.currency, source.timezone) == ("GBP", "Europe/London")
    assert "# not used: Description, Country" in text
    assert report(records).reasons == {"missing_customer": 135_080}


def test_a_log_without_money_is_drafted_for_timing(tmp_path: Path) -> None:
    path = DATA / "grocery_elog.csv.gz"
    if not path.is_file():
        pytest.skip(f"the grocery log is not at {path}")
    text, source, records = drafted(tmp_path, path)
    assert mapped(source) == {"customer_id": "cust", "ordered_at": "date", "amount": 0}
    assert "only timing can be learned" in text
    assert report(records).accepted == 10_483


def test_a_labelled_table_is_told_and_the_command_named(tmp_path: Path) -> None:
    rows = "".join(f"{n:04}-X,{n % 60},{'Yes' if n % 3 else 'No'},{n * 1.5}\n" for n in range(90))
    path = tmp_path / "telco.csv"
    path.write_text("customerID,tenure,Churn,MonthlyCharges\n" + rows)
    with pytest.raises(SourceError, match="labelled table") as refused:
        draft([path], tmp_path / "source.toml")
    assert f"perennial train churn --table {path} --label Churn --positive Yes --id customerID --name telco" in str(
        refused.value
    )
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("written", "format_", "words"),
    [
        ("%m/%d/%Y", "%m/%d/%Y", ""),
        ("%d/%m/%Y", "%d/%m/%Y", ""),
        ("%-m/%-d/%Y %H:%M", "%m/%d/%Y %H:%M", ""),
        ("%Y%m%d", "%Y%m%d", ""),
        ("%Y年%-m月%-d日", "%Y年%m月%d日", ""),
        ("%d %b %Y", "%d %b %Y", ""),
        ("%Y-%m-%dT%H:%M:%S+01:00", None, ""),
        ("%Y-%m-%d %H:%M:%S", None, ""),
    ],
)
def test_dates_are_read_as_they_are_written(tmp_path: Path, written: str, format_: str | None, words: str) -> None:
    made = frame(200)
    lines = "".join(f"{row.who},{row.when.strftime(written)},{row.money}\n" for row in made.itertuples())
    (tmp_path / "sales.csv").write_text("customer,date,amount\n" + lines, encoding="utf-8")
    _, source, records = drafted(tmp_path, tmp_path / "sales.csv")
    assert source.sections[0].fields["ordered_at"].format == format_
    assert report(records).accepted == 200
    days = {str(value)[:10] for value in column(records, "local_at")}
    assert days <= {str(day.date()) for day in pd.date_range("2024-01-02", "2024-07-22")}


def test_days_below_13_are_told_apart_by_their_order_in_the_file(tmp_path: Path) -> None:
    days = [f"{day}/{month}/2024" for month in range(1, 7) for day in range(1, 13)]
    lines = "".join(f"C{n % 20},{day},5.5\n" for n, day in enumerate(days))
    (tmp_path / "sales.csv").write_text("customer,date,amount\n" + lines)
    text, source, _ = drafted(tmp_path, tmp_path / "sales.csv")
    assert source.sections[0].fields["ordered_at"].format == "%d/%m/%Y"
    assert "read as %m/%d/%Y they jump back" in text


def test_dates_that_nothing_tells_apart_are_left_to_a_person(tmp_path: Path) -> None:
    lines = "".join(f"C{n % 7},{n % 12 + 1}/{n % 12 + 1}/2024,5.5\n" for n in range(60))
    (tmp_path / "sales.csv").write_text("customer,date,amount\n" + lines)
    text, _, _ = drafted(tmp_path, tmp_path / "sales.csv")
    assert "would read every date too; which comes first?" in text


def test_columns_without_telling_names_are_found_by_their_values(tmp_path: Path) -> None:
    made = frame(300)
    made[["who", "when", "money"]].set_axis(["a", "b", "c"], axis=1).to_parquet(tmp_path / "export.parquet")
    text, source, _ = drafted(tmp_path, tmp_path / "export.parquet")
    assert mapped(source) == {"customer_id": "a", "ordered_at": "b", "amount": "c"}
    assert "CHECK: an id that comes back" in text
    assert "CHECK: the only column of dates" in text


def test_every_table_of_a_business_is_told(tmp_path: Path) -> None:
    company = generate(400, 300, 7)
    files = []
    for name, rows in company.tables.items():
        files.append(tmp_path / f"{name}.csv")
        rows.to_csv(files[-1], index=False)
    _, source, records = drafted(tmp_path, *files)
    assert [section.table for section in source.sections] == [
        "orders",
        "customers",
        "interactions",
        "offers",
        "outcomes",
        "consents",
    ]
    for section in source.sections:
        assert all(name == field.column for name, field in section.fields.items()), section.table
        assert report(records, section.table).quarantined == 0


def test_two_files_of_orders_become_two_sections(tmp_path: Path) -> None:
    frame(100).to_parquet(tmp_path / "web.parquet")
    frame(120).to_parquet(tmp_path / "shop.parquet")
    text, source, records = drafted(tmp_path, tmp_path / "web.parquet", tmp_path / "shop.parquet")
    assert text.count("[[orders]]") == 2
    assert len(source.sections) == 2
    assert report(records).accepted == 220


def test_a_table_of_something_else_is_left_out_and_said(tmp_path: Path) -> None:
    frame(100).to_parquet(tmp_path / "orders.parquet")
    pd.DataFrame({"colour": ["red", "red"], "shade": ["a", "b"]}).to_parquet(tmp_path / "colours.parquet")
    found = draft([tmp_path / "orders.parquet", tmp_path / "colours.parquet"], tmp_path / "source.toml")
    assert "colours.parquet: no table of the contract" in found.summary[-1]
    with pytest.raises(SourceError, match="no file of orders"):
        draft([tmp_path / "colours.parquet"], tmp_path / "source.toml")


def test_missing_files_are_named_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no such file: .*a\.csv, .*b\.csv"):
        draft([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "source.toml")


@pytest.mark.parametrize("name", ['or"ders.csv', "or'ders [1].csv", "Bücher & Co.csv"])
def test_awkward_names_survive_the_writing(tmp_path: Path, name: str) -> None:
    frame(50).rename(columns={"item": 'product "id"\\'}).to_csv(tmp_path / name, index=False)
    _, source, records = drafted(tmp_path, tmp_path / name)
    assert report(records).accepted == 50
    assert source.files(source.sections[0]) == [tmp_path / name]


@pytest.mark.parametrize(
    ("name", "synonyms", "least"),
    [
        ("CustomerID", "customer_id", 1.0),
        ("Customer ID", "customer_id", 1.0),
        ("shop_customer_id", "customer_id", 0.6),
        ("Größe", "grosse", 1.0),
        ("Stückzahl", "stuckzahl", 1.0),
        ("订单金额", "金额", 0.6),
        ("customer_since", "customer", 0.0),
    ],
)
def test_likeness_of_names(name: str, synonyms: str, least: float) -> None:
    found = likeness(name, synonyms)
    assert found == pytest.approx(least, abs=0.01)


def shopify(rows: int = 120) -> pd.DataFrame:
    """Orders of two lines; the total stands on the first line only."""
    made = frame(rows)
    lines = pd.DataFrame(
        {
            "Name": "#" + made["order"].astype("str"),
            "Email": "c" + made["who"].astype("str") + "@example.com",
            "Created at": made["when"].dt.strftime("%Y-%m-%d %H:%M:%S +0100"),
            "Currency": "EUR",
            "Lineitem quantity": made["units"],
            "Lineitem price": made["money"],
            "Lineitem sku": made["item"],
        }
    )
    worth = (made["units"] * made["money"]).groupby(made["order"]).transform("sum").round(2)
    return lines.assign(Total=worth)


def test_a_total_on_the_first_line_of_an_order_is_not_taken_for_the_lines_value(tmp_path: Path) -> None:
    made = shopify()
    first = ~made["Name"].duplicated()
    made.assign(Total=made["Total"].where(first)).to_csv(tmp_path / "orders_export.csv", index=False)
    text, source, records = drafted(tmp_path, tmp_path / "orders_export.csv")
    found = mapped(source)
    assert (found["customer_id"], found["order_id"], found["unit_price"]) == ("Email", "Name", "Lineitem price")
    assert "amount" not in found
    assert "Total is empty on 50 % of the lines" in text
    assert sum(column(records, "amount")) == pytest.approx(made.loc[first, "Total"].sum())


def test_a_total_on_every_line_of_an_order_is_not_counted_once_per_line(tmp_path: Path) -> None:
    made = shopify()
    made.to_csv(tmp_path / "orders.csv", index=False)
    _, source, records = drafted(tmp_path, tmp_path / "orders.csv")
    assert "amount" not in mapped(source)
    assert sum(column(records, "amount")) == pytest.approx(made.loc[~made["Name"].duplicated(), "Total"].sum())
    made.drop(columns="Lineitem price").to_csv(tmp_path / "orders.csv", index=False)
    text, source, _ = drafted(tmp_path, tmp_path / "orders.csv")
    assert mapped(source)["amount"] == "Total"
    assert "CHECK: Total is the same on all lines of 60 of 60 orders" in text


def test_money_that_is_no_plain_number_is_said(tmp_path: Path) -> None:
    made = frame(60)
    made["amount"] = "€ " + made["money"].astype("str")
    made[["who", "when", "amount"]].rename(columns={"who": "customer"}).to_csv(tmp_path / "orders.csv", index=False)
    text, source, _ = drafted(tmp_path, tmp_path / "orders.csv")
    assert mapped(source)["amount"] == 0
    assert "amount may be money, but '€ " in text


@pytest.mark.parametrize(
    ("headings", "zone"),
    [
        ("id_client,date_achat,numero_facture,montant_ttc,quantité,prix_unitaire,référence produit", "Europe/Paris"),
        (
            "cliente_id,fecha_compra,numero_factura,importe_total,cantidad,precio_unitario,codigo_producto",
            "Europe/Madrid",
        ),
    ],
)
def test_french_and_spanish_headings(tmp_path: Path, headings: str, zone: str) -> None:
    made = frame(200)
    values = made[["who", "when", "order", "money", "units"]].assign(
        price=made["money"] / made["units"], item=made["item"]
    )
    values["money"] = values["price"] * values["units"]
    values.set_axis(headings.split(","), axis=1).to_csv(tmp_path / "export.csv", index=False)
    _, source, _ = drafted(tmp_path, tmp_path / "export.csv")
    names = headings.split(",")
    assert mapped(source) == dict(
        zip(
            ("customer_id", "ordered_at", "order_id", "amount", "quantity", "unit_price", "product_id"),
            names,
            strict=True,
        )
    )
    assert source.timezone == zone
