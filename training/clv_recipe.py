"""Customer value: purchases and spend fitted on the past, judged on the orders and money that followed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from models.clv import ClvModel
from models.reference import Reference
from models.sufficiency import Sufficiency
from training import tracking, value_plots
from training.baselines import AVERAGE_RULE, average_orders, average_spend
from training.dataset import Data, first_day
from training.drift import reference
from training.metrics import AMOUNT_MEASURES, Floats, Interval, compare, coverage, evaluate
from training.readiness import value_readiness
from training.recipes import RecordsRecipe, Report
from training.transform import transform
from training.value_fit import fit_value


class ClvRecipe(RecordsRecipe[ClvModel]):
    """Expected orders, spend and discounted value."""

    name = "clv"
    ranking = "spend_normalised_gini"
    chance = 0.0
    says = "expected_spend"
    gated_by = ("rmse", "normalised_gini")
    parts_gated_by = "rmse"
    labels = "used"

    def fit(self, data: Data, *, final: bool) -> ClvModel:
        """Fit histories on one snapshot, and on closed windows what histories do not say."""
        today, rate = data.latest if final else data.heldout, data.records.economics.discount_rate_per_year
        if data.plan is None:
            return fit_value(today[:0], today, data.horizon_days, self.settings, rate)
        fit = data.plan.final if final else data.plan.judged
        learned = pd.concat(data.learned(fit), ignore_index=True)
        return fit_value(learned, today, fit.window_days, self.settings, rate)

    def files(self, model: ClvModel) -> dict[str, bytes]:
        """Return the fitted model as an artefact's files."""
        return model.to_files()

    def load(self, files: Mapping[str, bytes]) -> ClvModel:
        """Read a fitted model."""
        return ClvModel.from_files(files, num_threads=self.settings.threads)

    def predict(self, model: ClvModel, rows: pd.DataFrame, data: Data) -> Floats:
        """Return expected spend within the horizon."""
        return model.predict_spend(rows, horizon_days=data.horizon_days)

    def outcome(self, data: Data) -> Floats:
        """Return the net spend that came."""
        return data.heldout["actual_spend"].to_numpy(dtype=np.float64)

    def report(self, model: ClvModel, data: Data, prediction: Floats) -> Report:
        """Judge spend and orders against each customer's own average so far."""
        rows, days, seed = data.heldout, data.horizon_days, self.settings.seed
        full = model.predict(rows, horizon_days=days)
        spend, orders = self.outcome(data), rows["actual_orders"].to_numpy(dtype=np.float64)
        expected = full["expected_orders"].to_numpy()
        # 0.90 or a little more is right: counts are whole
        within = coverage(full["expected_orders_low"].to_numpy(), full["expected_orders_high"].to_numpy())
        own_spend, own_orders = average_spend(rows, days), average_orders(rows, days)
        return Report(
            metrics={
                **_named("spend", evaluate(AMOUNT_MEASURES, spend, prediction, seed=seed)),
                **_named("orders", evaluate(AMOUNT_MEASURES, orders, expected, seed=seed)),
                **_named("orders", evaluate({"coverage": within}, orders, expected, seed=seed)),
            },
            comparisons=(
                compare("normalised_gini", spend, prediction, own_spend, AVERAGE_RULE, of="spend", seed=seed),
                compare("rmse", spend, prediction, own_spend, AVERAGE_RULE, of="spend", seed=seed),
                compare("rmse", orders, expected, own_orders, AVERAGE_RULE, of="orders", seed=seed),
            ),
            pictures={
                **tracking.pictures(model.purchases_, data),
                "past_purchases.png": tracking.past_purchases(model.purchases_, expected, data),
                "interval_calibration.png": value_plots.interval_calibration(transform(model, rows, days), days),
                "alive_matrix.png": value_plots.alive_matrix(*tracking.alive_grid(model.alive_, rows)),
                "value_distribution.png": value_plots.value_distribution(
                    full["clv"].to_numpy(), model.horizon_days, data.records.currency
                ),
            },
            notes=_season(model),
        )

    def reference(self, model: ClvModel, data: Data) -> Reference:
        """Describe the spend expected within the horizon."""

        def spend(rows: pd.DataFrame) -> Floats:
            return model.predict_spend(rows, horizon_days=data.horizon_days)

        return reference(data.latest, data.final, (), "expected_spend", spend)

    def sufficiency(self, model: ClvModel, data: Data) -> Sufficiency:
        """Grade the histories that purchases and spend are fitted on."""
        history_days = (data.end.day - first_day(data.records)).days
        return value_readiness(data.records, data.end, data.horizon_days, history_days)

    def facts(self, model: ClvModel, data: Data) -> dict[str, Any]:
        """Return the fitted parameters and what a value means."""
        return {
            "definition": f"discounted value of the next {model.horizon_days:g} days",
            "clv_basis": data.records.economics.clv_basis,
            "clv_horizon_days": model.horizon_days,
            "discount_rate_per_year": model.discount_rate_per_year,
            "purchase_model": model.purchases_.family,
            "season_seen": model.spread_.season_seen,
            "demand_window_days": model.demand_.window_days if model.demand_ else None,
            "purchases": {name: float(value) for name, value in model.purchases_.params_.items()},
            "spend": {name: float(value) for name, value in model.spend_.params_.items()},
        }


def _season(model: ClvModel) -> tuple[str, ...]:
    """Warn where the coming season has never been seen."""
    if model.spread_.season_seen:
        return ()
    return (
        "less than a year of history: the coming season has not been seen, and the intervals of orders and value are "
        "wider for it",
    )


def _named(of: str, metrics: Mapping[str, Interval]) -> dict[str, Interval]:
    return {f"{of}_{name}": value for name, value in metrics.items()}
