"""Scoring a table: one row for each row, in its order, by the rules the model was trained with."""

import numpy as np
import pandas as pd
import pytest

from models.artefact import publish, write_artefact
from models.table_churn import KIND, TableChurnModel
from perennial.errors import ArtefactError, OutputError, SourceError
from serving.predictions import predict
from tests.tables import contracts

TABLE = contracts(400)
META = {"id": "customer", "clv_column": None, "contact_cost": 1.0, "incentive_cost": 10.0}


def shelf_with(folder, **meta):
    model = TableChurnModel().fit(TABLE.drop(columns=["customer", "worth", "Churn"]), TABLE.Churn == "Yes")
    artefact = write_artefact(folder / "artefact", KIND, model.to_files(), {**META, **meta})
    publish(folder / "shelf", "renewals", "1", artefact)
    return folder / "shelf"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return shelf_with(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="module")
def worth_shelf(tmp_path_factory):
    return shelf_with(tmp_path_factory.mktemp("worth"), clv_column="worth")


def scored(shelf, tmp_path, table=TABLE, name="renewals", language="en", **money):
    path = tmp_path / "rows.csv"
    table.to_csv(path, index=False)
    rows, notes = predict(shelf, name, path, tmp_path / "out.parquet", language, **money)
    out = pd.read_parquet(tmp_path / "out.parquet")
    assert len(out) == rows == len(table)
    return out, notes


def test_one_row_for_each_row_in_its_order(shelf, tmp_path):
    out, _ = scored(shelf, tmp_path)
    assert out.columns.tolist() == ["customer", "churn_probability", "churn_band", "reason_1", "reason_2", "reason_3"]
    assert out["customer"].tolist() == TABLE["customer"].tolist()  # leading zeros and all
    assert out["churn_probability"].between(0, 1, inclusive="neither").all()
    assert out["reason_1"].notna().mean() > 0.9
    half, _ = scored(shelf, tmp_path, TABLE[200:])
    pd.testing.assert_frame_equal(half, out[200:].reset_index(drop=True))


def test_without_an_id_rows_are_numbered(tmp_path):
    out, _ = scored(shelf_with(tmp_path, id=None), tmp_path, TABLE.drop(columns="customer"))
    assert out["row"].tolist() == list(range(1, 401))


def test_whom_contacting_pays(shelf, worth_shelf, tmp_path):
    out, _ = scored(worth_shelf, tmp_path)
    least = 11 / (0.3 * (TABLE.worth - 10) + 10)
    assert (out["contact"] == (out["churn_probability"] > least)).all()
    same, _ = scored(shelf, tmp_path, value=200.0, cost=20.0)
    assert (same["contact"] == (same["churn_probability"] > 21 / (0.3 * 180 + 20))).all()
    with pytest.raises(SourceError, match="--cost needs --value"):
        scored(shelf, tmp_path, cost=20.0)
    with pytest.raises(SourceError, match=r"'worth' \(the CLV in training; or give --value\)"):
        scored(worth_shelf, tmp_path, TABLE.drop(columns="worth"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop(columns="tenure"), "lacks the columns 'tenure'"),
        (lambda table: table.rename(columns={"tenure": "Tenure"}), "did you mean 'Tenure'"),
        (lambda table: table.assign(tenure="long"), "tenure: 400 of 400 values are no numbers"),
        (lambda table: table.drop(columns="customer"), "no column 'customer' (the id in training)"),
        (lambda table: table[:0], "no rows"),
    ],
)
def test_a_table_that_cannot_be_scored_leaves_the_last_file(shelf, tmp_path, change, said):
    scored(shelf, tmp_path)
    before = (tmp_path / "out.parquet").read_bytes()
    with pytest.raises(SourceError) as caught:
        scored(shelf, tmp_path, change(TABLE))
    assert said in str(caught.value)
    assert (tmp_path / "out.parquet").read_bytes() == before


def test_new_values_are_counted(shelf, tmp_path):
    _, notes = scored(shelf, tmp_path, TABLE.assign(Contract=np.where(TABLE.index < 7, "Three year", TABLE.Contract)))
    assert "Contract: 7 values are rare or new and count as missing" in notes


def test_an_unknown_model_names_the_known_ones(shelf, tmp_path):
    with pytest.raises(ArtefactError, match="named 'renewal' serves; known are renewals"):
        scored(shelf, tmp_path, name="renewal")
    with pytest.raises(ArtefactError, match="none has been trained"):
        scored(tmp_path / "nothing", tmp_path)
    other = write_artefact(tmp_path / "other", "clv", {"clv.json": b"{}"}, {})
    publish(shelf, "clv", "1", other)
    with pytest.raises(ArtefactError, match="'clv' was trained on records"):
        scored(shelf, tmp_path, name="clv")


def test_an_output_that_is_a_folder(shelf, tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(OutputError, match="is a folder"):
        predict(shelf, "renewals", tmp_path / "rows.csv", tmp_path, "en")
