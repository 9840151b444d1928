"""The value engine's benchmark on small sizes: it runs, and its campaign would see a fit that went silently wrong."""

import json

import numpy as np
import pytest

from benchmarks import clv, clv_bases
from models.purchases import BetaGeoModel
from perennial.errors import PerennialError


def figures(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {line["what"]: line["value"] for line in lines}


def test_two_hundred_odd_fits_converge_or_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    clv.odd_fits(200)
    found = figures(capsys)
    counts = {name.split(": ")[1]: count for name, count in found.items()}
    assert counts["silently wrong"] == 0
    assert sum(counts.values()) == 200
    assert min(counts["a peak"], counts["a peak of likelihood and prior"], counts["said why not"]) > 5


def test_a_fit_away_from_the_peak_is_called_silently_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = clv_bases.cdnow_sample().head(500)
    assert clv._outcome(BetaGeoModel(), sample) == "a peak"
    fit = BetaGeoModel.fit

    def displaced(self: BetaGeoModel, summary: object) -> BetaGeoModel:
        fit(self, summary)  # type: ignore[arg-type]
        self.params_ = {name: 1.02 * value for name, value in self.params_.items()}
        return self

    monkeypatch.setattr(BetaGeoModel, "fit", displaced)
    assert clv._outcome(BetaGeoModel(), sample) == "silently wrong"


def test_simulated_bases_are_histories_in_whole_days() -> None:
    for simulate in (clv_bases.cohort, clv_bases.three_years):
        base = simulate(2000, 1)
        assert (base.dtypes[["frequency", "recency", "T"]] == np.int16).all()
        assert (base["recency"] <= base["T"]).all()
        try:
            BetaGeoModel().fit(base)
        except PerennialError as error:  # pragma: no cover
            pytest.fail(str(error))
