"""Reading a labelled table: which label is meant, which rows belong together, what is refused in one line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perennial.errors import InsufficientData, SourceError
from tests.tables import contracts
from training.labelled import Question, read_labelled

TABLE = contracts(400)


def read(tmp_path: Path, table: pd.DataFrame = TABLE, **question):
    path = tmp_path / "table.parquet"
    table.to_parquet(path, index=False)
    return read_labelled(Question(path, **{"label": "Churn", **question}), seed=7)


def read_csv(tmp_path: Path, table: pd.DataFrame, **question):
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    return read_labelled(Question(path, **{"label": "Churn", **question}), seed=7)


CHURNED = (TABLE.Churn == "Yes").sum()
CODINGS = [
    ({"Yes": "Yes", "No": "No"}, [None, "Yes", "yes"]),
    ({"Yes": 1, "No": 0}, [None, "1", "1.0"]),
    ({"Yes": 1.0, "No": 0.0}, [None, "1", "1.0"]),
    ({"Yes": True, "No": False}, [None, "True", "true", "1"]),
    ({"Yes": "流失", "No": "留存"}, [None, "流失"]),
    ({"Yes": "gone away", "No": "here"}, ["gone away"]),
]


@pytest.mark.parametrize(("coding", "positives"), CODINGS)
@pytest.mark.parametrize("door", [read, read_csv])
def test_the_label_reads_alike_however_it_is_written(tmp_path, coding, positives, door):
    table = TABLE.assign(Churn=TABLE.Churn.map(coding))
    for positive in positives:
        assert door(tmp_path, table, positive=positive).labels.sum() == CHURNED


def test_zero_can_be_what_is_asked_for(tmp_path):
    table = TABLE.assign(Churn=(TABLE.Churn == "No").astype(int))
    assert read(tmp_path, table, positive="0").labels.sum() == CHURNED


def test_rows_without_a_label_are_left_out_and_counted(tmp_path):
    table = TABLE.assign(Churn=TABLE.Churn.where(TABLE.index >= 30))
    found = read(tmp_path, table)
    assert found.customers == 370
    assert "30 rows without a label were left out" in found.notes


@pytest.mark.parametrize(
    ("table", "question", "said"),
    [
        (TABLE, {"label": "churned"}, "no column 'churned' (the label); did you mean 'Churn'?"),
        (TABLE, {"id": "customers"}, "no column 'customers' (--id); did you mean 'customer'?"),
        (TABLE, {"exclude": ("tenur",)}, "no column 'tenur' (--exclude); did you mean 'tenure'?"),
        (TABLE, {"clv": "wort"}, "no column 'wort' (--clv-column); did you mean 'worth'?"),
        (TABLE, {"clv": "Contract"}, "'Contract' (--clv-column) is no number in 400 rows"),
        (TABLE, {"positive": "gone"}, "never is 'gone' (--positive); it holds No ("),
        (TABLE, {"label": "Contract"}, "say which means churned: --positive VALUE"),
        (TABLE.assign(Churn="No"), {}, "is 'No' in every row"),
        (TABLE.assign(Churn=None), {}, "is empty in every row"),
        (TABLE, {"exclude": ("Churn",)}, "is the label"),
        (TABLE[:0], {}, "no rows"),
    ],
)
def test_what_is_refused_in_one_line(tmp_path, table, question, said):
    with pytest.raises(SourceError) as caught:
        read(tmp_path, table, **question)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_three_rows_are_too_few(tmp_path):
    with pytest.raises(InsufficientData, match="3 labelled rows"):
        read(tmp_path, TABLE[:3].assign(Churn=["Yes", "No", "No"]))


def test_columns_named_alike_are_refused(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("a,a,Churn\n1,2,Yes\n3,4,No\n")
    with pytest.raises(SourceError, match="names columns alike"):
        read_labelled(Question(path, "Churn"), seed=7)


def test_excluded_columns_come_one_by_one_or_with_commas(tmp_path):
    table = TABLE.rename(columns={"Monthly charge": 'charge, "monthly"'})
    found = read(tmp_path, table, exclude=("tenure,senior", 'charge, "monthly"'))
    assert not {"tenure", "senior", 'charge, "monthly"', "Churn"} & set(found.latest.columns)
    assert found.question.exclude == ("tenure", "senior", 'charge, "monthly"')


def test_copies_and_rows_of_one_id_share_a_fold(tmp_path):
    copies = TABLE[:50].assign(customer=[f"copy {number}" for number in range(50)])
    again = TABLE[:20].assign(tenure=TABLE.tenure[:20] + 1)
    found = read(tmp_path, pd.concat([TABLE, copies, again], ignore_index=True), id="customer")
    assert "50 rows are equal to another but for id and label; equal rows share a fold" in found.notes
    assert "20 rows repeat an id; rows of one id share a fold" in found.notes
    assert len(np.unique(found.group)) == 400
    for fold in found.folds:
        assert all(len(np.unique(fold[found.group == group])) == 1 for group in np.unique(found.group))


def test_coarse_rows_are_no_copies(tmp_path):
    found = read(tmp_path, TABLE[["Contract", "senior", "Churn"]])
    assert "distinct: equal rows are not taken for copies" in found.notes[0]
    assert len(np.unique(found.group)) == 400


def test_the_order_in_the_file_changes_nothing(tmp_path):
    one, other = read(tmp_path, id="customer"), read(tmp_path, TABLE.sample(frac=1, random_state=1), id="customer")
    pd.testing.assert_frame_equal(one.latest, other.latest)
    assert (one.folds == other.folds).all()
    assert one.used("needed") == other.used("needed")
    changed = read(tmp_path, TABLE.assign(tenure=TABLE.tenure.where(TABLE.index > 0, 99)), id="customer")
    assert changed.used("needed") != one.used("needed")
