"""Spark, a real one on this machine, beside DuckDB: every feature equal to the last bit."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.company import generate
from features.catalogue import FEATURES
from features.context import build_context
from features.records import AsOf, Records
from features.snapshot import build_snapshot
from features.sources import read_records, records_from_frames
from features.spark import on_spark
from perennial.errors import EngineError
from perennial.shipped import unpack

pytestmark = [
    pytest.mark.slow,
    # pyspark 4.3 says so of pandas 3 at each conversion; the others are options and arguments of pandas that pandas 3
    # deprecates, used by pyspark and Ibis
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*(infer_string|copy keyword|drops timezone information)"),
    pytest.mark.filterwarnings("ignore:toPandas attempted Arrow optimization:UserWarning"),  # before what is raised
]

SHANGHAI = "Asia/Shanghai"


def messy(make_records) -> Records:
    """Records in which everything ties, is missing, comes late or goes back, on few instants and few ids."""
    rng = np.random.default_rng(5)
    start = pd.Timestamp("2024-01-01")

    def pick(values, size):
        return np.array(values, dtype=object)[rng.integers(len(values), size=size)]

    def events(size, instant, days=500):
        at = start + pd.to_timedelta(rng.integers(0, days * 4, size=size) * 6, unit="h")
        late = pd.to_timedelta(pick([0, 0, 0, 24, 24 * 40], size).astype(int), unit="h")
        customers = pick([f"c{number}" for number in range(40)] + ["Ω", "茶", "a b", "Z"], size)
        return {"customer_id": customers, instant: at, "known_at": at + late}

    def rows(columns):
        frame = pd.DataFrame(columns)
        return frame.astype(object).where(frame.notna(), None).to_dict("records")

    size = 3000
    amounts = pick([0.0, 0.1, 0.2, 0.3, 1 / 3, 19.99, 5000.125, -0.1, -19.99], size).astype(float)
    orders = rows(
        {
            **events(size, "ordered_at"),
            "order_id": pick([None, *(f"o{number}" for number in range(400))], size),
            "amount": amounts,
            "quantity": pick([None, 1.0, 2.0, 0.5, 1 / 3], size),
            "discount": pick([None, 0.0, 0.1, 2.35], size),
            "product_id": pick([None, *(f"p{number}" for number in range(9))], size),
            "category": pick([None, "tea", "cups", "茶", ""], size),
            "channel": pick([None, "web", "shop", "App"], size),
        }
    )
    interactions = rows(
        {
            **events(1500, "occurred_at"),
            "kind": pick(
                [
                    *("visit", "open", "click", "complaint_opened", "complaint_closed"),
                    *("satisfaction", "nps", "referral"),
                ],
                1500,
            ),
            "channel": pick([None, "email", "web"], 1500),
            "value": pick([None, 0.0, 1.0, 4.0, 5.0, 10.0], 1500),
        }
    )
    offers = rows(
        {
            **events(600, "occurred_at"),
            "offer_id": pick([None, *(f"f{number}" for number in range(50))], 600),
            "action_id": pick(["coupon", "call", "Ä"], 600),
            "channel": pick([None, "email"], 600),
            "control": pick([None, True, False], 600),
        }
    )
    outcomes = rows(
        {
            **events(400, "occurred_at"),
            "offer_id": pick([None, *(f"f{number}" for number in range(50))], 400),
            "kind": pick(["redeemed", "bought"], 400),
        }
    )
    consents = rows(
        {
            **events(300, "occurred_at"),
            "channel": pick([None, "email", "sms", "phone"], 300),
            "purpose": pick([None, "marketing", "billing"], 300),
            "granted": pick([True, False], 300),
        }
    )
    customers = [
        {
            "customer_id": f"c{number}",
            "created_at": None if number % 3 == 0 else start + pd.Timedelta(days=17 * number),
            "language": [None, "en", "zh"][number % 3],
            "birthday": None if number % 4 else pd.Timestamp("1980-02-29"),
            "margin_rate": None if number % 5 else 0.25,
        }
        for number in [*range(40), *range(5)]
    ]
    return make_records(
        timezone=SHANGHAI,
        orders=orders,
        interactions=interactions,
        offers=offers,
        outcomes=outcomes,
        consents=consents,
        customers=customers,
    )


def assert_same(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(got, expected, check_exact=True)


def test_every_feature_is_the_same_to_the_last_bit(make_records, spark_home: Path) -> None:
    records = messy(make_records)
    cutoffs = [AsOf.parse(day, SHANGHAI) for day in ("2024-02-01", "2024-06-30T13:00", "2025-03-01", "2025-07-01")]
    expected = build_snapshot(records, cutoffs)
    varied = expected[list(FEATURES)].min() < expected[list(FEATURES)].max()
    assert varied.all(), f"nothing to compare in {list(varied.index[~varied])}"
    with on_spark(records, spark_home) as moved:
        assert_same(build_snapshot(moved, cutoffs), expected)
        assert_same(build_context(moved, cutoffs[2]), build_context(records, cutoffs[2]))
    assert not list((spark_home / "spark").glob("records-*"))


def test_complete_journey_is_the_same_to_the_last_bit(tmp_path: Path, spark_home: Path) -> None:
    whole = read_records(unpack("complete-journey", tmp_path))  # all of it takes the interpreting Spark minutes
    some = {name: table.filter(table.customer_id.endswith("7")) for name, table in whole.tables.items()}
    records, end = replace(whole, tables=some), whole.as_of()
    cutoffs = [end.earlier(days, records.timezone) for days in (84, 0)]
    with on_spark(records, spark_home) as moved:
        assert_same(build_snapshot(moved, cutoffs), build_snapshot(records, cutoffs))


def test_what_fails_on_spark_is_one_line(make_records, at, spark_home: Path) -> None:
    records = make_records(orders=[{"customer_id": "ann", "ordered_at": at(9), "amount": 1e13} for _ in range(2)])
    with (
        pytest.raises(EngineError, match=r"^Spark failed: .*overflow.*; its log is .*spark\.log$"),
        on_spark(records, spark_home) as moved,
    ):
        build_snapshot(moved, AsOf.parse("2024-02-01", "UTC"))


def features_command(folder: Path, setup: str = "pass", **environment: str) -> subprocess.CompletedProcess[str]:
    program = f"import sys; {setup}; from perennial.cli import main; main()"
    arguments = ["features", "--source", "source.toml", "--output", "f.parquet", "--engine", "spark"]
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PERENNIAL_HOME": "home", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    generate(20).tables["orders"].to_csv(folder / "orders.csv", index=False)
    mapped = "\n".join(f'{name} = "{name}"' for name in ("customer_id", "ordered_at", "order_id", "amount"))
    (folder / "source.toml").write_text(f'currency = "EUR"\ntimezone = "UTC"\n[orders]\npath = "orders.csv"\n{mapped}')
    return folder


def test_the_command_line_says_nothing_of_sparks_own(shop: Path, spark_home: Path) -> None:
    done = features_command(shop)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    records = read_records(shop / "source.toml")
    assert_same(pd.read_parquet(shop / "f.parquet"), build_snapshot(records, records.as_of()))


@pytest.mark.parametrize(
    ("java", "said"),
    [
        (None, r"perennial: Spark needs Java, and .*/java does not run; install Java 17 "),
        ('openjdk version "11.0.2" 2019-01-15', r"perennial: Spark needs Java 17 or newer, and .*/java is Java 11; "),
        ('java version "1.8.0_202"', r"perennial: Spark needs Java 17 or newer, and .*/java is Java 8; "),
    ],
)
def test_java_missing_or_too_old_is_one_line(shop: Path, tmp_path: Path, java: str | None, said: str) -> None:
    if java is not None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "java").write_text(f"#!/bin/sh\necho '{java}' >&2\n")
        (tmp_path / "bin" / "java").chmod(0o755)
    done = features_command(shop, JAVA_HOME=str(tmp_path))
    assert done.returncode == 1
    assert pd.Series([done.stderr]).str.fullmatch(f"{said}.*\n").all(), done.stderr


def test_pyspark_missing_is_one_line(shop: Path) -> None:
    done = features_command(shop, setup="sys.modules['pyspark'] = None")
    assert done.returncode == 1
    assert done.stderr == 'perennial: pyspark is not installed; run `pip install "perennial[spark]"`\n'


def test_a_running_session_of_ones_own_is_used(spark_home: Path) -> None:
    records = records_from_frames({"orders": generate(5).tables["orders"]})
    with on_spark(records, spark_home) as first, on_spark(records, spark_home) as second:
        one, two = (moved.tables["orders"] for moved in (first, second))
        assert one.count().to_pyarrow().as_py() == two.count().to_pyarrow().as_py() == len(one.to_pandas())
