"""What the feature benchmark proves at size, on a company small enough for every run."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.features_by_hand import REFERENCE, by_hand_pandas, by_hand_sql
from benchmarks.features_equality import appends, many, pairs
from benchmarks.features_growth import growth
from benchmarks.features_records import company, lines_in, records_in
from features.records import Records
from features.snapshot import build_snapshot

SEED = 7


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return records_in(company(tmp_path_factory.mktemp("company") / "small.duckdb", 8_000, SEED), "1GB")


def test_hand_written_sql_and_pandas_give_the_same_numbers(records: Records) -> None:
    as_of, connection = records.as_of(), records.tables["orders"]._find_backend().con
    ours = build_snapshot(records, as_of, REFERENCE)
    by_sql = connection.sql(by_hand_sql(as_of)).df()
    by_pandas = by_hand_pandas(connection.sql("SELECT * FROM orders").df(), as_of)
    assert len(REFERENCE) == 24
    for name in REFERENCE:
        np.testing.assert_array_equal(ours[name], by_sql[name].astype("float64"), err_msg=name)
        np.testing.assert_array_equal(ours[name], by_pandas[name].astype("float64"), err_msg=name)


def test_customers_alone_and_in_any_company_give_the_rows_of_the_batch(records: Records) -> None:
    assert pairs(records, 40, SEED) == 0
    assert many(records, 1_000, SEED, cutoffs=6) == 0


def test_appends_and_late_arrivals_change_no_byte_of_an_earlier_snapshot(records: Records) -> None:
    assert appends(records, 200, SEED) == 0


def test_growth_is_drawn_and_told_by_the_lines_that_there_are(records: Records, tmp_path: Path) -> None:
    told: list[tuple[str, float, str, int]] = []
    growth([8_000], tmp_path, tmp_path / "growth.png", SEED, "1GB", lambda *figure: told.append(figure))
    made = lines_in(records)
    assert {lines for _, _, _, lines in told} == {made} != {8_000}
    assert {what: value for what, value, *_ in told}["all features, peak memory"] > 0.05
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_about_as_many_lines_are_made_as_asked_for(tmp_path: Path) -> None:
    made = lines_in(records_in(company(tmp_path / "more.duckdb", 150_000, SEED), "1GB"))
    assert made == pytest.approx(150_000, rel=0.03)
