"""What columns of any table become: kinds, places, what is left out and said, what scoring refuses."""

import numpy as np
import pandas as pd
import pytest

from models.table_columns import Columns, numbers, texts
from perennial.errors import SourceError
from tests.tables import contracts

ROWS = contracts().drop(columns=["Churn", "worth"])


@pytest.fixture(scope="module")
def learned():
    return Columns.learn(ROWS)


def by_name(columns):
    return {column.name: column for column in columns.columns}


def test_kinds_are_inferred_and_the_rest_is_left_out_with_a_note(learned):
    columns, notes = learned
    kinds = {name: column.kind for name, column in by_name(columns).items()}
    assert kinds == {
        "tenure": "number",
        "Contract": "category",
        "Monthly charge": "number",
        "TotalCharges": "number",
        "senior": "category",
        "支付方式": "category",
        "plan": "category",
    }
    said = dict(note.split(": ", 1) for note in notes)
    assert "identifier" in said["customer"]
    assert "dates" in said["signed_on"]
    assert "every row" in said["country"]
    assert "rare" in said["plan"]


def test_blanks_among_numbers_are_missing_and_marked(learned):
    column = by_name(learned[0])["TotalCharges"]
    encoded = column.encode(ROWS["TotalCharges"])
    blank = (ROWS["TotalCharges"] == " ").to_numpy()
    assert blank.any()
    assert (np.isnan(encoded[:, 0]) == blank).all()
    assert (encoded[:, 1] == blank).all()


def test_each_category_has_its_place_and_unknown_values_share_one(learned):
    columns, _ = learned
    contract, plan = by_name(columns)["Contract"], by_name(columns)["plan"]
    assert contract.places == ("Month-to-month", "One year", "Two year")
    assert (contract.encode(ROWS["Contract"]).sum(axis=1) == 1).all()
    assert plan.others
    assert plan.encode(pd.Series(["a", "legacy", None, "never seen"]))[:, -1].tolist() == [0, 1, 1, 1]
    assert plan.unknown(pd.Series(["a", "legacy", None, "never seen"])) == 2


def test_what_scoring_says_and_refuses(learned):
    columns, _ = learned
    assert columns.check(ROWS) == (
        f"plan: {(ROWS.plan == 'legacy').sum()} values are rare or new and count as missing",
    )
    with pytest.raises(SourceError, match="lacks the columns 'tenure', '支付方式'"):
        columns.check(ROWS.drop(columns=["tenure", "支付方式"]))
    with pytest.raises(SourceError, match="tenure: 900 of 900 values are no numbers"):
        columns.check(ROWS.assign(tenure="long"))
    with pytest.raises(SourceError, match="Contract: none of its 900 values is one that the model learned"):
        columns.check(ROWS.assign(Contract=7))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["007", "010", "011"] * 20, "category"),  # codes keep their zeros
        ([0, 1] * 30, "category"),
        ([1.5, 2.5, 3.5] * 20, "number"),
        (["1", "2", "3", *["4"] * 60, "oops"], "number"),
        ([True, False] * 30, "category"),
        ([1, "x", 2.0, None] * 20, "category"),
        ([f"v{number}" for number in range(300)] * 10, "category"),
    ],
)
def test_odd_columns(values, kind):
    columns, _ = Columns.learn(pd.DataFrame({"c": values}))
    assert columns.columns[0].kind == kind
    assert np.isfinite(np.nan_to_num(columns.encode(pd.DataFrame({"c": values})))).all()


def test_300_categories_keep_the_most_frequent_and_count_the_rest():
    values = [f"v{number}" for number in range(300) for _ in range(10 + number)]
    columns, notes = Columns.learn(pd.DataFrame({"c": values}))
    assert columns.columns[0].places[0] == "v299"
    assert columns.columns[0].width == 51
    assert notes == ("c: 250 of 300 values are rare and count as one",)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("x", [None] * 60, "empty"),
        ("row", list(range(60)), "numbers the rows"),
        ("customer_id", list(range(100, 1300, 20)), "numbers the rows"),
        ("opened", ["2024-01-01", "2024-05-02"] * 30, "dates"),
    ],
)
def test_what_is_no_feature(name, values, said):
    columns, notes = Columns.learn(pd.DataFrame({name: values}))
    assert columns.columns == ()
    assert said in notes[0]


def test_a_value_reads_alike_from_any_type():
    for one in (pd.Series([1]), pd.Series([1.0]), pd.Series(["1 "]), pd.Series([1, "x"])[:1]):
        assert texts(one).tolist() == ["1"]
    assert texts(pd.Series([True, None])).tolist()[0] == "True"
    assert np.isnan(numbers(pd.Series([np.inf, "nan", ""]))).all()


def test_the_vocabulary_survives_json(learned):
    assert Columns.from_json(learned[0].to_json()) == learned[0]
