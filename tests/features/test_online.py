"""One customer at a time, from many threads at once, gives the rows of the batch."""

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.company import generate
from features import online
from features.catalogue import FEATURES
from features.records import AsOf, Records
from features.snapshot import as_frame, build_snapshot
from features.sources import records_from_frames

THREADS, REQUESTS = 8, 30


@pytest.fixture(scope="module")
def records() -> Records:
    return records_from_frames(generate(400, seed=11).tables, timezone="Europe/Berlin", currency="EUR")


@pytest.fixture(scope="module")
def cutoffs(records: Records) -> list[AsOf]:
    return [records.as_of(), records.as_of().earlier(200, "Europe/Berlin")]


def rows_by_customer(records: Records, customers: list[str]) -> dict[str, dict[str, pa.Table]]:
    tables = {name: records.tables[name].to_pyarrow() for name in online.READ}
    return {
        customer: {name: rows.filter(pc.equal(rows["customer_id"], customer)) for name, rows in tables.items()}
        for customer in customers
    }


def test_threads_get_each_customers_row_of_the_batch(records: Records, cutoffs: list[AsOf]) -> None:
    assert online.few_rows(records) is None, "the batch must go the other way"
    features = tuple(FEATURES)
    batch = pd.concat([build_snapshot(records, cutoff) for cutoff in cutoffs]).set_index(["as_of", "customer_id"])
    customers = batch.loc[cutoffs[1].instant].index[:REQUESTS].tolist()
    alone = rows_by_customer(records, customers)

    def ask(thread: int) -> list[pd.DataFrame]:
        turned = customers[thread:] + customers[:thread]
        return [
            as_frame(online.snapshot_of_few(alone[customer], cutoffs[(thread + turn) % 2], features))
            for turn, customer in enumerate(turned)
        ]

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for of_thread in pool.map(ask, range(THREADS)) for answer in of_thread]
    got = pd.concat(answers).set_index(["as_of", "customer_id"])
    assert len(got) == THREADS * REQUESTS
    assert len(customers) == REQUESTS
    pd.testing.assert_frame_equal(got, batch.loc[got.index], check_exact=True)


def test_a_request_that_fails_leaves_nothing_to_the_next(records: Records, cutoffs: list[AsOf]) -> None:
    whole = build_snapshot(records, cutoffs[0], ["spend_total"])
    first, second = (rows_by_customer(records, [name])[name] for name in whole["customer_id"][:2])
    amounts = pa.array([1e300] * len(first["orders"]))  # does not fit 64 bits of millionths
    place = first["orders"].schema.get_field_index("amount")
    broken = {**first, "orders": first["orders"].set_column(place, "amount", amounts)}
    with pytest.raises(duckdb.Error):
        online.snapshot_of_few(broken, cutoffs[0], ("spend_total",))
    got = as_frame(online.snapshot_of_few(second, cutoffs[0], ("spend_total",)))
    pd.testing.assert_frame_equal(got, whole.iloc[[1]].reset_index(drop=True), check_exact=True)
