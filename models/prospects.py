"""What is expected of customers: their level of orders and spend now, and what that means near and far.

The purchases model says how a customer's pace goes on; the demand model, where there is one, how fast and how dear it
is today; the churn probability, where one is given, who is still there.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from models.demand import DemandModel, Forecaster
from models.histories import collapse
from models.matrix import Floats
from models.outlook import Outlook
from models.spend import posterior_rate
from models.spend_kernel import SpendParams
from models.summary import read_columns, read_history

_FEW_MORE = 0.05  # orders beyond the first: so few that their dispersion hardly shows
_MOST_DISPERSED = 20.0


@dataclass(frozen=True)
class Level:
    """What a customer is expected to buy, (n_customers,) each, and how that compares with the history alone.

    ``order_value`` is what an order of the customer is worth, by the spend model; ``spend`` what is expected in all.
    ``pace`` is expected orders over the purchases model's, ``worth`` spend over orders times order value: below 1 where
    the orders to come are smaller than those that were. ``none`` is P(no order).
    """

    orders: Floats
    order_value: Floats
    spend: Floats
    pace: Floats
    worth: Floats
    none: Floats


@dataclass(frozen=True)
class Prospects:
    """All that is expected of customers, (n_customers,) each.

    ``near`` looks over the score horizon (its value is spend), ``far`` over the model's own (discounted revenue).
    ``if_buys`` and ``if_not`` are that revenue for who buys within the score horizon and who does not. ``alive`` is the
    P(alive) that all of it rests on; None leaves it to the purchases model.
    """

    level: Level
    near: Outlook
    far: Outlook
    if_buys: Floats
    if_not: Floats
    alive: Floats | None


@dataclass(frozen=True)
class Prospector:
    """Fitted models that together say what to expect, value being counted over ``value_days``.

    ``anchor`` is what forecast orders and spend are multiplied by, ``rate_per_day`` the continuous discount rate.
    """

    forecaster: Forecaster
    demand: DemandModel | None
    anchor: tuple[float, float]
    value_days: float
    rate_per_day: float

    def look(self, snapshot: pd.DataFrame, days: float, churn_probability: Floats | None) -> Prospects:
        """Return what is expected of the snapshot's customers, ``days`` being the score horizon.

        ``churn_probability`` (n_customers,), where given, says who buys nothing within it.
        """
        alive = None if churn_probability is None else self._there(snapshot, days, churn_probability)
        purchases, if_buys, if_not = self._purchase_values(snapshot, days, alive)
        level = self.level(snapshot, days, alive)
        if churn_probability is not None:
            level = replace(level, none=churn_probability)
        each = level.pace * level.worth * level.order_value
        x, (mean_spend,) = read_history(snapshot)[0], read_columns(snapshot, ("monetary_value",))
        level_shape, _ = posterior_rate(SpendParams(**self.forecaster.spend.params_), x, mean_spend)
        near_some, far_some = (self._some_if_alive(snapshot, level.pace * reach) for reach in (days, self.value_days))
        near = Outlook(
            none=level.none,
            orders=level.orders,
            value=level.spend,
            dispersion=np.zeros(len(x)),
            level_shape=level_shape,
            order_shape=self.forecaster.spend.params_["p"],
        )
        none = 1 - np.minimum((1 - level.none) * far_some / near_some, 1.0)
        far = replace(near, none=none, orders=purchases * level.pace, value=purchases * each)
        return Prospects(
            level,
            near=self._dispersed(near, snapshot, days, near_some),
            far=self._dispersed(far, snapshot, self.value_days, far_some),
            if_buys=if_buys * each,
            if_not=if_not * each,
            alive=alive,
        )

    def _some_if_alive(self, snapshot: pd.DataFrame, days: Floats) -> Floats:
        """Return P(a purchase within so many days | alive), each customer's own days, (n_customers,)."""
        return -np.expm1(self.forecaster.purchases.log_none_if_alive(*read_history(snapshot), days))

    def _dispersed(self, outlook: Outlook, snapshot: pd.DataFrame, days: float, some: Floats) -> Outlook:
        """Return the outlook with the dispersion that gives orders the variance they have in the purchases model.

        Given a rate and a lifetime, ``E[N(N - 1)]`` is twice the rate squared times the integral of u S(u), S being the
        chance to be there still; with ``m(u)``, the purchases expected by u, rate times S is m', and three points of m
        give the integral (Simpson's rule). A rate ``Gamma(r + k x, .)`` multiplies it by 1 + 1/(r + k x).
        """
        certainly = np.ones(len(snapshot))
        half, whole = (
            self.forecaster.purchases.predict_purchases(snapshot, horizon_days=part * days, alive=certainly)
            for part in (0.5, 1)
        )
        share = np.clip(half / whole, 0.5, 0.75)
        leaving = 2 * (4 * share - 1) * (5 - 4 * share) / 6
        regularity = getattr(self.forecaster.purchases, "regularity_", 1)
        rate_shape = self.forecaster.purchases.params_["r"] + regularity * read_history(snapshot)[0]
        number = 1 + outlook.more
        pairs = number**2 * some * (1 + 1 / rate_shape) * leaving + number * (1 / regularity - 1)
        dispersion = (pairs - 2 * outlook.more) / outlook.more**2 - 1
        flat = outlook.more < _FEW_MORE
        return replace(outlook, dispersion=np.where(flat, 1 / rate_shape, np.clip(dispersion, 0.0, _MOST_DISPERSED)))

    def level(self, snapshot: pd.DataFrame, days: float, alive: Floats | None = None) -> Level:
        """Return each customer's orders and order value, by the demand model where there is one."""
        orders = self.forecaster.purchases.predict_purchases(snapshot, horizon_days=days, alive=alive)
        order_value = self.forecaster.spend.predict_spend(snapshot)
        faster, richer = self.anchor
        if self.demand is None:
            pace, worth = np.full(len(orders), faster), np.full(len(orders), richer / faster)
            none = self.forecaster.purchases.predict_no_purchase(snapshot, horizon_days=days) ** faster
            return Level(orders * pace, order_value, orders * order_value * richer, pace, worth, none)
        found = self.demand.predict(snapshot, self.forecaster, days)
        wanted, spent = found.orders * faster, found.spend * richer
        pace = wanted / np.maximum(orders, np.finfo(np.float64).tiny)
        return Level(wanted, order_value, spent, pace, spent / (wanted * order_value), found.none**faster)

    def _there(self, snapshot: pd.DataFrame, days: float, churn_probability: Floats) -> Floats:
        """Return the P(alive) under which P(no purchase within ``days``) is the churn probability, 1 at most."""
        rows = collapse(read_history(snapshot))
        x, t_x, age = rows.columns
        some = -np.expm1(self.forecaster.purchases.log_none_if_alive(x, t_x, age, days))[rows.inverse]
        return np.asarray(np.clip((1 - churn_probability) / some, 0.0, 1.0))

    def _purchase_values(
        self, snapshot: pd.DataFrame, days: float, alive: Floats | None
    ) -> tuple[Floats, Floats, Floats]:
        """Return discounted expected purchases: as things stand, if the customer buys within ``days``, and if not.

        Without a purchase the history becomes (x, t_x, T + days); with one, the law of total expectation leaves
        E[value | buys] = (E[value | alive] - P(silent and still there | alive) E[value later]) / P(buys | alive).
        """
        model, rate, later = self.forecaster.purchases, self.rate_per_day, max(self.value_days - days, 0.0)
        rows = collapse(read_history(snapshot))
        x, t_x, age = rows.columns
        living = model.discounted_if_alive(x, t_x, age, self.value_days, rate)
        none = np.exp(model.log_none_if_alive(x, t_x, age, days))
        still = np.exp(model.log_silent_if_alive(x, t_x, age, days))
        waiting = still * np.exp(-rate * days) * model.discounted_if_alive(x, t_x, age + days, later, rate)
        buys = -np.expm1(model.log_none_if_alive(x, t_x, age, days))
        if_buys = (living - waiting) / buys
        at = rows.inverse
        alive = model.predict_alive(snapshot) if alive is None else alive
        with np.errstate(invalid="ignore"):  # alive for certain and certain to buy: silence is impossible
            if_not = np.nan_to_num(alive * waiting[at] / (1 - alive + alive * none[at]))
        return alive * living[at], if_buys[at], if_not
