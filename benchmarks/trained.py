"""A shelf of small real models, trained through their public classes on the generated company."""

from functools import lru_cache
from pathlib import Path

import pandas as pd

from benchmarks.company import generate
from features.records import AsOf, Records
from features.snapshot import build_snapshot
from features.sources import records_from_frames
from models.artefact import publish, write_artefact
from models.churn import ChurnModel
from models.clv import ClvModel
from models.segments import SegmentModel
from training.labels import label

HORIZON_DAYS = 60
CUSTOMERS = 1200


@lru_cache
def company(customers: int = CUSTOMERS, seed: int = 7) -> Records:
    """The generated company's records, consent refused unless given."""
    return records_from_frames(generate(customers, seed=seed).tables, currency="EUR", consent_default="refuse")


def today(records: Records) -> AsOf:
    """Return the day after the last order."""
    return records.as_of()


def put_on_shelf(shelf: Path, records: Records) -> None:
    """Fit churn, clv and segments before the company's last day and publish them as version 1."""
    as_of = today(records)
    origins = [as_of.earlier(days, records.timezone) for days in (3 * HORIZON_DAYS, 2 * HORIZON_DAYS, HORIZON_DAYS)]
    rows, later = _labelled(records, origins[:2]), _labelled(records, origins[2:])
    now = build_snapshot(records, as_of)
    models: dict[str, ChurnModel | ClvModel | SegmentModel] = {
        "churn": ChurnModel(HORIZON_DAYS).fit(*rows, calibration=later),
        "clv": ClvModel().fit(now),
        "segments": SegmentModel().fit(now),
    }
    for name, model in models.items():
        folder = write_artefact(shelf.parent / "built" / name, name, model.to_files(), {"horizon_days": HORIZON_DAYS})
        publish(shelf, name, "1", folder)


def _labelled(records: Records, origins: list[AsOf]) -> tuple[pd.DataFrame, pd.Series]:
    snapshots = [build_snapshot(records, origin) for origin in origins]
    labels = [label(records, origin, HORIZON_DAYS) for origin in origins]
    return pd.concat(snapshots, ignore_index=True), pd.concat(labels, ignore_index=True)["churned"]
