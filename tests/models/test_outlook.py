"""Distributions around what is expected, and what closed windows teach about them, on worlds of known spread."""

import numpy as np
import pytest

from models.outlook import KNOTS, Common, Outlook, Ranks, Spread, level
from models.rehearsal import Window, learn_spread
from perennial.errors import ArtefactError

N = 6000


def outlook(n: int = N, seed: int = 1) -> Outlook:
    rng = np.random.default_rng(seed)
    orders = rng.gamma(0.8, 3.0, n) + 0.02
    level = 5.0 + rng.gamma(2.0, 5.0, n)
    return Outlook(
        none=np.exp(-orders),
        orders=orders,
        value=orders * 30.0,
        dispersion=1 / rng.uniform(2, 30, n),
        level_shape=level,
        order_shape=4.0,
    )


def came(expected: Outlook, seed: int, *, drift: float = 0.0, level: float = 1.0) -> Window:
    """Draw what happens when rates drift and everybody buys ``level`` times as much as expected."""
    rng = np.random.default_rng(seed)
    true = expected.at_level(level)
    shape = 1 / (drift + true.dispersion)
    more = rng.negative_binomial(shape, shape / (shape + true.more))
    orders = np.where(rng.random(len(more)) < true.buys, 1.0 + more, 0.0)
    rates = rng.gamma(true.level_shape) / (true.level_shape - 1)
    per_order = true.value / (true.buys * (1 + true.more))
    value = np.where(orders > 0, rng.gamma(4.0 * np.maximum(orders, 1)) / 4.0 * per_order / rates, 0.0)
    return Window(expected, orders, value)


def hits(spread: Spread, window: Window, seed: int = 5) -> tuple[float, float]:
    """Return the shares of orders and of values between the 5th and 95th percentile, steps shared out at random."""
    rng = np.random.default_rng(seed)
    ends = (
        [spread.order_probability(window.outlook, window.orders - gap) for gap in (1.0, 0.0)],
        [
            spread.value_probability(window.outlook, np.where(window.value > 0, window.value, -1.0)),
            spread.value_probability(window.outlook, window.value),
        ],
    )
    ranks = [low + rng.random(N) * (high - low) for low, high in ends]
    return tuple(float(((rank >= 0.05) & (rank <= 0.95)).mean()) for rank in ranks)


@pytest.fixture(scope="module")
def drifting() -> Spread:
    windows = [came(outlook(seed=seed), seed, drift=0.6, level=level) for seed, level in ((11, 0.8), (12, 1.25))]
    return learn_spread(windows, 90)


def test_histories_alone_hold_where_nothing_else_is_at_work():
    assert hits(Spread(), came(outlook(), 2)) == pytest.approx((0.90, 0.90), abs=0.012)


def test_rates_that_drift_are_learned_whatever_the_level_of_the_windows(drifting):
    later = came(outlook(seed=3), 4, drift=0.6)
    assert hits(Spread(), later)[0] < 0.87
    assert hits(drifting, later) == pytest.approx((0.90, 0.90), abs=0.015)
    assert drifting.drift == pytest.approx(0.6, rel=0.25)
    assert drifting.order_errors == pytest.approx((np.log(0.8), np.log(1.25)), abs=0.03)


def test_a_customer_s_range_is_where_the_probability_is_reached(drifting):
    expected = outlook()
    for spread in (Spread(), drifting):
        low, high = spread.order_range(expected)
        assert (spread.order_probability(expected, high) >= 0.95 - 1e-9).all()
        assert (spread.order_probability(expected, high - 1) < 0.95).all()
        assert (spread.order_probability(expected, low - 1) < 0.05).all()
        least, most = spread.value_range(expected)
        some = most > 0
        assert spread.value_probability(expected, most)[some] == pytest.approx(0.95, abs=1e-6)
        assert (least <= most).all()
        assert (most[~some] == 0).all()


def test_variances_are_those_of_what_comes():
    expected = outlook()
    orders, values = (
        np.stack(parts) for parts in zip(*((w.orders, w.value) for w in map(draw, range(300))), strict=True)
    )
    spread = Spread()
    assert orders.var(axis=0).sum() == pytest.approx(spread.order_variance(expected).sum(), rel=0.03)
    assert values.var(axis=0).sum() == pytest.approx(spread.value_variance(expected).sum(), rel=0.25)


def draw(seed: int) -> Window:
    return came(outlook(), 100 + seed)


def test_a_sum_is_as_uncertain_as_its_windows_were():
    calm, stormy = Common.of([0.01, -0.01, 0.01, 0.0], 1.0), Common.of([0.3, -0.3, 0.2, -0.2], 1.0)
    for common, widest in ((calm, 0.25), (stormy, 1.5)):
        low, high = common.range(1000.0, 0.0)
        assert low < 1000 < high
        assert np.log(high / low) < widest
    assert np.log(np.divide(*stormy.range(1000.0, 0.0)[::-1])) > 4 * np.log(np.divide(*calm.range(1000.0, 0.0)[::-1]))
    few = calm.range(10.0, 10.0)
    assert few[1] / few[0] > 2  # ten orders vary by themselves
    unknown = Common.of([], 1.0).range(1000.0, 0.0)
    assert np.log(np.divide(unknown, 1000.0)) == pytest.approx((-0.18, 0.18), abs=0.005)  # the doubt before any window
    far = Common.of([0.1, -0.1, 0.1], 4.0).range(1.0, 0.0)
    near = Common.of([0.1, -0.1, 0.1], 1.0).range(1.0, 0.0)
    assert np.log(far[1] / far[0]) == pytest.approx(2 * np.log(near[1] / near[0]))
    assert calm.range(0.0, 0.0) == (0.0, 0.0)


def test_what_every_window_was_off_by_is_served_and_no_longer_doubted():
    steady, wild = Spread(order_errors=(-0.2,) * 8), Spread(order_errors=(-0.2, 0.2) * 4)
    assert np.log(steady.levels) == pytest.approx([-0.16, 0.0])
    assert wild.levels == pytest.approx((1.0, 1.0))
    assert steady.common(0)[0].deviation < wild.common(0)[0].deviation / 2


def test_a_season_never_seen_widens_a_sum():
    unseen, seen = (Spread(order_errors=(0.1, -0.1), season_seen=known).common(0)[0] for known in (False, True))
    assert unseen.deviation == pytest.approx(np.sqrt(2) * seen.deviation)
    assert unseen.windows == seen.windows


def test_nine_sums_in_ten_lie_within_whatever_the_level_of_the_windows():
    rng = np.random.default_rng(4)
    held = []
    for windows in (2, 5, 9) * 400:
        *errors, coming = rng.normal(rng.normal(0, 0.08), 0.06, windows + 1)
        low, high = Common.of(errors, 1.0).range(np.exp(level(errors)), 0.0)
        held.append(low <= np.exp(coming) <= high)
    assert np.mean(held) == pytest.approx(0.90, abs=0.03)


def test_windows_forecast_by_histories_alone_tell_of_sums_only():
    windows = [came(outlook(seed=seed), seed, level=1.2) for seed in (21, 22)]
    spread = learn_spread([], 90, bare=windows)
    assert len(spread.order_errors) == len(spread.value_errors) == 2
    assert (spread.drift, spread.history, spread.order_ranks) == (0.0, 1.0, Ranks())


def test_windows_in_which_hardly_anybody_bought_teach_nothing():
    window = came(outlook(40), 3)
    assert learn_spread([window], 90).order_errors == ()


def test_ranks_are_found_by_how_much_is_expected():
    rng = np.random.default_rng(9)
    orders = rng.uniform(0, 10, 4000)
    ranks = np.where(orders < 5, 0.4 + 0.2 * rng.random(4000), rng.random(4000))
    learned = Ranks.learn(ranks, orders)
    narrow, wide = learned.of(0.95, np.array([1.0, 9.0]))
    assert narrow == pytest.approx(0.59, abs=0.01)
    assert wide == pytest.approx(0.95, abs=0.02)
    back = learned.probability(np.array([narrow, wide]), np.array([1.0, 9.0]))
    assert back == pytest.approx(0.95)
    assert len(Ranks.learn(ranks[:300], orders[:300]).at) == 1
    assert all(len(table) == len(KNOTS) for table in learned.at)


def test_it_is_restored_to_the_bit_and_damage_is_refused(drifting):
    assert Spread.from_json(drifting.to_json()) == drifting
    for name in drifting.to_json():
        broken = {key: value for key, value in drifting.to_json().items() if key != name}
        with pytest.raises(ArtefactError, match="train the clv model again"):
            Spread.from_json(broken)
    with pytest.raises(ArtefactError):
        Spread.from_json({**drifting.to_json(), "order_ranks": {"edges": [1.0], "at": [[0.5]]}})
