"""The simple rules are fair opponents: a short acquaintance is no rate for months."""

import pandas as pd
import pytest

from training.baselines import average_orders, average_spend


def test_an_average_is_taken_over_the_horizon_at_least():
    rows = pd.DataFrame({"T": [0.0, 2.0, 28.0, 280.0], "frequency": [0.0, 1.0, 3.0, 10.0], "spend_total": 4 * [50.0]})
    assert average_orders(rows, 28) == pytest.approx([0.0, 1.0, 3.0, 1.0])
    assert average_spend(rows, 28) == pytest.approx([50.0, 50.0, 50.0, 5.0])
