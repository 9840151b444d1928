"""Empty, half ready, ready; new models and new runs while it serves."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from serving import metrics
from serving.answers import Answers
from serving.server import create_app
from serving.shelf import Shelf
from serving.store import Store
from tests.serving import handmade
from tests.serving.calling import Client
from tests.serving.serving_home import KEY, client_on, load_scores, publish_model, settings_for


def test_it_starts_empty_live_but_not_ready(tmp_path: Path) -> None:
    with client_on(tmp_path) as client:
        assert client.get("/livez").status_code == 200
        ready = client.get("/readyz")
        scores = client.post("/v1/scores", json={"customer_ids": ["a"]})
        models = client.get("/v1/models")
        one = client.get("/v1/customers/a")
        text = client.get("/metrics").text
    assert (ready.status_code, scores.status_code, one.status_code) == (503, 503, 503)
    assert "perennial score" in ready.json()["detail"]
    assert "retry-after" in scores.headers
    assert models.json() == {"models": [], "fault": None, "scores": None}
    assert "perennial_ready 0.0" in text


def test_scores_without_a_model_are_served_but_not_ready(tmp_path: Path) -> None:
    load_scores(tmp_path)
    with client_on(tmp_path) as client:
        assert "perennial train" in client.get("/readyz").json()["detail"]
        assert client.get("/v1/customers/000001").status_code == 200


def test_scores_and_a_model_are_ready(tmp_path: Path) -> None:
    load_scores(tmp_path)
    publish_model(tmp_path, "churn", "1")
    with client_on(tmp_path) as client:
        ready = client.get("/readyz")
        text = client.get("/metrics").text
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert "perennial_ready 1.0" in text
    described = re.search(r"^perennial_scores_as_of_seconds (\S+)$", text, re.MULTILINE)
    assert described is not None
    assert float(described[1]) == handmade.manifest(1).as_of.timestamp()


def test_draining_is_not_ready_but_still_answers(tmp_path: Path) -> None:
    load_scores(tmp_path)
    publish_model(tmp_path, "churn", "1")
    app, api = create_app(settings_for(tmp_path))
    with Client(app, **KEY) as client:
        api.drain()
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200
        assert client.get("/v1/customers/000001").status_code == 200


def versions(shelf: Shelf) -> dict[str, Any]:
    return {name: champion.artefact.version for name, champion in shelf.current.items()}


def test_a_new_model_is_taken_and_a_corrupt_one_leaves_the_old(tmp_path: Path) -> None:
    publish_model(tmp_path, "churn", "1")
    shelf = Shelf(tmp_path / "models")
    assert shelf.refresh()
    assert not shelf.refresh()
    publish_model(tmp_path, "clv", "1")
    broken = publish_model(tmp_path, "churn", "2")
    (broken / "model.json").write_bytes(b"altered")
    refused = metrics.MODEL_LOADS.labels("refused")._value.get()
    assert not shelf.refresh()
    assert versions(shelf) == {"churn": "1"}
    assert shelf.fault is not None
    assert metrics.MODEL_LOADS.labels("refused")._value.get() == refused + 1
    publish_model(tmp_path, "churn", "3")
    assert shelf.refresh()
    assert versions(shelf) == {"churn": "3", "clv": "1"}
    assert shelf.fault is None


def test_a_shelf_that_cannot_be_read_keeps_what_serves(tmp_path: Path) -> None:
    publish_model(tmp_path, "churn", "1")
    shelf = Shelf(tmp_path / "models")
    shelf.refresh()
    (tmp_path / "models" / "champions.json").write_text("{", encoding="utf-8")
    shelf.refresh()
    assert versions(shelf) == {"churn": "1"}
    (tmp_path / "models" / "champions.json").unlink()
    shelf.refresh()
    assert versions(shelf) == {"churn": "1"}


def test_the_service_watches_the_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.api._WATCH_SECONDS", 0.01)
    load_scores(tmp_path)
    with client_on(tmp_path) as client:
        assert client.get("/readyz").status_code == 503
        publish_model(tmp_path, "churn", "1")
        while client.get("/readyz").status_code == 503:
            pass
        assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["churn"]


def test_one_answer_comes_from_one_run_while_runs_change(tmp_path: Path) -> None:
    load_scores(tmp_path, churn_probability=0.0)
    answers = Answers(settings_for(tmp_path))
    ids = [f"{i:06d}" for i in range(20)]
    seen: dict[str, set[float]] = {}
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            answer = answers.scores(ids)
            found = {item["score"]["churn_probability"] for item in answer["results"]}
            seen.setdefault(answer["run_id"], set()).update(found)

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(1, 8):
        load_scores(tmp_path, churn_probability=step / 8)
    stop.set()
    reader.join()
    answers.close()
    assert len(seen) > 1
    assert all(len(values) == 1 for values in seen.values()), seen


def test_a_store_that_is_away_is_503_and_comes_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "store.db").mkdir()  # a folder where the file should be: cannot be opened
    with client_on(home) as client:
        away = client.post("/v1/scores", json={"customer_ids": ["000001"]})
        assert (away.status_code, away.headers["retry-after"]) == (503, "5")
        assert away.json()["type"] == "urn:perennial:problem:store-away"
        assert str(home) not in away.text
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200
        (home / "store.db").rmdir()
        load_scores(home)
        assert client.post("/v1/scores", json={"customer_ids": ["000001"]}).status_code == 200


def test_a_store_that_fails_while_serving_is_503(tmp_path: Path) -> None:
    load_scores(tmp_path)
    with client_on(tmp_path) as client:
        assert client.get("/v1/customers/000001").status_code == 200
        Store(settings_for(tmp_path).store_url).close()
        for suffix in ("", "-wal", "-shm"):
            path = tmp_path / f"store.db{suffix}"
            if path.exists():
                path.write_bytes(b"not a database at all, whatever the name says" * 200)
        assert client.get("/v1/customers/000001").status_code == 503
