"""What each customer is worth: purchases times order value times margin, discounted, with intervals."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.artefact import json_file, read_json_file
from models.demand import FILE as DEMAND_FILE
from models.demand import DemandModel, Forecaster, fit_spend
from models.families import Family, fit_likeliest, read_purchases
from models.matrix import Floats, require_columns
from models.outlook import Common, Outlook, Spread
from models.parallel import in_pieces
from models.prospects import Prospector, Prospects
from models.purchase_model import PurchaseModel
from models.purchases import ModifiedBetaGeoModel
from models.spend import GammaGammaModel
from models.summary import HISTORY, read_columns, read_history
from models.totals import total_by
from perennial.errors import ArtefactError, InsufficientData, SourceError

_MIN_REPEAT_BUYERS = 50
_DAYS_PER_YEAR = 365.0
_CHUNK = 131_072  # customers at once: what is worked out between is kept of these only
_FILE = "clv.json"
_FITTED_ON = (*HISTORY, "monetary_value")  # snapshot columns that fitting reads


class ClvModel:
    """Customer lifetime value over ``horizon_days``, of the model that explains the purchases best.

    Parameters
    ----------
    horizon_days : float
        How far ahead value is counted, over 0.
    discount_rate_per_year : float
        A year later money is worth ``1 / (1 + rate)`` of today's; at least 0.
    family : Family or None
        The model of purchases; None takes the likeliest of BG/NBD, MBG/NBD and Pareto/NBD.

    Attributes
    ----------
    purchases_ : PurchaseModel
    alive_ : ModifiedBetaGeoModel
        Where P(alive) always comes from: BG/NBD's is 1 for every one-time buyer.
    spend_ : GammaGammaModel
    demand_ : DemandModel or None
        What labelled windows taught beyond the histories: it sets the level of each customer's orders and spend.
    spread_ : Spread
        How far outcomes lay from what was expected, in closed windows or by the histories alone.
    anchor_ : (float, float)
        What forecast orders and spend are multiplied by. Those of the demand model go half way, in logs, to the total
        that the histories forecast of the customers fitted on: trees repeat the level of the windows they saw,
        histories follow ageing. Half way was the nearest of none, half and all on inner origins of CDNOW, grocery and
        Complete Journey. Both then take the level at which closed windows came in (`Spread.levels`).
    """

    purchases_: PurchaseModel
    alive_: ModifiedBetaGeoModel
    spend_: GammaGammaModel
    demand_: DemandModel | None
    spread_: Spread
    anchor_: tuple[float, float]

    def __init__(
        self,
        horizon_days: float = 365,
        discount_rate_per_year: float = 0.10,
        family: Family | None = None,
    ) -> None:
        self.horizon_days = horizon_days
        self.discount_rate_per_year = discount_rate_per_year
        self.family = family

    @property
    def inputs(self) -> tuple[str, ...]:
        """Snapshot columns that scoring reads, once fitted."""
        return tuple(dict.fromkeys((*_FITTED_ON, *(self.demand_.inputs if self.demand_ else ()))))

    def fit(self, snapshot: pd.DataFrame, demand: DemandModel | None = None, spread: Spread | None = None) -> Self:
        """Fit on frequency, recency, T (days) and monetary_value, one row per customer.

        ``demand`` and ``spread``, learned from windows that closed before the snapshot, correct what histories alone
        forecast, and how sure of it they are.
        """
        self._check_parameters()
        x, _, _ = read_history(snapshot)
        (mean_spend,) = read_columns(snapshot, ("monetary_value",))
        valued = int(((x > 0) & (mean_spend > 0)).sum())
        if (x > 0).any() and not np.isfinite(mean_spend).any():
            raise InsufficientData("clv: no purchase has a value, so there is no money to predict; map orders.amount")
        if valued < _MIN_REPEAT_BUYERS:
            raise InsufficientData(
                f"clv: {valued} of {len(x)} customers have repeat purchases of value; {_MIN_REPEAT_BUYERS} are needed"
            )
        purchases = fit_likeliest(snapshot) if self.family is None else self.family.fit(snapshot)
        alive = ModifiedBetaGeoModel().fit(snapshot)
        self._learn(purchases, alive, fit_spend(snapshot), demand, spread)
        self.anchor_ = self._anchored(snapshot)
        return self

    def _learn(
        self,
        purchases: PurchaseModel,
        alive: ModifiedBetaGeoModel,
        spend: GammaGammaModel,
        demand: DemandModel | None = None,
        spread: Spread | None = None,
        anchor: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self.purchases_, self.alive_, self.spend_ = purchases, alive, spend
        self.demand_, self.spread_, self.anchor_ = demand, spread or Spread(), anchor

    def _anchored(self, snapshot: pd.DataFrame) -> tuple[float, float]:
        if self.demand_ is None:
            return self.spread_.levels
        days, forecaster = self.demand_.window_days, Forecaster(self.purchases_, self.spend_)
        wanted = self.demand_.predict(snapshot, forecaster, days)
        orders = self.purchases_.predict_purchases(snapshot, horizon_days=days)
        spend = orders * self.spend_.predict_spend(snapshot)
        half = np.sqrt([orders.sum() / wanted.orders.sum(), spend.sum() / wanted.spend.sum()])
        order_level, value_level = self.spread_.levels
        return float(half[0]) * order_level, float(half[1]) * value_level

    def _check_parameters(self) -> None:
        if not 0 < self.horizon_days < np.inf:
            raise ValueError(f"horizon_days is {self.horizon_days}; it must be over 0 and finite")
        if not 0 <= self.discount_rate_per_year < np.inf:
            raise ValueError(f"discount_rate_per_year is {self.discount_rate_per_year}; it must be at least 0")

    def predict(
        self,
        snapshot: pd.DataFrame,
        *,
        margin_rate: float | npt.ArrayLike | None = None,
        horizon_days: float = 90,
        churn_probability: npt.ArrayLike | None = None,
    ) -> pd.DataFrame:
        """Predict orders and spend over the score horizon ``horizon_days`` and value over the model's own horizon.

        ``churn_probability``, (n_customers,) in 0 to 1, is a better judgement of who buys within ``horizon_days``: it
        sets how likely each customer is still there for every column; ``p_alive`` stays MBG/NBD's, but never below the
        probability of buying, since who buys is alive. Where it is lower than the purchases model can go (P(no
        purchase) of a customer certainly still there), the columns speak of a customer certainly still there, and so
        of somewhat fewer purchases than it asks for.

        ``margin_rate`` (one, or one per customer, 0 to 1) turns revenue into margin in the ``clv`` columns; without it
        they are revenue. ``low`` and ``high`` are the 5th and 95th percentile of what will really happen, so a mean can
        lie above ``high`` when almost surely nothing happens. ``next_order_days`` is a median, NaN when the customer
        more likely never buys again. ``orders_deviation``, ``spend_deviation`` and ``clv_deviation`` are the customer's
        own standard deviations, which add up in sums as squares, without what all have in common (`commons`). Customers
        without history (T is 0, or frequency, recency and T are all missing: never seen) get what holds for the
        population, and ``from_population`` is true.
        """
        snapshot, margin = _seen(snapshot), _margin(margin_rate, len(snapshot))
        churn = _given(churn_probability)

        def part(rows: slice) -> pd.DataFrame:
            leaving = None if churn is None else churn[rows]
            return self._predicted(snapshot.iloc[rows], margin[rows], horizon_days, leaving)

        return pd.concat(in_pieces(part, len(snapshot), _CHUNK) or [part(slice(0))])

    def _predicted(
        self, snapshot: pd.DataFrame, margin: Floats, horizon_days: float, churn: Floats | None
    ) -> pd.DataFrame:
        ahead = self._prospector.look(snapshot, horizon_days, churn)
        order_range = self.spread_.over(horizon_days).order_range(ahead.near)
        value_range = self.spread_.over(self.horizon_days).value_range(ahead.far)
        return pd.DataFrame(
            {
                "p_alive": self._p_alive(snapshot, churn),
                "expected_orders": ahead.level.orders,
                "expected_orders_low": order_range[0],
                "expected_orders_high": order_range[1],
                "expected_order_value": ahead.level.order_value,
                "expected_spend": ahead.level.spend,
                "clv": ahead.far.value * margin,
                "clv_low": value_range[0] * margin,
                "clv_high": value_range[1] * margin,
                "clv_if_buys": ahead.if_buys * margin,
                "clv_if_not": ahead.if_not * margin,
                "next_order_days": self.purchases_.predict_next_purchase(snapshot, alive=ahead.alive),
                "from_population": (snapshot["T"] == 0) & (snapshot["frequency"] == 0),
                **{f"{amount}_deviation": np.sqrt(found) for amount, found in self._variances(ahead, margin).items()},
            },
            index=snapshot.index,
        )

    def predict_totals(
        self,
        snapshot: pd.DataFrame,
        groups: npt.ArrayLike | None = None,
        *,
        margin_rate: float | npt.ArrayLike | None = None,
        horizon_days: float = 90,
        churn_probability: npt.ArrayLike | None = None,
    ) -> pd.DataFrame:
        """Return what customers are expected to buy, spend and be worth together, with 90 % prediction intervals.

        One row per group, sorted; ``groups`` (n_customers,) says which customer belongs to which, and without it all
        belong to ``"all"``. Columns are ``customers`` and ``orders``, ``spend`` (both within ``horizon_days``) and
        ``clv``, each with ``_low`` and ``_high``: what single customers may do cancels out in a large group, what was
        wrong for all of them in closed windows does not. The other arguments are those of `predict`.
        """
        predicted = self.predict(
            snapshot, margin_rate=margin_rate, horizon_days=horizon_days, churn_probability=churn_probability
        )
        names = np.full(len(snapshot), "all") if groups is None else np.asarray(groups)
        return total_by(names, predicted, self.commons(horizon_days))

    def _variances(self, ahead: Prospects, margin: Floats) -> dict[str, Floats]:
        """Return the variance of each customer's orders, spend and value around what is expected, (n_customers,)."""
        return {
            "orders": np.maximum(self.spread_.order_variance(ahead.near), 0.0),
            "spend": self.spread_.value_variance(ahead.near),
            "clv": self.spread_.value_variance(ahead.far) * margin**2,
        }

    def commons(self, horizon_days: float) -> Mapping[str, Common]:
        """Return how far orders and spend within the horizon and value may be off for all customers at once."""
        (orders, spend), (_, value) = self.spread_.common(horizon_days), self.spread_.common(self.horizon_days)
        return {"orders": orders, "spend": spend, "clv": value}

    def predict_spend(self, snapshot: pd.DataFrame, *, horizon_days: float) -> Floats:
        """Return the expected spend within the horizon, (n_customers,)."""
        return self._prospector.level(snapshot, horizon_days).spend

    def outlook(
        self, snapshot: pd.DataFrame, *, horizon_days: float, churn_probability: npt.ArrayLike | None = None
    ) -> Outlook:
        """Return what orders and spend within the horizon are expected, and what the histories leave open."""
        return self._prospector.look(_seen(snapshot), horizon_days, _given(churn_probability)).near

    @property
    def _prospector(self) -> Prospector:
        rate_per_day = float(np.log1p(self.discount_rate_per_year)) / _DAYS_PER_YEAR
        return Prospector(
            Forecaster(self.purchases_, self.spend_), self.demand_, self.anchor_, self.horizon_days, rate_per_day
        )

    def _p_alive(self, snapshot: pd.DataFrame, churn_probability: Floats | None) -> Floats:
        latent = self.alive_.predict_alive(snapshot)
        return latent if churn_probability is None else np.maximum(latent, 1 - churn_probability)

    def to_files(self) -> dict[str, bytes]:
        """Return the fitted model as an artefact's files."""
        state = {
            "horizon_days": self.horizon_days,
            "discount_rate_per_year": self.discount_rate_per_year,
            "purchases": self.purchases_.to_json(),
            "alive": self.alive_.to_json(),
            "spend": self.spend_.to_json(),
            "spread": self.spread_.to_json(),
            "anchor": list(self.anchor_),
        }
        return {_FILE: json_file(state), **(self.demand_.to_files() if self.demand_ else {})}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], *, num_threads: int = 1) -> Self:
        """Restore a fitted model from an artefact's files."""
        state: dict[str, Any] = read_json_file(files, _FILE)
        try:
            model = cls(state["horizon_days"], state["discount_rate_per_year"])
            purchases, spread = read_purchases(state["purchases"]), Spread.from_json(state["spread"])
            alive, spend = ModifiedBetaGeoModel.from_json(state["alive"]), GammaGammaModel.from_json(state["spend"])
            anchor = (float(state["anchor"][0]), float(state["anchor"][1]))
            model._check_parameters()
        except (IndexError, KeyError, TypeError, ValueError):
            raise ArtefactError(f"{_FILE}: does not hold a fitted clv model; train it again") from None
        demand = DemandModel.from_files(files, num_threads=num_threads) if DEMAND_FILE in files else None
        model._learn(purchases, alive, spend, demand, spread, anchor)
        return model


def _seen(snapshot: pd.DataFrame) -> pd.DataFrame:
    """Return the snapshot with customers never seen as customers without history."""
    require_columns(snapshot, HISTORY)
    unseen = snapshot[list(HISTORY)].isna().all(axis=1)
    if not unseen.any():
        return snapshot
    return snapshot.assign(**{name: snapshot[name].where(~unseen, 0.0) for name in HISTORY})


def _given(churn_probability: npt.ArrayLike | None) -> Floats | None:
    return None if churn_probability is None else np.asarray(churn_probability, dtype=np.float64)


def _margin(margin_rate: float | npt.ArrayLike | None, n_customers: int) -> Floats:
    margin = np.broadcast_to(np.asarray(1.0 if margin_rate is None else margin_rate, dtype=np.float64), n_customers)
    wrong = ~((margin >= 0) & (margin <= 1))
    if wrong.any():
        raise SourceError(
            f"margin_rate is {margin[np.argmax(wrong)]:g} for {int(wrong.sum())} customers; 0 to 1 is needed"
        )
    return margin
