"""BG/NBD's posterior by NUTS, in an environment with pymc-marketing: ``clv_nuts.py SUMMARY.csv PRIOR.json``.

Imports nothing of this project. ``PRIOR.json`` has the mean and the standard deviation of each log parameter.
"""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def main() -> None:
    """Sample and print posterior means, their Monte Carlo errors, effective sample size and seconds."""
    warnings.simplefilter("ignore")
    from arviz import ess, mcse  # type: ignore[import-not-found]
    from pymc_extras.prior import Prior  # type: ignore[import-not-found]
    from pymc_marketing.clv import BetaGeoModel  # type: ignore[import-not-found]

    summary, prior = pd.read_csv(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    summary = summary.rename_axis("customer_id").reset_index()
    beliefs: dict[str, Any] = {name: Prior("LogNormal", mu=mu, sigma=sd) for name, (mu, sd) in prior.items()}
    model = BetaGeoModel(data=summary, model_config=beliefs)
    start = time.perf_counter()
    model.fit(method="mcmc", draws=1000, tune=500, chains=2, cores=2, progressbar=False, random_seed=1)
    seconds = time.perf_counter() - start
    draws = model.idata.posterior[list(prior)]
    result = {
        "seconds": seconds,
        "means": {name: float(draws[name].mean()) for name in prior},
        "errors": {name: float(value) for name, value in mcse(draws).items()},
        "effective": float(np.min([float(value) for value in ess(draws).values()])),
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
