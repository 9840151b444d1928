"""The model of any labelled table: calibrated, exact in its reasons, the same after a round trip."""

import json

import numpy as np
import pytest

from models.artefact import json_file
from models.table_churn import BOOSTING_MIN_ROWS, FILE, TREES_FILE, TableChurnModel, stratified_folds
from models.table_reasons import table_reasons
from perennial.errors import ArtefactError, InsufficientData
from tests.tables import contracts

TABLE = contracts(1200)
ROWS, LABELS = TABLE.drop(columns=["Churn", "worth"]), (TABLE.Churn == "Yes").to_numpy()


@pytest.fixture(scope="module")
def model():
    return TableChurnModel().fit(ROWS, LABELS)


def test_probabilities_come_true_on_rows_never_seen(model):
    fresh = contracts(4000, seed=9)
    probability, came = model.predict_proba(fresh), (fresh.Churn == "Yes").to_numpy()
    assert abs(probability.mean() - came.mean()) < 0.03
    risky = probability > np.quantile(probability, 0.8)
    assert came[risky].mean() > 2 * came[~risky].mean()
    assert abs(probability[risky].mean() - came[risky].mean()) < 0.07


@pytest.mark.parametrize("rows", [TABLE, TABLE[:300]])
def test_contributions_add_up_exactly(rows):
    own = TableChurnModel().fit(rows.drop(columns=["Churn"]), rows.Churn == "Yes")
    assert (own.shape_ is None) >= (len(rows) < BOOSTING_MIN_ROWS)
    shares = own.contributions(rows)
    assert shares.shape == (len(rows), len(own.columns_.names))
    np.testing.assert_allclose(shares.sum(axis=1) + own.base_log_odds_, own.predict_log_odds(rows), atol=1e-9)


def test_a_round_trip_changes_no_bit_and_holds_no_pickle(model):
    files = model.to_files()
    again = TableChurnModel.from_files(files)
    assert (again.predict_proba(ROWS) == model.predict_proba(ROWS)).all()
    assert again.to_files() == files
    assert set(files) <= {FILE, TREES_FILE}
    with pytest.raises(ArtefactError, match="train it again"):
        TableChurnModel.from_files({**files, FILE: json_file({**json.loads(files[FILE]), "shape": {"odd": 1}})})


def test_the_order_of_columns_changes_nothing(model):
    assert (model.predict_proba(ROWS[ROWS.columns[::-1]]) == model.predict_proba(ROWS)).all()


def test_reasons_speak_of_columns_and_values(model):
    rows = ROWS[:2].assign(tenure=[2, 70], Contract=["Month-to-month", "Two year"])
    english, chinese = (table_reasons(model, rows, language) for language in ("en", "zh"))
    typical = int(ROWS.tenure.median())
    assert "Contract is Month-to-month" in set(english.loc[0])
    assert f"tenure 2 (typical {typical})" in set(english.loc[0])
    assert f"tenure 为 2（通常 {typical}）" in set(chinese.loc[0])
    assert "Contract 为 Two year" in set(chinese.loc[1])


def test_what_is_empty_or_no_number_is_missing_and_said_so(model):
    rows = ROWS[:200].assign(TotalCharges=" ")
    for blank in (None, "n/a", ""):
        assert (model.predict_proba(rows.assign(TotalCharges=blank)) == model.predict_proba(rows)).all()
    told = table_reasons(model, rows, "en", n=7).to_numpy().ravel()
    assert "TotalCharges is missing" in set(told)
    assert not [reason for reason in told if "nan" in str(reason) and "TotalCharges" in str(reason)]


def test_too_few_rows_of_a_label_are_not_learned():
    labels = np.zeros(len(ROWS), dtype=bool)
    labels[:19] = True
    with pytest.raises(InsufficientData, match="19 of them churned"):
        TableChurnModel().fit(ROWS, labels)


def test_folds_keep_groups_whole_and_labels_even():
    rng = np.random.default_rng(1)
    labels, groups = rng.random(2000) < 0.2, rng.integers(0, 900, 2000)
    fold = stratified_folds(labels, groups, 5, seed=3)
    assert all(len(np.unique(fold[groups == group])) == 1 for group in np.unique(groups))
    singles = stratified_folds(labels, np.arange(2000), 5, seed=3)
    rates = [labels[singles == number].mean() for number in range(5)]
    assert max(rates) - min(rates) < 0.01
