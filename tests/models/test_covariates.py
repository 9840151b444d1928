import numpy as np
import pandas as pd
import pytest

from models.covariates import CovariatePurchases
from models.purchases import ModifiedBetaGeoModel
from perennial.errors import ArtefactError, SourceError

BASE = {"r": 0.9, "alpha": 25.0, "a": 0.8, "b": 2.4}
RATE, LEAVE = 0.5, 0.8  # of the channel "shop" on log rate and on the log odds of leaving
BASKET = 0.3  # of one standard deviation of the first basket on log rate


@pytest.fixture(scope="module")
def world(simulated):
    """Customers of two channels with known effects, and a first basket that makes them buy more often."""
    rng = np.random.default_rng(4)
    parts = []
    for channel, shift, leave in (("web", 0.0, 0.0), ("shop", RATE, LEAVE)):
        for seed, basket in enumerate(np.linspace(-1.5, 1.5, 7)):
            own = {
                "r": BASE["r"],
                "alpha": BASE["alpha"] * np.exp(-shift - BASKET * basket),
                "a": BASE["a"] * np.exp(leave / 2),
                "b": BASE["b"] * np.exp(-leave / 2),
            }
            part = simulated(own, chance_at_birth=True, n=600, horizon=90.0, seed=31 + 10 * seed + len(channel))
            parts.append(part.assign(channel=channel, basket=basket, noise=rng.normal(size=len(part)).round(1)))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def fitted(world):
    return CovariatePurchases(rate=["channel", "basket", "noise"], leave=["channel"]).fit(world)


def test_known_effects_are_found_and_noise_is_not(world, fitted):
    truth = {"channel=web": -RATE, "channel=shop": RATE, "basket": BASKET * world["basket"].std(ddof=0), "noise": 0.0}
    for name, (effect, error) in fitted.rate_effects_.items():
        assert abs(effect - truth[name]) < 3.5 * error, name
        assert error < 0.06
    ((name, (effect, error)),) = fitted.leave_effects_.items()
    assert abs(abs(effect) - LEAVE) < 3.5 * error
    assert np.sign(effect) == (1 if name == "channel=shop" else -1)


def test_predictions_come_true_by_channel_where_without_covariates_they_do_not(world, fitted):
    model, histories = fitted.individual(world)
    expected = model.predict_purchases(histories, horizon_days=90.0)
    alive, none = model.predict_alive(histories), model.predict_no_purchase(histories, horizon_days=90.0)
    newcomers = world.assign(frequency=0.0, recency=0.0, T=0.0)
    plain = ModifiedBetaGeoModel().fit(world).predict_purchases(newcomers, horizon_days=90.0)
    assert np.ptp(plain) == 0
    new_model, new = fitted.individual(newcomers)
    own = new_model.predict_purchases(new, horizon_days=90.0)
    shop = (world["channel"] == "shop").to_numpy()
    assert own[~shop].mean() != pytest.approx(own[shop].mean(), rel=0.02)
    for part in (shop, ~shop, world["basket"].to_numpy() > 1):
        spread = world["future"][part].std() / np.sqrt(part.sum())
        assert abs(expected[part].mean() - world["future"][part].mean()) < 4 * spread
        assert alive[part].mean() == pytest.approx(world["alive"][part].mean(), abs=0.03)
        assert none[part].mean() == pytest.approx((world["future"][part] == 0).mean(), abs=0.03)
    median = model.predict_next_purchase(histories)
    assert np.isfinite(median[alive > 0.6]).all()


def test_derivatives_are_those_of_the_likelihood(world):
    from models.covariates import _Rows
    from models.histories import collapse

    some = world.head(300)
    design = [some[name].to_numpy() for name in ("basket", "noise", "basket")]
    rows = collapse([some[name].to_numpy(np.float64) for name in ("frequency", "recency", "T")] + design)
    objective, theta = _Rows.of(rows, 2, 1), np.array([*np.log([0.8, 20.0, 0.7, 2.0]), 0.1, -0.2, 0.3])
    _, gradient, hessian = objective(theta)
    steps = 1e-5 * np.eye(len(theta))
    slopes = [(objective(theta + step)[0] - objective(theta - step)[0]) / 2e-5 for step in steps]
    bends = [(objective(theta + step)[1] - objective(theta - step)[1]) / 2e-5 for step in steps]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(hessian, bends, rtol=1e-5, atol=1e-5)


def test_a_strong_ridge_leaves_the_model_without_covariates(world):
    held = CovariatePurchases(rate=["channel"], leave=["channel"], ridge=1e9).fit(world)
    plain = ModifiedBetaGeoModel().fit(world)
    assert held.params_ == pytest.approx(plain.params_, rel=1e-3)
    assert held.log_likelihood_ == pytest.approx(plain.log_likelihood_, abs=0.01)


def test_files_restore_the_model_and_unknown_levels_are_the_commonest(world, fitted):
    restored = CovariatePurchases.from_files(fitted.to_files())
    assert restored.to_files() == fitted.to_files()
    customer = world.head(1).assign(channel="by post")
    known = world.head(1).assign(channel="web" if "channel=shop" in fitted.rate_effects_ else "shop")
    model, histories = restored.individual(customer)
    other, same = fitted.individual(known)
    assert model.predict_alive(histories) == pytest.approx(other.predict_alive(same))
    with pytest.raises(ArtefactError, match=r"covariates\.json"):
        CovariatePurchases.from_files({"covariates.json": b"{}"})


def test_missing_covariates_are_refused_by_name(world):
    with pytest.raises(SourceError, match="lacks the columns region"):
        CovariatePurchases(rate=["region"]).fit(world)
    with pytest.raises(SourceError, match="covariate channel is missing for 1 customers"):
        CovariatePurchases(rate=["channel"]).fit(world.assign(channel=world["channel"].where(world.index > 0)))
