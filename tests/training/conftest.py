"""Small records for training tests, straight into canonical tables."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.records import Records
from features.sources import records_from_frames
from perennial.settings import Settings, settings
from training.registry import Registry

RecordsFromLines = Callable[..., Records]


def records_from_lines(lines: pd.DataFrame, timezone: str = "UTC") -> Records:
    """Return validated records of order lines: customer_id, ordered_at and known_at (UTC), amount, order_id."""
    instants = {
        name: pd.to_datetime(lines[name], format="ISO8601").dt.tz_localize("UTC")
        for name in ("ordered_at", "known_at")
        if name in lines
    }
    return records_from_frames({"orders": lines.assign(**instants)}, timezone=timezone)


@pytest.fixture(scope="session")
def from_lines() -> RecordsFromLines:
    return records_from_lines


def simulated_lines(n_customers: int = 700, days: int = 240, seed: int = 5) -> pd.DataFrame:
    """Return order lines of customers who buy at their own rate until they leave (a BG/NBD world with spend)."""
    rng = np.random.default_rng(seed)
    rate, leave = rng.gamma(1.2, 1 / 14.0, n_customers), rng.beta(0.8, 6.0, n_customers)
    spend = 20 * rng.gamma(4.0, 0.25, n_customers)
    rows = []
    for who in range(n_customers):
        day = rng.uniform(0, days * 0.6)
        while day < days:
            rows.append((f"c{who:04d}", day, round(float(spend[who] * rng.gamma(6.0, 1 / 6.0)), 2)))
            if rng.random() < leave[who]:
                break
            day += rng.exponential(1 / rate[who])
    lines = pd.DataFrame(rows, columns=["customer_id", "day", "amount"])
    lines["ordered_at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.floor(lines.day * 24), unit="h")
    return lines.drop(columns="day")


@pytest.fixture(scope="session")
def company() -> Records:
    return records_from_lines(simulated_lines())


@pytest.fixture(scope="session")
def blank_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty MLflow database: making one takes seconds, copying it none."""
    home = tmp_path_factory.mktemp("blank")
    Registry(Settings(home=home).mlflow_uri)
    return home / "mlflow.db"


@pytest.fixture
def home(tmp_path: Path, blank_registry: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a fresh home that the process's settings point to."""
    yield from _home(tmp_path / "home", blank_registry, monkeypatch)


@pytest.fixture(scope="module")
def lasting_home(tmp_path_factory: pytest.TempPathFactory, blank_registry: Path) -> Iterator[Path]:
    """Return a home shared by a module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        yield from _home(tmp_path_factory.mktemp("lasting") / "home", blank_registry, patch)


def _home(path: Path, blank_registry: Path, patch: pytest.MonkeyPatch) -> Iterator[Path]:
    path.mkdir()
    shutil.copy(blank_registry, path / "mlflow.db")
    patch.setenv("PERENNIAL_HOME", str(path))
    patch.setenv("PERENNIAL_THREADS", "1")
    settings.cache_clear()
    yield path
    settings.cache_clear()


@pytest.fixture(scope="session")
def simulate() -> Callable[..., pd.DataFrame]:
    return simulated_lines
