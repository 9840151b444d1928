"""A small generated table of contracts, whose churn depends on contract, tenure and charge in a known way."""

import numpy as np
import pandas as pd


def contracts(n_rows: int = 900, seed: int = 4) -> pd.DataFrame:
    """Return rows with awkward columns: blanks in a text of numbers, a rare plan, dates, an id, one constant."""
    rng = np.random.default_rng(seed)
    tenure = rng.integers(0, 72, n_rows)
    contract = rng.choice(["Month-to-month", "One year", "Two year"], n_rows, p=[0.55, 0.25, 0.2])
    charge = rng.normal(65, 25, n_rows).round(2)
    log_odds = -1.2 + 1.3 * (contract == "Month-to-month") - 0.03 * (tenure - 30) + 0.012 * (charge - 65)
    total = pd.Series((tenure * charge).round(2).astype(str))
    return pd.DataFrame(
        {
            "customer": [f"{number:05d}-{rng.integers(999):03d}" for number in range(n_rows)],
            "tenure": tenure,
            "Contract": contract,
            "Monthly charge": charge,
            "TotalCharges": total.mask(pd.Series(tenure) == 0, " "),
            "senior": rng.random(n_rows) < 0.2,
            "支付方式": rng.choice(["微信", "支付宝", "银行卡"], n_rows),
            "plan": np.where(rng.random(n_rows) < 0.004, "legacy", rng.choice(["a", "b"], n_rows)),
            "signed_on": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n_rows), unit="D"),
            "country": "XX",
            "worth": rng.gamma(2.0, 150.0, n_rows).round(2),
            "Churn": np.where(rng.random(n_rows) < 1 / (1 + np.exp(-log_odds)), "Yes", "No"),
        }
    )
