"""Scores from the records a caller sends along, with real models."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from benchmarks.trained import company, put_on_shelf
from features.sent import SENT
from serving import metrics
from serving.answers import Answers
from serving.requests import Instant, OwnInteraction, OwnOrder
from serving.server import create_app
from tests.serving.calling import Client
from tests.serving.serving_home import KEY, load_scores, settings_for

DAYS = ("2017-01-05", "2017-03-05", "2017-05-05", "2017-07-05", "2017-09-05")


def customer(customer_id: str, days: tuple[str, ...] = DAYS) -> dict[str, Any]:
    return {"customer_id": customer_id, "orders": [{"ordered_at": f"{day}T10:00:00Z", "amount": 20} for day in days]}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = tmp_path_factory.mktemp("home")
    load_scores(home)
    put_on_shelf(home / "models", company())
    app, _ = create_app(settings_for(home))
    with Client(app, **KEY) as client:
        yield client


def ask(client: Client, *customers: dict[str, Any], **more: Any) -> Any:
    return client.post("/v1/scores", json={"customers": list(customers), "as_of": "2017-10-01T04:00:00Z", **more})


def test_sent_records_are_scored_and_the_rest_is_said(client: Client) -> None:
    answer = ask(client, customer("new-1"), customer("later", ("2017-10-02",)), customer("gone", DAYS[:2]))
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [(item["customer_id"], item["status"]) for item in results] == [
        ("new-1", "ok"),
        ("later", "no_orders"),
        ("gone", "ok"),
    ]
    score = results[0]["score"]
    assert 0 < score["churn_probability"] < results[2]["score"]["churn_probability"] < 1
    assert (score["as_of"], score["clv_basis"], score["orders_365d"]) == ("2017-10-01T04:00:00Z", "revenue", 5)
    assert score["model_versions"] == {"churn": "1", "clv": "1", "segments": "1"}
    assert answer.json()["run_id"] is None


def test_a_customer_scores_the_same_alone_and_among_others(client: Client) -> None:
    alone = ask(client, customer("a")).json()["results"][0]
    among = ask(client, customer("b", DAYS[:3]), customer("a")).json()["results"][1]
    assert alone == among


def test_sent_records_are_not_kept(client: Client) -> None:
    ask(client, customer("new-2"))
    assert client.get("/v1/customers/new-2").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"customers": [customer("a")], "customer_ids": ["a"]},
        {"customer_ids": ["a"], "as_of": "2017-10-01T04:00:00Z"},
        {"customers": [customer("a")], "as_of": "2017-10-01"},
        {"customers": [customer("a")], "as_of": 1506830400},
        {"customers": [{"customer_id": "a", "orders": []}]},
        {"customers": [{"customer_id": "a", "orders": [{"ordered_at": "canary-4711", "amount": 1}]}]},
        {"customers": [{"customer_id": "a", "orders": [{"ordered_at": "2017-01-05T10:00:00Z", "amount": 1e300}]}]},
        {"customers": [{"customer_id": "a", "orders": [{"ordered_at": "2999-01-05T10:00:00Z", "amount": 1}]}]},
    ],
)
def test_records_that_cannot_be_right_are_refused(client: Client, body: dict[str, Any]) -> None:
    answer = client.post("/v1/scores", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"]
    assert "canary" not in answer.text


def test_only_a_few_may_wait_for_scoring(client: Client) -> None:
    async def many() -> list[int]:
        body = {"customers": [customer("a")]}
        answers = await asyncio.gather(*(client.http.post("/v1/scores", json=body, timeout=120) for _ in range(6)))
        return sorted(answer.status_code for answer in answers)

    assert client.run(many()) == [200] * 4 + [503] * 2


@pytest.mark.parametrize("as_of", ["0001-01-01T00:00:00+12:00", "9999-12-31T23:59:59-12:00"])
def test_instants_at_the_calendars_edge_are_refused(as_of: str) -> None:
    with pytest.raises(ValidationError, match="the year lies outside"):
        TypeAdapter(Instant).validate_python(as_of)


def test_what_a_caller_may_send_is_what_is_read() -> None:
    for table, row in {"orders": OwnOrder, "interactions": OwnInteraction}.items():
        assert {"customer_id", *row.model_fields} == set(SENT[table])


def test_models_are_warm_before_the_first_caller_and_nobody_is_counted(tmp_path: Path) -> None:
    load_scores(tmp_path)
    put_on_shelf(tmp_path / "models", company())
    answers = Answers(settings_for(tmp_path))
    before = metrics.render()
    answers.warm()  # nothing to warm yet
    answers.shelf.refresh()
    answers.warm()
    assert answers._built is not None
    assert answers._built[0] is answers.shelf.current
    assert [line for line in metrics.render().splitlines() if b"customers" in line] == [
        line for line in before.splitlines() if b"customers" in line
    ]
    answers.close()
