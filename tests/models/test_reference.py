"""What a training's day looked like: effect sizes that say nothing of the number of rows, and everything of a shift."""

import numpy as np
import pytest

from models.artefact import read_artefact, write_artefact
from models.reference import Distribution, Reference
from perennial.errors import ArtefactError

rng = np.random.default_rng(3)


@pytest.mark.parametrize("rows", [300, 3_000, 100_000])
def test_the_same_distribution_has_not_moved_however_many_rows(rows):
    kept = Distribution.of(rng.gamma(2.0, 10.0, rows))
    assert max(kept.shift(rng.gamma(2.0, 10.0, rows)).psi for _ in range(20)) < 0.01


@pytest.mark.parametrize("rows", [300, 100_000])
def test_a_shift_has_its_size_however_many_rows(rows):
    kept = Distribution.of(rng.normal(0, 1, rows))
    shift = kept.shift(rng.normal(1.0, 1, rows))
    assert shift.psi == pytest.approx(0.9, abs=0.3)  # (Δμ/σ)² of two normals, less what ten bins and sampling lose
    assert shift.cliffs_delta == pytest.approx(0.52, abs=0.06)  # 2 Φ(Δ/√2) − 1
    assert shift.missing == 0


def test_direction_and_missing_values_are_told():
    kept = Distribution.of(np.arange(1000.0))
    assert kept.shift(np.arange(1000.0) + 5000).cliffs_delta == pytest.approx(0.9, abs=0.01)  # ties share the last bin
    assert kept.shift(np.full(1000, -1.0)).cliffs_delta < -0.89
    half = np.where(np.arange(1000) % 2, np.nan, np.arange(1000.0))
    assert kept.shift(half).missing == 0.5
    assert kept.shift(half).psi > 0.25
    assert kept.shift(half).cliffs_delta == pytest.approx(0, abs=0.01)


def test_many_equal_values_and_none_at_all_can_be_described():
    zeros = np.r_[np.zeros(900), np.arange(100.0)]
    assert Distribution.of(zeros).shift(zeros).psi == 0
    nothing = Distribution.of(np.full(50, np.nan))
    assert nothing.edges == ()
    assert nothing.shift(np.full(50, np.nan)).psi == 0
    assert nothing.shift(np.ones(50)).psi > 1


def test_usual_counts_what_the_training_saw_over_as_many_days():
    kept = Distribution(100, (1.0,), (0.5, 0.5, 0.0), {"28": 0.2, "56": 0.7})
    assert [kept.usual_over(days) for days in (0, 28, 55, 56, 900)] == [0.2, 0.2, 0.2, 0.7, 0.7]


def test_it_is_read_as_it_was_written(tmp_path):
    spend = Distribution(9, (1.0, 2.5), (0.1, 0.4, 0.5, 0.0), {"7": 0.125}, 0.25)
    known = Reference({"spend_30d": spend}, {"churn_probability": Distribution.of(np.linspace(0, 1, 99))})
    folder = write_artefact(tmp_path / "churn", "churn", known.to_files(), {})
    assert Reference.from_files(read_artefact(folder, "churn").files) == known
    with pytest.raises(ArtefactError, match="train"):
        Reference.from_files({"reference.json": b"{}"})
