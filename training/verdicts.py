"""What a backtest showed: every measure with its interval, every rival in plain words, every slice against chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from models.retention_offer import RetentionOffer
from training.backtest import Backtest
from training.baselines import AVERAGE_RULE, RECENCY_RULE
from training.metrics import (
    AMOUNT_MEASURES,
    CHURN_MEASURES,
    COMPARED_MEASURES,
    Comparison,
    Floats,
    Interval,
    Measure,
    compare,
    corrected,
    coverage,
    evaluate,
    more_is_better,
)
from training.profit import empc
from training.rivals import OURS, STAYING_VALUE
from training.slices import Slice, slices_of
from training.warning import Warned, lead_times

NAMES: Mapping[str, str] = MappingProxyType(
    {
        OURS: "Perennial",
        "recency_rule": RECENCY_RULE,
        "own_average": AVERAGE_RULE,
        "bg_nbd": "BG/NBD",
        "mbg_nbd": "MBG/NBD",
        "plain_lightgbm": "plain LightGBM",
    }
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that is predicted: which column predicts it, what came, how it is measured and compared."""

    name: str
    predicted: str
    came: str
    measures: Mapping[str, Measure]
    compared: tuple[str, ...]


TYPICAL_CLV = 200.0  # of the customers for whom the usual offer's costs were stated (Verbraken et al. 2013)
FIGURES = (
    Figure("churn", "churn_probability", "churned", CHURN_MEASURES, ("auc", "log_loss", "brier", "empc")),
    Figure("orders", "expected_orders", "actual_orders", AMOUNT_MEASURES, ("rmse", "normalised_gini", "spearman")),
    Figure("spend", "expected_spend", "actual_spend", AMOUNT_MEASURES, ("rmse", "normalised_gini")),
)
ALONE = frozenset(NAMES[model] for model in ("bg_nbd", "mbg_nbd", "plain_lightgbm"))


@dataclass(frozen=True)
class Verdicts:
    """Measures by model over all origins and of ours by origin, comparisons with every rival, slices, early warning.

    ``comparisons`` are corrected as one family, ``against_better`` as another: by measure, what we are against the one
    of BTYD and LightGBM alone that did better there. That one is picked with the outcome known, which favours it.

    ``offer`` is the retention offer whose expected maximum profit is among the comparisons.
    """

    metrics: Mapping[str, Mapping[str, Interval]]
    by_origin: Mapping[str, Mapping[str, Interval]]
    comparisons: tuple[Comparison, ...]
    against_better: tuple[Comparison, ...]
    slices: tuple[Slice, ...]
    warnings: tuple[Warned, ...]
    offer: RetentionOffer


def judge(run: Backtest, seed: int) -> Verdicts:
    """Measure all models on the same rows; intervals draw customers, with all their origins."""
    by_model = {str(model): rows.reset_index(drop=True) for model, rows in run.predictions.groupby("model", sort=False)}
    ours = by_model[OURS]
    worth = ours.merge(run.slices, on=["origin", "customer_id"], how="left")[STAYING_VALUE].to_numpy(dtype=np.float64)
    offer = _offer(worth)
    profit = {"empc": empc(np.maximum(worth, 0.0), offer)}
    compared = [
        comparison
        for model, rows in by_model.items()
        if model != OURS
        for comparison in _compared(ours, rows, NAMES[model], profit, seed)
    ]
    return Verdicts(
        metrics=MappingProxyType({model: _measured(rows, seed) for model, rows in by_model.items()}),
        by_origin=MappingProxyType(
            {
                day.isoformat(): _measured(rows, seed)  # the source's day: the instant may be the day before in UTC
                for day, (_, rows) in zip(run.origins, ours.groupby("origin"), strict=True)
            }
        ),
        comparisons=corrected(compared),
        against_better=corrected(_against_better(compared)),
        slices=_slices(run, ours),
        warnings=lead_times(ours, run.slices, run.horizon_days, seed),
        offer=offer,
    )


def _measured(rows: pd.DataFrame, seed: int) -> dict[str, Interval]:
    measured: dict[str, Interval] = {}
    customer = rows["customer_id"].tolist()
    for figure in FIGURES:
        if rows[figure.predicted].notna().all():
            found = evaluate(figure.measures, rows[figure.came], rows[figure.predicted], customer, seed)
            measured |= {f"{figure.name}_{name}": interval for name, interval in found.items()}
    if rows["expected_orders_high"].notna().all():
        within = coverage(_floats(rows, "expected_orders_low"), _floats(rows, "expected_orders_high"))
        measured |= evaluate(
            {"orders_coverage": within}, rows["actual_orders"], rows["expected_orders"], customer, seed
        )
    return measured


def _offer(worth: Floats) -> RetentionOffer:
    """Return an offer whose costs are the usual share of what keeping a customer is worth on average."""
    usual = RetentionOffer()
    scale = max(float(np.mean(worth)), 0.0) / TYPICAL_CLV
    return RetentionOffer(usual.contact_cost * scale, usual.incentive_cost * scale)


def _compared(
    ours: pd.DataFrame, theirs: pd.DataFrame, name: str, profit: Mapping[str, Measure], seed: int
) -> list[Comparison]:
    return [
        compare(
            measure,
            ours[figure.came],
            ours[figure.predicted],
            theirs[figure.predicted],
            name,
            of=figure.name,
            customer=ours["customer_id"].tolist(),
            seed=seed,
            measures={**COMPARED_MEASURES, **profit},
        )
        for figure in FIGURES
        if theirs[figure.predicted].notna().all()
        for measure in figure.compared
    ]


def _against_better(compared: Sequence[Comparison]) -> list[Comparison]:
    """Return for every measure the comparison with the best of `ALONE`."""
    alone = [found for found in compared if found.baseline_name in ALONE]
    return [
        max(
            (found for found in alone if found.measure == measure),
            key=lambda found: found.baseline if more_is_better(found.measure) else -found.baseline,
        )
        for measure in dict.fromkeys(found.measure for found in alone)
    ]


def _slices(run: Backtest, ours: pd.DataFrame) -> tuple[Slice, ...]:
    latest = ours[ours["origin"] == ours["origin"].max()]
    return slices_of(latest.merge(run.slices, on=["origin", "customer_id"]))


def _floats(rows: pd.DataFrame, name: str) -> Floats:
    return rows[name].to_numpy(dtype=np.float64)
