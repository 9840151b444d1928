"""Left by one's own rhythm: labels against a plain reading of the log, and who has no rhythm."""

import numpy as np
import pandas as pd
import pytest

from features.snapshot import build_snapshot
from models.churn import ChurnModel
from models.definition import LEAST_GAPS, Definition
from perennial.errors import InsufficientData
from tests.models.shop import HORIZON_DAYS, month, months
from training.dataset import with_labels
from training.rhythm import LEAST_RHYTHMS, rhythm_days

DAYS = 28


@pytest.fixture(scope="module")
def labelled(company) -> pd.DataFrame:
    cutoff = company.as_of("2024-07-01")
    snapshot = build_snapshot(company, [cutoff])
    return with_labels(snapshot, company, [cutoff], DAYS, company.as_of(), Definition.PERSONAL)


def test_labels_are_those_of_a_plain_reading_of_the_log(labelled: pd.DataFrame, simulate):
    lines = simulate()
    day, cutoff = lines.ordered_at.dt.normalize(), pd.Timestamp("2024-07-01")
    own = {}
    for who, days in day[day < cutoff].groupby(lines.customer_id):
        gaps = np.diff(np.unique(days)) / np.timedelta64(1, "D")
        own[who] = np.quantile(gaps, 0.9) if len(gaps) >= LEAST_GAPS else np.nan
    typical = np.nanmedian(list(own.values()))
    window_end = cutoff + pd.Timedelta(days=DAYS)
    last = day[day < window_end].groupby(lines.customer_id).max()
    silent = (window_end - pd.Timedelta(days=1) - last).dt.days
    gone = [silent[who] > (typical if np.isnan(own[who]) else own[who]) for who in labelled["customer_id"]]
    assert set(labelled["customer_id"]) == set(own)
    np.testing.assert_array_equal(labelled["churned"], gone)
    assert 0.1 < labelled["churned"].mean() < 0.95
    assert (labelled["churned"] != (labelled["actual_orders"] == 0)).mean() > 0.05


def test_customers_with_few_gaps_are_held_to_the_typical_rhythm(labelled: pd.DataFrame):
    allowed, few = rhythm_days(labelled), labelled["frequency"] < LEAST_GAPS
    assert few.any()
    np.testing.assert_array_equal(allowed[few], labelled["gap_p90_days"][~few].median())
    np.testing.assert_array_equal(allowed[~few], labelled["gap_p90_days"][~few])


def test_where_nobody_shows_a_rhythm_it_is_refused(labelled: pd.DataFrame):
    regulars = labelled[labelled["frequency"] >= LEAST_GAPS]
    rows = pd.concat([labelled[labelled["frequency"] < LEAST_GAPS], regulars[: LEAST_RHYTHMS - 1]])
    with pytest.raises(InsufficientData, match=r"49 customers .* 50 are needed; use no_purchase_in_horizon"):
        rhythm_days(rows)


def test_cutoffs_before_there_were_rhythms_are_left_out(company, labelled: pd.DataFrame):
    cutoffs = [company.as_of(day) for day in ("2024-01-20", "2024-07-01")]
    snapshot = build_snapshot(company, cutoffs)
    rows = with_labels(snapshot, company, cutoffs, DAYS, company.as_of(), Definition.PERSONAL)
    pd.testing.assert_frame_equal(rows, labelled)
    with pytest.raises(InsufficientData, match="show a rhythm"):
        with_labels(snapshot, company, cutoffs[:1], DAYS, company.as_of(), Definition.PERSONAL)


@pytest.mark.parametrize(
    ("customers", "horizon_days", "reason"), [(300, HORIZON_DAYS, "at least 500 customers"), (1000, 60, "room for 30")]
)
def test_what_cannot_be_learned_is_not_lent_from_another_question(customers: int, horizon_days: int, reason: str):
    rows, later = months((4, 3), customers), month(2, customers)
    model = ChurnModel(horizon_days, window_days=HORIZON_DAYS, definition=Definition.PERSONAL)
    with pytest.raises(InsufficientData, match=f"personal_rhythm needs .*{reason}.*use no_purchase_in_horizon"):
        model.fit(rows.snapshot, rows.churned, calibration=(later.snapshot, later.churned))
