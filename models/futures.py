"""Simulated futures of customers: what each may really buy and spend, not only what is expected.

Every draw is one possible world, the same for all customers: its parameters (Laplace), the uniforms that decide each
customer's state, one Poisson process of wishes to buy and one sequence of order values. A customer's future in a world
depends on that customer's history alone, so the customer gets the same interval alone as among a million.
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

from models.btyd_kernel import GeoParams, log_odds_left
from models.matrix import Floats
from models.purchases import GeoModel
from models.spend import GammaGammaModel

_PARAMETER_DRAWS = 32
_EVENTS = 400  # purchases simulated one by one; beyond, counts and sums are so large that they are nearly normal
_CHUNK = 8192  # customers at once: never customers x draws in memory
_CELLS = 65_536  # customers x draws at once: few enough for the processor's cache


@dataclass(frozen=True)
class Histories:
    """What the future depends on, (n_customers,) each.

    ``spent`` is the value of all repeat purchases, 0 if unknown; ``pace`` and ``worth`` multiply the purchase rate and
    the order values that the history speaks of; ``alive`` is P(alive), None where the parameters say it.
    """

    x: Floats
    t_x: Floats
    age: Floats
    spent: Floats
    x_spend: Floats
    pace: Floats
    worth: Floats
    alive: Floats | None = None

    def part(self, rows: slice) -> "Histories":
        """Return some of the customers."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return Histories(**{name: value[rows] for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class Worlds:
    """What the draws have in common for all customers; the first axis is the draw."""

    geo: Floats  # (n_draws, 4): parameters of the purchases
    money: Floats  # (n_draws, 3): parameters of the spend
    uniforms: Floats  # (n_draws, 5): alive, purchase rate, chance to leave, when to leave, spend rate
    normals: Floats  # (n_draws, 2): for counts and sums beyond _EVENTS
    wishes: Floats  # (n_draws, _EVENTS): times of a Poisson process of rate 1
    spends: Floats  # (n_draws, _EVENTS + 1): sums of the first order values at a spend rate of 1

    def part(self, draws: slice) -> "Worlds":
        """Return some of the draws."""
        return Worlds(*(getattr(self, field.name)[draws] for field in fields(self)))


class Futures:
    """Draws of realised purchases and discounted revenue, customer by customer."""

    def __init__(self, purchases: GeoModel, spend: GammaGammaModel, n_draws: int, seed: int) -> None:
        self._purchases, self._spend, self._n_draws, self._seed = purchases, spend, n_draws, seed

    @cached_property
    def _worlds(self) -> Worlds:
        rng = np.random.default_rng(self._seed)
        n = self._n_draws
        normals = special.ndtri(_spread(min(n, _PARAMETER_DRAWS), 7, rng))
        of_draw = np.arange(n) * len(normals) // n
        geo = self._purchases.parameters_at(normals[:, :4])[of_draw]
        money = self._spend.parameters_at(normals[:, 4:])[of_draw]
        values = rng.standard_gamma(money[:, :1], (n, _EVENTS))
        return Worlds(
            geo=geo,
            money=money,
            uniforms=_spread(n, 5, rng),
            normals=rng.standard_normal((n, 2)),
            wishes=np.cumsum(rng.standard_exponential((n, _EVENTS)), axis=1),
            spends=np.concatenate([np.zeros((n, 1)), np.cumsum(values, axis=1)], axis=1),
        )

    def ranges(
        self, histories: Histories, order_days: float, value_days: float, rate: float, tails: tuple[float, float]
    ) -> tuple[Floats, Floats]:
        """Return two quantiles of purchases in ``order_days`` and of revenue in ``value_days``, (n_customers, 2) each.

        Revenue is discounted at ``rate`` a day. A quantile is the least drawn value that so many draws do not exceed.
        """
        ranks = [max(int(np.ceil(tail * self._n_draws)) - 1, 0) for tail in tails]
        orders, value = np.empty((len(histories.x), 2)), np.empty((len(histories.x), 2))
        for start in range(0, len(histories.x), _CHUNK):
            rows = slice(start, start + _CHUNK)
            counts, money = self.draw(histories.part(rows), order_days, value_days, rate)
            orders[rows] = np.partition(counts.T, ranks)[:, ranks]
            value[rows] = np.partition(money.T, ranks)[:, ranks]
        return orders, value

    def draw(
        self, histories: Histories, order_days: float, value_days: float, rate: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return purchases and discounted revenue in every world, of shape (n_draws, n_customers)."""
        n = len(histories.x)
        orders, money = (np.zeros((self._n_draws, n), dtype=np.float32) for _ in range(2))
        step = max(1, _CELLS // max(n, 1))
        for start in range(0, self._n_draws, step):
            draws = slice(start, start + step)
            worlds = self._worlds.part(draws)
            living = worlds.uniforms[:, :1] < self._alive(worlds.geo, histories)
            cells = _Cells(worlds, histories, self._purchases.chances(histories.x), living)
            orders[draws][living] = cells.purchases(order_days)
            money[draws][living] = cells.revenue(value_days, rate)
        return orders, money

    def _alive(self, geo: Floats, histories: Histories) -> Floats:
        """Return P(alive) in every world, of shape (n_draws, n_customers); equal parameters stand together."""
        if histories.alive is not None:
            return np.broadcast_to(histories.alive, (len(geo), len(histories.x)))
        chances = self._purchases.chances(histories.x)
        alive = np.empty((len(geo), len(histories.x)))
        for i, params in enumerate(geo):
            if i and (params == geo[i - 1]).all():
                alive[i] = alive[i - 1]
            else:
                odds = log_odds_left(GeoParams(*params), histories.x, histories.t_x, histories.age, chances)
                special.expit(-odds, out=alive[i])
        return alive


class _Cells:
    """Living pairs of world and customer, flat, in the order of the worlds."""

    def __init__(self, worlds: Worlds, histories: Histories, chances: Floats, living: npt.NDArray[np.bool_]) -> None:
        self._worlds = worlds
        self._draw, customer = np.nonzero(living)
        self._ends = np.cumsum(np.count_nonzero(living, axis=1))
        kinds, code = np.unique(np.stack([histories.x, chances, histories.x_spend]), axis=1, return_inverse=True)
        kind = code[customer]
        r, alpha, a, b = worlds.geo.T[:, :, None]
        p, q, v = worlds.money.T[:, :, None]
        uniforms = worlds.uniforms[:, :, None]
        rates = special.gammaincinv(r + kinds[0], uniforms[:, 1])
        leave = special.betaincinv(a, b + kinds[1], uniforms[:, 2])
        with np.errstate(divide="ignore"):  # a chance too small to tell from none: never leaves
            passes = np.floor(np.log(uniforms[:, 3]) / np.log1p(-leave))
        spend_rates = special.gammaincinv(p * kinds[2] + q, uniforms[:, 4])
        self._speed = (
            rates[self._draw, kind] * histories.pace[customer] / (alpha[self._draw, 0] + histories.age[customer])
        )
        self._leaves = (1 + passes)[self._draw, kind]
        priors = v[self._draw, 0] + histories.spent[customer]
        self._scale = priors * histories.worth[customer] / spend_rates[self._draw, kind]

    def purchases(self, days: float) -> Floats:
        """Return how many purchases come within so many days: wishes until the customer leaves."""
        return np.asarray(np.minimum(self._wishes(days), self._leaves))

    def revenue(self, days: float, rate: float) -> Floats:
        """Return the discounted revenue of so many days."""
        wishes = self._wishes(days)
        count = np.minimum(wishes, self._leaves)
        return np.asarray(self._sums(count) * self._scale * self._discount(count, wishes, days, rate))

    def _wishes(self, days: float) -> Floats:
        """Return Poisson counts: how many of the world's wishes come in so long."""
        mean = self._speed * days
        count = np.empty(len(mean))
        start = 0
        for times, end in zip(self._worlds.wishes, self._ends, strict=True):
            count[start:end] = np.searchsorted(times, mean[start:end], side="right")
            start = end
        many = count == _EVENTS
        if many.any():
            z, large = self._worlds.normals[self._draw[many], 0], mean[many]
            count[many] = np.maximum(np.rint(large + np.sqrt(large) * z + (z**2 - 1) / 6), _EVENTS)
        return count

    def _sums(self, count: Floats) -> Floats:
        """Return the sum of that many order values at a spend rate of 1."""
        total = self._worlds.spends[self._draw, np.minimum(count, _EVENTS).astype(np.intp)]
        many = count > _EVENTS
        if many.any():
            draw = self._draw[many]
            shape = self._worlds.money[draw, 0] * count[many]
            # Wilson & Hilferty's cube root of a gamma variable
            total[many] = shape * (1 - 1 / (9 * shape) + self._worlds.normals[draw, 1] / (3 * np.sqrt(shape))) ** 3
        return total

    def _discount(self, count: Floats, wishes: Floats, days: float, rate: float) -> Floats:
        """Return the mean discount of the purchases: even over the horizon, or until the last if the customer left."""
        mean = np.full(len(count), _even_discount(np.array(rate * days)))
        left = np.flatnonzero((count < wishes) & (count > 0))
        last = count[left]
        one_by_one = self._worlds.wishes[self._draw[left], np.minimum(last, _EVENTS).astype(np.intp) - 1]
        exponent = rate * np.where(last <= _EVENTS, one_by_one, last) / self._speed[left]
        mean[left] = ((last - 1) * _even_discount(exponent) + np.exp(-exponent)) / last
        return mean


def _even_discount(exponent: Floats) -> Floats:
    """Return the mean of exp(-t) for t spread evenly from 0 to the exponent."""
    exponent = np.maximum(exponent, 1e-12)
    return np.asarray(-np.expm1(-exponent) / exponent)


def _spread(n: int, dimensions: int, rng: np.random.Generator) -> Floats:
    """Return n points evenly spread in the open unit cube: Kronecker's sequence, randomly shifted.

    The steps are powers of the root of g^(d+1) = g + 1 (Roberts 2018, "The unreasonable effectiveness of quasirandom
    sequences").
    """
    root = 2.0
    for _ in range(60):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1.0, dimensions + 1)
    points = (rng.random(dimensions) + np.outer(np.arange(n), steps)) % 1
    return np.asarray(np.clip(points, 1e-9, 1 - 1e-9))
