"""Expected orders and spend of the coming days, learned from what followed past snapshots.

Two boosted heads predict each amount from the snapshot and what BTYD models say of the same customer: one outright,
one as a factor on the BTYD forecast (log offset). Their geometric mean is predicted: the first knows the level that
came before, the second keeps to a forecast that follows the customer's ageing. Which of the two is better differs by
business; on inner origins of Complete Journey, Online Retail and CDNOW their mean was within 1 % of the better one, or
better than both (`python -m benchmarks.demand`). Spend is then drawn half way, in logs, to these orders times the order
value that a customer's own history speaks of: as exact there, and nearer to what the customer is known for.

One more head says who buys at all. A horizon longer than the windows it learned from is reached by the BTYD forecast's
ratio of the two.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import special

from features.catalogue import MODEL_FEATURES
from models.artefact import json_file, read_json_file
from models.families import Family, fit_likeliest
from models.matrix import Floats, columns_of
from models.openmp import read_booster
from models.purchase_model import PurchaseModel
from models.spend import GammaGammaModel
from models.trees import Boosting, grow
from perennial.errors import ArtefactError, ConvergenceError, InsufficientData

MIN_BUYERS = 200  # customers who bought in the windows: fewer teach the trees nothing that BTYD does not know
FILE = "demand.json"
_FAR_OUT = 4.0  # robust standard deviations: one normal customer in 16,000 spends so much or so little
_LEAST = 1e-4  # keeps the logarithm of a forecast finite


# The churn model's trees, learning faster and more of them: on inner origins of Complete Journey orders RMSE fell from
# 2.163 to 2.151 with twice as much learning; on Online Retail and CDNOW it changed by less than 1 %.
SHAPE = Boosting(trees=200, leaves=15, learning_rate=0.06)


def fit_spend(rows: pd.DataFrame) -> GammaGammaModel:
    """Fit order values: given the frequency where that matters, far-out customers held back."""
    return GammaGammaModel(given_frequency=None, winsorise_at=_FAR_OUT).fit(rows)


@dataclass(frozen=True)
class Forecaster:
    """A purchases model and a spend model that together forecast orders and spend from a history alone."""

    purchases: PurchaseModel
    spend: GammaGammaModel

    @classmethod
    def fit(cls, rows: pd.DataFrame, family: Family | None = None) -> "Forecaster":
        """Fit on the rows of one cutoff; without a family the likeliest of random timing."""
        return cls(fit_likeliest(rows) if family is None else family.fit(rows), fit_spend(rows))

    def columns(self, rows: pd.DataFrame, horizon_days: float) -> Floats:
        """Return expected orders, P(no purchase), P(alive) and expected order value, (n, 4)."""
        return np.column_stack(
            [
                self.purchases.predict_purchases(rows, horizon_days=horizon_days),
                self.purchases.predict_no_purchase(rows, horizon_days=horizon_days),
                self.purchases.predict_alive(rows),
                self.spend.predict_spend(rows),
            ]
        )


ORDERS, NONE, ORDER_VALUE = 0, 1, 3  # places in FORECASTS
FORECASTS = ("btyd_expected_purchases", "btyd_no_purchase", "btyd_alive", "btyd_order_value")


@dataclass(frozen=True, slots=True)
class Head:
    """One boosted model: what it predicts, by which likelihood, outright or as a factor on the forecast."""

    amount: str
    objective: str
    offset: bool

    @property
    def file(self) -> str:
        """Name of its trees in the artefact."""
        return f"{self.amount}_{'factor' if self.offset else 'level'}.txt"


HEADS = (
    Head("orders", "poisson", offset=False),
    Head("orders", "poisson", offset=True),
    Head("spend", "tweedie", offset=False),
    Head("spend", "tweedie", offset=True),
    Head("buying", "binary", offset=False),
)


@dataclass(frozen=True)
class Demand:
    """Expected orders and spend within a horizon, and P(no order), (n_customers,) each."""

    orders: Floats
    spend: Floats
    none: Floats


class DemandModel:
    """Expected orders (occasions) and spend (net, currency) after a snapshot.

    ``window_days`` is the length of the windows that the labels stand for, ``family`` the purchases model that
    forecasts. Learned: ``feature_names_`` and one booster
    per head of `HEADS`.
    """

    def __init__(
        self,
        window_days: float = 90,
        *,
        num_threads: int = 2,
        seed: int = 7,
        boosting: Boosting | None = None,
        family: Family | None = None,
    ) -> None:
        self.window_days = window_days
        self.family = family
        self.num_threads = num_threads
        self.seed = seed
        self.boosting = boosting or SHAPE

    def fit(self, learned: pd.DataFrame) -> Self:
        """Fit on labelled snapshot rows of one or more cutoffs.

        Parameters
        ----------
        learned : the catalogue's columns, ``as_of``, ``actual_orders`` and ``actual_spend`` of the following
            ``window_days``; negative spend (more returned than bought) counts as none

        Raises
        ------
        InsufficientData
            When fewer than `MIN_BUYERS` rows bought, or no cutoff's histories can be forecast.
        """
        buyers = int((learned["actual_orders"] > 0).sum())
        if buyers < MIN_BUYERS:
            raise InsufficientData(f"demand: {buyers} customers bought in the windows; {MIN_BUYERS} are needed")
        rows, forecasts = self._forecast_each_cutoff(learned)
        matrix = columns_of(rows, MODEL_FEATURES)
        varies = [len(np.unique(column)) > 1 for column in matrix.T]
        own = [name for name, keep in zip(MODEL_FEATURES, varies, strict=True) if keep]
        self.feature_names_ = (*own, *FORECASTS)
        matrix = np.column_stack([matrix[:, varies], forecasts])
        amounts = {
            "orders": rows["actual_orders"].to_numpy(dtype=np.float64),
            "spend": np.maximum(rows["actual_spend"].to_numpy(dtype=np.float64), 0.0),
            "buying": (rows["actual_orders"].to_numpy(dtype=np.float64) > 0).astype(np.float64),
        }
        self._boosters = {
            head: grow(
                matrix,
                amounts[head.amount],
                self.boosting,
                objective=head.objective,
                seed=self.seed,
                num_threads=self.num_threads,
                names=self.feature_names_,
                offset=_log_forecast(head, forecasts),
            )
            for head in HEADS
        }
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """Snapshot columns that predicting reads beside a history, once fitted."""
        return tuple(name for name in self.feature_names_ if name not in FORECASTS)

    def predict(self, rows: pd.DataFrame, forecaster: Forecaster, horizon_days: float) -> Demand:
        """Return what is expected within the horizon; the forecaster knows today's histories."""
        forecasts = forecaster.columns(rows, self.window_days)
        far = forecasts if horizon_days == self.window_days else forecaster.columns(rows, horizon_days)
        reach = far[:, ORDERS] / np.maximum(forecasts[:, ORDERS], np.finfo(np.float64).tiny)
        logs = self.predict_heads(rows, forecasts)
        orders, boosted = (
            np.exp(np.mean([logs[head] for head in HEADS if head.amount == amount], axis=0)) * reach
            for amount in ("orders", "spend")
        )
        buying = next(np.exp(logs[head]) for head in HEADS if head.amount == "buying")
        further = (1 - far[:, NONE]) / np.maximum(1 - forecasts[:, NONE], np.finfo(np.float64).tiny)
        spend = np.sqrt(boosted * orders * forecasts[:, ORDER_VALUE])
        return Demand(orders, spend, 1 - np.minimum(buying * further, 1.0))

    def predict_heads(self, rows: pd.DataFrame, forecasts: Floats) -> dict[Head, Floats]:
        """Return the logarithm of what each head expects within the window, (n,) each."""
        matrix = np.column_stack([columns_of(rows, self.inputs), forecasts])
        return {head: self._log_amount(head, matrix, forecasts) for head in HEADS}

    def to_files(self) -> dict[str, bytes]:
        """Artefact files: JSON and one LightGBM text per head."""
        state = {
            "window_days": self.window_days,
            "seed": self.seed,
            "boosting": asdict(self.boosting),
            "features": list(self.feature_names_),
        }
        trees = {head.file: self._boosters[head].model_to_string().encode() for head in HEADS}
        return {FILE: json_file(state), **trees}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], *, num_threads: int = 1) -> Self:
        """Read what `to_files` wrote."""
        state: dict[str, Any] = read_json_file(files, FILE)
        try:
            model = cls(
                state["window_days"],
                num_threads=num_threads,
                seed=state["seed"],
                boosting=Boosting(**state["boosting"]),
            )
            model.feature_names_ = tuple(state["features"])
            model._boosters = {head: read_booster(files[head.file].decode()) for head in HEADS}
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"demand model: {FILE} is from another format ({error!r}); train it again") from error
        return model

    def _forecast_each_cutoff(self, learned: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
        """Return the rows of cutoffs whose histories can be forecast, and the forecasts fitted on each alone."""
        rows, forecasts = [], []
        for _, at_cutoff in learned.groupby("as_of"):
            try:
                forecaster = Forecaster.fit(at_cutoff, self.family)
            except (InsufficientData, ConvergenceError):
                continue
            rows.append(at_cutoff)
            forecasts.append(forecaster.columns(at_cutoff, self.window_days))
        if not rows:
            raise InsufficientData("demand: at no cutoff were there repeat buyers enough to forecast from")
        return pd.concat(rows, ignore_index=True), np.vstack(forecasts)

    def _log_amount(self, head: Head, matrix: Floats, forecasts: Floats) -> Floats:
        raw = self._boosters[head].predict(matrix, raw_score=True, num_threads=self.num_threads)
        if head.objective == "binary":
            return np.asarray(special.log_expit(raw), dtype=np.float64)
        offset = _log_forecast(head, forecasts)
        return np.asarray(raw if offset is None else raw + offset, dtype=np.float64)


def _log_forecast(head: Head, forecasts: Floats) -> Floats | None:
    if not head.offset:
        return None
    log_orders = np.log(np.maximum(forecasts[:, ORDERS], _LEAST))
    if head.amount == "orders":
        return np.asarray(log_orders)
    return np.asarray(log_orders + np.log(np.maximum(forecasts[:, ORDER_VALUE], _LEAST)))
