"""Venn-Abers by two passes equals its definition: an isotonic fit with one more row, for each row and label."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from models.calibration import fit_map
from models.venn_abers import merged, venn_abers


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_every_value_is_that_of_an_isotonic_fit_with_one_more_row(seed: int, n: int):
    rng = np.random.default_rng(seed)
    score = np.round(rng.normal(size=n), 1)  # with ties
    labels = (rng.random(n) < 0.5).astype(float)
    distinct, lower, upper = venn_abers(score, labels)
    for label, values in ((0.0, lower), (1.0, upper)):
        for at, value in zip(distinct, values, strict=True):
            fitted = IsotonicRegression().fit(np.append(score, at), np.append(labels, label))
            assert value == pytest.approx(fitted.predict([at])[0], abs=1e-9)
    both = merged(lower, upper)
    assert ((lower <= both) & (both <= upper)).all()
    assert ((both > 0) & (both < 1)).all()


def test_as_a_map_it_comes_true_where_a_straight_line_does_not():
    rng = np.random.default_rng(5)
    score = rng.uniform(-4, 4, 40_000)
    truth = np.where(score < 0, 0.05, 0.4)
    labels = rng.random(len(score)) < truth
    curve, line = (fit_map(method, score[:4_000], labels[:4_000]) for method in ("venn_abers", "platt"))
    away = {fitted.method: np.abs(fitted.apply(score) - truth).mean() for fitted in (curve, line)}
    assert away["venn_abers"] < 0.02 < away["platt"]
