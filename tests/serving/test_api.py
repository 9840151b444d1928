from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import decisions
from serving.store import Store
from tests.serving.calling import Client
from tests.serving.serving_home import client_on, load_scores, publish_model, settings_for


@pytest.fixture
def home(tmp_path: Path) -> Path:
    load_scores(tmp_path)
    publish_model(tmp_path, "churn", "3")
    return tmp_path


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    with client_on(home) as client:
        yield client


def test_scores_come_in_the_order_asked_each_with_its_status(client: Client) -> None:
    answer = client.post("/v1/scores", json={"customer_ids": ["000003", "nobody", "000001", "000003"]})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(item["customer_id"], item["status"]) for item in results] == [
        ("000003", "ok"),
        ("nobody", "not_found"),
        ("000001", "ok"),
        ("000003", "ok"),
    ]
    assert results[1]["score"] is None
    assert results[0] == results[3]


def test_a_former_id_is_answered_as_who_it_is_now(tmp_path: Path) -> None:
    load_scores(tmp_path, masters={"old-1": "000001", "lost": "nobody", "000002": "000001"})
    ids = ["old-1", "000001", "lost", "000002"]
    with client_on(tmp_path) as client:
        results = client.post("/v1/scores", json={"customer_ids": ids}).json()["results"]
        profile = client.get("/v1/customers/old-1").json()
        decision = client.get("/v1/customers/old-1/next-best-action").json()
        commit = {"customer_ids": ["old-1", "000001"], "commit": True}
        decided = client.post("/v1/next-best-actions", json=commit, headers={"Idempotency-Key": "k"}).json()["results"]
        assert client.get("/v1/customers/lost").status_code == 404
        page = client.get("/v1/customers/old-1").json()
    said = [(item["customer_id"], item.get("asked_id"), item["status"]) for item in results]
    assert said == [
        ("000001", "old-1", "ok"),
        ("000001", None, "ok"),
        ("lost", None, "not_found"),
        ("000002", None, "ok"),  # has scores of its own
    ]
    assert results[0]["score"] == results[1]["score"] == profile["score"]
    assert (profile["customer_id"], profile["asked_id"]) == ("000001", "old-1")
    assert profile["facts"] is not None
    assert (decision["customer_id"], decision["asked_id"]) == ("000001", "old-1")
    assert decided[0]["decision"]["decision_id"] == decided[1]["decision"]["decision_id"] is not None
    assert len(page["decisions"]) == 1
    load_scores(tmp_path)  # a later run in which they are not united any more
    with client_on(tmp_path) as client:
        assert client.get("/v1/customers/old-1").status_code == 404


def test_every_score_says_what_it_is_about(client: Client, home: Path) -> None:
    score = client.post("/v1/scores", json={"customer_ids": ["000001"]}).json()["results"][0]["score"]
    assert score["as_of"] == "2017-10-01T04:00:00Z"
    assert score["horizon_days"] == 28
    assert "no purchase within 28 days" in score["definition"]
    assert score["model_versions"] == {"churn": "3", "clv": "2", "segments": "1"}
    assert score["data_grade"] == "A"
    assert score["need_type"] is None
    stored = Store(settings_for(home).store_url)
    assert score["churn_probability"] == stored.scores_for(["000001"])["000001"]["churn_probability"]
    stored.close()


def test_an_undefined_number_is_null(tmp_path: Path) -> None:
    load_scores(tmp_path, clv=float("nan"), churn_probability=float("nan"))
    with client_on(tmp_path) as client:
        answer = client.post("/v1/scores", json={"customer_ids": ["000001"]})
    assert "NaN" not in answer.text
    score = answer.json()["results"][0]["score"]
    assert score["clv"] is None
    assert score["churn_probability"] is None


def test_a_profile_joins_scores_history_and_decisions(client: Client) -> None:
    profile = client.get("/v1/customers/000002").json()
    assert profile["score"]["currency"] == "USD"
    assert profile["facts"]["monthly"] == [{"month": "2017-09-01", "orders": 2, "spend": 31.5}]
    assert profile["facts"]["features"] == {"frequency": 3.0, "gap_cv": None}
    assert profile["facts"]["context"]["birthday"] == "1980-02-29"
    assert profile["decisions"] == []


def test_an_id_with_a_slash_and_other_signs_is_reachable(tmp_path: Path) -> None:
    made = load_scores(tmp_path, 3)
    nasty = ["a/b", "é 100%", "../../etc"]
    load_scores(tmp_path, 3, customer_id=nasty)
    assert len(made) == 3
    with client_on(tmp_path) as client:
        for escaped, customer_id in zip(["a%2Fb", "e%CC%81%20100%25", "..%2F..%2Fetc"], nasty, strict=True):
            answer = client.get(f"/v1/customers/{escaped}")
            assert (answer.status_code, answer.json().get("customer_id")) == (200, customer_id)
            assert client.get(f"/v1/customers/{escaped}/next-best-action").status_code == 200


@pytest.mark.parametrize("path", ["nobody", "%ff%fe", "%00", "x" * 129, "a%0Ab"])
@pytest.mark.parametrize("tail", ["", "/next-best-action"])
def test_unknown_and_impossible_ids_are_the_same_404(client: Client, path: str, tail: str) -> None:
    answer = client.get(f"/v1/customers/{path}{tail}")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:perennial:problem:unknown-customer"


def test_an_erased_customer_answers_like_an_unknown_one(client: Client, home: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(home / "store.db")
    connection.execute("DELETE FROM subjects WHERE customer_id = '000002'")
    connection.commit()
    connection.close()
    erased = client.get("/v1/customers/000002").json()
    unknown = client.get("/v1/customers/nobody").json()
    assert {**erased, "request_id": ""} == {**unknown, "request_id": ""}


def test_proposals_are_not_written(client: Client, home: Path) -> None:
    many = client.post("/v1/next-best-actions", json={"customer_ids": ["000001", "nobody"]}).json()
    one = client.get("/v1/customers/000001/next-best-action").json()
    assert many["committed"] is False
    assert [item["status"] for item in many["results"]] == ["ok", "not_found"]
    assert many["results"][0]["decision"] == one["decision"]
    assert one["decision"]["decision_id"] is None
    assert one["decision"]["eligible_actions"] == ["do_nothing", "win_back"]
    stored = Store(settings_for(home).store_url)
    assert stored.decisions_of("000001") == []
    stored.close()


def commit(client: Client, ids: list[str], key: str = "k1", **headers: str) -> dict[str, object]:
    answer = client.post(
        "/v1/next-best-actions",
        json={"customer_ids": ids, "commit": True},
        headers={"Idempotency-Key": key, **headers},
    )
    return {"status": answer.status_code, **answer.json()}


def test_a_commit_is_written_once_for_each_key(client: Client, home: Path) -> None:
    first = commit(client, ["000001", "nobody", "000002"])
    assert first["committed"] is True
    assert commit(client, ["000001", "nobody", "000002"]) == first
    load_scores(home, action_id="changed_since")
    again = commit(client, ["000001", "nobody", "000002"])
    assert again["results"][0]["decision"]["action_id"] == "win_back"  # type: ignore[index]
    stored = Store(settings_for(home).store_url)
    rows = stored.decisions_of("000001")
    stored.close()
    assert [row["decision_id"] for row in rows] == [first["results"][0]["decision"]["decision_id"]]  # type: ignore[index]
    assert rows[0]["propensity"] == first["results"][0]["decision"]["propensity"]  # type: ignore[index]


def test_the_profile_shows_committed_decisions(client: Client) -> None:
    committed = commit(client, ["000001"])
    profile = client.get("/v1/customers/000001").json()
    assert [row["decision_id"] for row in profile["decisions"]] == [
        committed["results"][0]["decision"]["decision_id"]  # type: ignore[index]
    ]
    assert "subject_key" not in str(profile)


def test_a_customer_is_decided_on_once_for_a_scoring_whoever_asks(client: Client, home: Path) -> None:
    stored = Store(settings_for(home).store_url)
    other = stored.add_key("other", ["score"])
    first = commit(client, ["000001"])
    second = commit(client, ["000001"], key="another", **{"X-API-Key": other})
    assert len(stored.decisions_of("000001")) == 1
    stored.close()
    assert first["results"] == second["results"]


def test_idempotency_keys_are_each_callers_own(client: Client, home: Path) -> None:
    stored = Store(settings_for(home).store_url)
    other = stored.add_key("other", ["score"])
    commit(client, ["000001"])
    commit(client, ["000002"], **{"X-API-Key": other})
    keys = {stored.decisions_of(customer_id)[0]["idempotency_key"] for customer_id in ("000001", "000002")}
    stored.close()
    assert len(keys) == 2


def test_what_was_committed_is_what_is_proposed_from_then_on(client: Client) -> None:
    committed = commit(client, ["000001"])["results"][0]["decision"]  # type: ignore[index]
    assert client.get("/v1/customers/000001/next-best-action").json()["decision"] == committed
    many = client.post("/v1/next-best-actions", json={"customer_ids": ["000001", "000002"]}).json()
    assert many["results"][0]["decision"] == committed
    assert many["results"][1]["decision"]["decision_id"] is None


def test_scores_made_with_another_playbook_cannot_be_committed(home: Path) -> None:
    playbook = home / "playbook.toml"
    shipped = Path(decisions.__file__).with_name("playbook.toml").read_text(encoding="utf-8")
    playbook.write_text(shipped + "\n# changed\n", encoding="utf-8")
    with client_on(home, playbook=playbook) as client:
        assert commit(client, ["000001"])["status"] == 503


def test_a_commit_without_a_key_is_refused(client: Client) -> None:
    answer = client.post("/v1/next-best-actions", json={"customer_ids": ["000001"], "commit": True})
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:perennial:problem:missing-idempotency-key"


def test_models_say_what_serves_and_on_what_it_was_trained(client: Client) -> None:
    answer = client.get("/v1/models").json()
    assert [(m["name"], m["version"], m["trained_on"]) for m in answer["models"]] == [("churn", "3", {"rows": 3})]
    assert len(answer["models"][0]["sha256"]) == 64
    assert answer["scores"]["customers"] == 20
    assert answer["fault"] is None


def test_bentoml_clients_get_the_same_answers(client: Client) -> None:
    body = {"customer_ids": ["000001", "nobody"]}
    assert client.post("/bentoml/scores", json=body).json() == client.post("/v1/scores", json=body).json()
    rest, bento = (
        client.post(path, json=body).json() for path in ("/v1/next-best-actions", "/bentoml/next-best-actions")
    )
    assert rest == bento
    refused = client.post("/bentoml/scores", json={"customer_ids": [7]})
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")


def test_a_new_run_is_answered_from_at_once(client: Client, home: Path) -> None:
    body = {"customer_ids": ["000001"]}
    before = client.post("/v1/scores", json=body).json()
    load_scores(home, churn_probability=0.125)
    after = client.post("/v1/scores", json=body).json()
    assert after["run_id"] != before["run_id"]
    assert after["results"][0]["score"]["churn_probability"] == 0.125
