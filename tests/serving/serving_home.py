"""A home with scores and published models, made by hand, and the service on it."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from models.artefact import publish, write_artefact
from perennial.settings import Settings
from serving.decisions.playbook import load_playbook
from serving.loading import CONTEXT, load
from serving.scoring import ScoreRun
from serving.server import create_app
from serving.store import Store
from tests.serving import handmade
from tests.serving.calling import Client

MASTER = "master-key-of-the-tests"
KEY = {"X-API-Key": MASTER}


def settings_for(home: Path, **changes: object) -> Settings:
    return Settings(home=home, **{"api_key": MASTER, **changes})  # type: ignore[arg-type]


def load_scores(
    home: Path, customers: int = 20, *, masters: Mapping[str, str] = MappingProxyType({}), **changes: object
) -> pd.DataFrame:
    """Load a hand-made run into the home's store; return its scores."""
    made = handmade.run(customers, playbook_sha256=load_playbook().sha256)
    scores = made.scores.assign(**changes)
    eligible = [[action] if action == "do_nothing" else ["do_nothing", action] for action in scores["action_id"]]
    snapshot = scores[["customer_id", "as_of"]].assign(frequency=3.0, gap_cv=float("nan"))
    context = scores[["customer_id"]].assign(**{**dict.fromkeys(CONTEXT), "birthday": date(1980, 2, 29)})
    proposals = pd.DataFrame({"eligible_actions": eligible}, index=scores["customer_id"])
    history = scores[["customer_id"]].assign(month=date(2017, 9, 1), orders=2, spend=31.5)
    store = Store(settings_for(home).store_url)
    orders = scores[["customer_id"]].assign(
        order_id="R1", ordered_at=pd.Timestamp("2017-09-30T15:00:00Z"), channel=None, lines=2, spend=31.5
    )
    load(store, ScoreRun(scores, made.manifest, snapshot, context, proposals), history, orders, masters)
    store.close()
    return scores


def publish_model(home: Path, name: str, version: str) -> Path:
    """Publish a stand-in model; return its place on the shelf."""
    shelf = home / "models"
    source = write_artefact(home / "built" / f"{name}-{version}", name, {"model.json": version.encode()}, {"rows": 3})
    publish(shelf, name, version, source)
    return shelf / name / version


def client_on(home: Path, **changes: object) -> Client:
    app, _ = create_app(settings_for(home, **changes))
    return Client(app, **KEY)
