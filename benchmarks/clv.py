"""The value engine beside published figures, lifetimes and pymc-marketing: ``make bench-clv``.

One JSON line per figure, each with what the figure should be. Options: ``--customers`` of the bases that lifetimes is
compared on, ``--large`` of those we fit alone, ``--fits`` on odd samples, ``--nuts`` the Python of an environment with
pymc-marketing (left out: no comparison with NUTS).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import clv_bases
from models.clv import ClvModel
from models.histories import HistoryCounts
from models.likelihood import LogNormalPrior
from models.purchase_model import PurchaseModel
from models.purchases import BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel
from models.spend import GammaGammaModel
from perennial.errors import PerennialError

SEED = 7
PRIOR_SD = 2.5
BASES = {"cohort of 84 days": clv_bases.cohort, "three years": clv_bases.three_years}
LARGE_GOAL = {"cohort of 84 days": 0.4, "three years": 4.0}
RATIO_GOAL = {"cohort of 84 days": 100, "three years": 30}
# Fader, Hardie & Lee (2005) for BG/NBD and Pareto/NBD; MBG/NBD as lifetimes finds it
PUBLISHED: dict[type[PurchaseModel], tuple[float, dict[str, float]]] = {
    BetaGeoModel: (-9582.43, {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}),
    ModifiedBetaGeoModel: (-9582.14, {"r": 0.525, "alpha": 6.183, "a": 0.891, "b": 1.614}),
    ParetoNBDModel: (-9594.98, {"r": 0.553, "alpha": 10.578, "s": 0.606, "beta": 11.669}),
}


def report(what: str, value: float, unit: str, goal: str = "") -> None:
    """Print one figure with what is needed to get it again."""
    figure = {
        "what": what,
        "value": round(value, 6),
        "unit": unit,
        **({"goal": goal} if goal else {}),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("numpy", "scipy", "pandas", "lifetimes")},
        "seed": SEED,
        "command": f"python -m benchmarks.clv {' '.join(sys.argv[1:])}".strip(),
    }
    sys.stdout.write(json.dumps(figure) + "\n")
    sys.stdout.flush()


def parity() -> None:
    """Fit CDNOW's sample: log-likelihoods and parameters as published, and as lifetimes finds them."""
    sample = clv_bases.cdnow_sample()
    for family, (log_likelihood, params) in PUBLISHED.items():
        model, theirs = family().fit(sample), family(fitter="lifetimes").fit(sample)
        report(f"CDNOW {model.family} log-likelihood", model.log_likelihood_, "nats", f"{log_likelihood} ± 0.01")
        for name, value in model.params_.items():
            goal = f"published {params[name]}, lifetimes {theirs.params_[name]:.5g}"
            report(f"CDNOW {model.family} {name}", value, "weeks" if name in {"alpha", "beta"} else "1", goal)
    spend = GammaGammaModel().fit(sample)
    report("CDNOW gamma_gamma log-likelihood", spend.log_likelihood_, "nats", "-4055.92 ± 0.01")
    history = clv_bases.cdnow_history(clv_bases.cdnow_days("CDNOW_sample.txt", None))
    weeks = history.assign(recency=history["recency"] / 7, T=history["T"] / 7)
    expected = BetaGeoModel().fit(weeks).predict_purchases(weeks, horizon_days=39)
    report("CDNOW hold-out correlation", float(np.corrcoef(expected, weeks["future"])[0, 1]), "1", "0.626")


def speed(customers: int, large: int, folder: Path) -> None:
    """Time fit, standard errors and scoring of both bases, ours against lifetimes, and ours alone on large ones."""
    for name, simulate in BASES.items():
        file = folder / "base.parquet"
        simulate(customers, SEED).to_parquet(file)
        own, other = _timed("ours", file, 5), _timed("lifetimes", file, 1)
        report(f"fit, errors, P(alive), E[X], P(0): {name}, {customers:,}", own["seconds"], "s")
        report(f"lifetimes without errors and P(0): {name}, {customers:,}", other["seconds"], "s")
        report(
            f"lifetimes over ours: {name}, {customers:,}",
            other["seconds"] / own["seconds"],
            "ratio",
            f"≥ {RATIO_GOAL[name]}",
        )
        if large:
            simulate(large, SEED).to_parquet(file)
            own = _timed("ours", file, 5)
            report(
                f"fit, errors, P(alive), E[X], P(0): {name}, {large:,}", own["seconds"], "s", f"≤ {LARGE_GOAL[name]}"
            )
            report(f"memory at the peak: {name}, {large:,}", own["peak_gb"], "GB", "≤ 2")
            both = _timed("spend", file, 3)
            report(f"the same with Gamma-Gamma: {name}, {large:,}", both["seconds"], "s", "≤ 1.5 for the cohort")


def _timed(way: str, file: Path, runs: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.clv_speed", way, str(file), str(runs)]
    measured: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return measured


def posterior(nuts: str | None, folder: Path) -> None:
    """Sample BG/NBD's posterior of all 23,570 customers of CDNOW, beside NUTS under the same prior."""
    history = clv_bases.cdnow_history(clv_bases.cdnow_days("CDNOW_master.txt", 0))[["frequency", "recency", "T"]]
    counts = HistoryCounts.of(history)
    model = BetaGeoModel().fit(counts)
    prior = LogNormalPrior(np.log([0.5, 100.0, 0.8, 2.5]), PRIOR_SD)
    start = time.perf_counter()
    sample = model.sample_posterior(counts, prior=prior)
    report("posterior of 23,570 customers", time.perf_counter() - start, "s", "≤ 1.5")
    report("effective sample size", sample.effective_sample_size, "draws", "≥ 1000")
    if nuts is None:
        return
    table, beliefs = folder / "cdnow.csv", folder / "prior.json"
    history.to_csv(table, index=False)
    beliefs.write_text(json.dumps({n: [mu, PRIOR_SD] for n, mu in zip(model.params_, prior.centre, strict=True)}))
    command = [nuts, str(Path(__file__).with_name("clv_nuts.py")), str(table), str(beliefs)]
    theirs = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    report("NUTS (pymc-marketing), 2 chains of 500 + 1,000", theirs["seconds"], "s")
    report("its effective sample size, the least of the parameters", theirs["effective"], "draws")
    for name, mean in sample.means.items():
        goal = f"≤ 1 (Monte Carlo error of NUTS {100 * theirs['errors'][name] / theirs['means'][name]:.2f})"
        report(f"posterior mean of {name} against NUTS", 100 * abs(mean / theirs["means"][name] - 1), "%", goal)


def odd_fits(fits: int) -> None:
    """Fit so many odd samples: every fit reaches a peak, or says why not."""
    outcomes = dict.fromkeys(("a peak", "a peak of likelihood and prior", "said why not", "silently wrong"), 0)
    families: tuple[Callable[[], PurchaseModel], ...] = (BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel)
    for number in range(fits):
        outcomes[_outcome(families[number % 3](), clv_bases.odd_sample(number))] += 1
    for outcome, count in outcomes.items():
        goal = "0" if outcome == "silently wrong" else ""
        report(f"{fits:,} fits of odd samples: {outcome}", count, "fits", goal)


def _outcome(model: PurchaseModel, sample: pd.DataFrame) -> str:
    try:
        model.fit(sample)
    except PerennialError:
        return "said why not"
    counts = HistoryCounts.of(sample)
    likelihood, theta = model._likelihood(counts), np.log(list(model.params_.values()))
    starts = model._starts(counts)
    prior = LogNormalPrior(starts[0])
    evaluation = likelihood(theta)
    value, gradient, hessian = prior.add(evaluation, theta) if model.prior_used_ else evaluation
    steps = np.random.default_rng(0).normal(0, 0.05, (20, len(theta)))
    around = likelihood.values(theta + steps) + (prior.log_density(theta + steps) if model.prior_used_ else 0.0)
    predictions = [model.predict_alive(sample), model.predict_purchases(sample, horizon_days=float(sample["T"].max()))]
    right = (
        float(gradient @ np.linalg.solve(-hessian, gradient)) < 1e-6
        and np.linalg.eigvalsh(hessian)[-1] < 0
        and bool((around <= value + 1e-6).all())
        and all(np.isfinite(values).all() and (values >= 0).all() for values in predictions)
    )
    if not right:
        return "silently wrong"
    return "a peak of likelihood and prior" if model.prior_used_ else "a peak"


def value_with_intervals(customers: int) -> None:
    """Time the value of every customer with its intervals, in the three-year base."""
    base = clv_bases.three_years(customers, SEED)
    model = ClvModel().fit(base)
    start = time.perf_counter()
    model.predict(base, horizon_days=90.0)
    report(f"value with intervals, 512 futures a customer, {customers:,}", time.perf_counter() - start, "s")


def main() -> None:
    """Measure everything, cheapest first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000)
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--nuts", default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        parity()
        odd_fits(asked.fits)
        posterior(asked.nuts, Path(name))
        speed(asked.customers, asked.large, Path(name))
        value_with_intervals(min(asked.customers, 100_000))


if __name__ == "__main__":
    main()
