"""Segments: thresholds learned across customers, judged by what the tiers went on to spend."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from models.segments import SegmentModel, ValueTier
from training import plots
from training.dataset import Data
from training.metrics import Floats, evaluate, normalised_gini
from training.recipes import RecordsRecipe, Report


class SegmentsRecipe(RecordsRecipe[SegmentModel]):
    """Value tiers, lifecycle stages, contact tiers and potential."""

    name = "segments"
    ranking = "spend_normalised_gini"
    chance = 0.0
    says = "value_tier_rank"
    gated_by = ("normalised_gini",)
    labels = "ignored"

    def fit(self, data: Data, *, final: bool) -> SegmentModel:
        """Learn the thresholds from one snapshot."""
        return SegmentModel().fit(data.latest if final else data.heldout)

    def files(self, model: SegmentModel) -> dict[str, bytes]:
        """Return the fitted model as an artefact's files."""
        return model.to_files()

    def load(self, files: Mapping[str, bytes]) -> SegmentModel:
        """Read a fitted model."""
        return SegmentModel.from_files(files)

    def predict(self, model: SegmentModel, rows: pd.DataFrame, data: Data) -> Floats:
        """Return each customer's value tier as a rank, the best tier highest."""
        best_first = {tier.value: len(ValueTier) - place for place, tier in enumerate(ValueTier)}
        return np.asarray(model.predict(rows)["value_tier"].map(best_first), dtype=np.float64)

    def outcome(self, data: Data) -> Floats:
        """Return the net spend that came."""
        return data.heldout["actual_spend"].to_numpy(dtype=np.float64)

    def report(self, model: SegmentModel, data: Data, prediction: Floats) -> Report:
        """Measure how well the tiers order what customers spent next."""
        spend = self.outcome(data)
        return Report(
            metrics=evaluate({"spend_normalised_gini": normalised_gini}, spend, prediction, seed=self.settings.seed),
            comparisons=(),
            pictures={"tier_value.png": self._picture(prediction, spend, data)},
        )

    def facts(self, model: SegmentModel, data: Data) -> dict[str, Any]:
        """Return the share of customers in each value tier."""
        shares = model.predict(data.latest)["value_tier"].value_counts(normalize=True)
        return {
            "definition": "value tier, lifecycle stage, contact tier and potential by learned thresholds",
            "tier_shares": {tier.value: round(float(shares.get(tier.value, 0.0)), 6) for tier in ValueTier},
        }

    def _picture(self, rank: Floats, spend: Floats, data: Data) -> bytes:
        tiers = [tier.value for tier in ValueTier]
        chosen = [spend[rank == len(tiers) - place] for place in range(len(tiers))]
        means = np.array([values.mean() if len(values) else 0.0 for values in chosen])
        counts = np.array([len(values) for values in chosen], dtype=np.float64)
        return plots.tier_value(tiers, means, counts, data.horizon_days, data.records.currency)
