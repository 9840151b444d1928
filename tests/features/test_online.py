"""The engine for few rows gives, to the last bit, what the other one gives: alone, among others, from many threads."""

from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given

from benchmarks.company import generate
from features import online
from features.catalogue import FEATURES
from features.context import Defaults, build_context, completed, context_expression
from features.plan import log_plan
from features.records import AsOf, Records
from features.snapshot import as_frame, build_snapshot
from features.sources import records_from_frames
from tests.features.test_snapshot_properties import CUTOFFS, customers, event, logs, thorough

THREADS, REQUESTS = 8, 30
ALL = tuple(FEATURES)

people = st.fixed_dictionaries(
    {
        "customer_id": customers,
        "created_at": st.sampled_from([None, pd.Timestamp("1969-12-31T23:00"), pd.Timestamp("2024-02-01T08:00:00.5")]),
        "language": st.sampled_from([None, "en", "zh"]),
        "birthday": st.sampled_from([None, pd.Timestamp("1955-03-01")]),
        "margin_rate": st.sampled_from([None, 0.25, 0.5]),
    }
)
consents = event(
    "occurred_at",
    channel=st.sampled_from([None, "email", "sms"]),
    purpose=st.sampled_from([None, "marketing", "service"]),
    granted=st.booleans(),
)


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
    batch = pd.concat([build_snapshot(records, cutoff) for cutoff in cutoffs]).set_index(["as_of", "customer_id"])
    customers = batch.loc[cutoffs[1].instant].index[:REQUESTS].tolist()
    alone = rows_by_customer(records, customers)

    def ask(thread: int) -> list[pd.DataFrame]:
        turned = customers[thread:] + customers[:thread]
        return [
            as_frame(online.snapshot_of_few(alone[customer], cutoffs[(thread + turn) % 2], ALL))
            for turn, customer in enumerate(turned)
        ]

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for of_thread in pool.map(ask, range(THREADS)) for answer in of_thread]
    got = pd.concat(answers).set_index(["as_of", "customer_id"])
    assert len(got) == THREADS * REQUESTS
    assert len(customers) == REQUESTS
    pd.testing.assert_frame_equal(got, batch.loc[got.index], check_exact=True)


@thorough
@given(
    log=logs,
    cutoff=st.sampled_from(CUTOFFS),
    customers=st.lists(people, max_size=5),
    said=st.lists(consents, max_size=9),
)
def test_both_engines_agree_on_any_log(make_records, log, cutoff, customers, said):
    records = make_records(**log, customers=customers, consents=said, timezone="Asia/Shanghai")
    assert online.few_rows(records) is not None
    pd.testing.assert_frame_equal(
        build_snapshot(records, cutoff), as_frame(log_plan(ALL).run(records, cutoff)), check_exact=True
    )
    planned = context_expression(records, cutoff).order_by("customer_id").to_pyarrow().to_pandas()
    pd.testing.assert_frame_equal(
        build_context(records, cutoff), completed(planned, Defaults.of(records)), check_exact=True
    )


def test_sums_that_64_bits_may_not_hold_are_left_to_the_other_engine(make_records, at):
    def bought(amount: float) -> Records:
        return make_records(orders=[{"customer_id": "ann", "ordered_at": at(1), "amount": amount}])

    assert online.few_rows(bought(1e10)) is not None
    assert online.few_rows(bought(online.MOST_UNITS)) is None
