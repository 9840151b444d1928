"""The document against the live service: the same paths, and answers that fit their schemas."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.routing import Route as StarletteRoute

from serving.api import Api
from serving.guard import BENTOML
from serving.problems import KINDS
from serving.routes import BENTOML_ROUTES, ROUTES
from tests.serving.calling import Client
from tests.serving.serving_home import client_on, load_scores, publish_model, settings_for


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = tmp_path_factory.mktemp("home")
    load_scores(home)
    publish_model(home, "churn", "1")
    with client_on(home) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: Client) -> dict[str, Any]:
    return dict(client.get("/openapi.json").json())


def fits(document: dict[str, Any], schema: dict[str, Any], content: Any) -> None:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}, format_checker=checker).validate(
        content
    )


def schema_of(document: dict[str, Any], method: str, path: str, status: int) -> dict[str, Any]:
    content = document["paths"][path][method]["responses"][str(status)]["content"]
    media_type = "application/json" if status == 200 else "application/problem+json"
    return dict(content[media_type]["schema"])


def test_the_documented_routes_are_the_live_ones(document: dict[str, Any], tmp_path: Path) -> None:
    documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    live = {
        (method, route.path)
        for route in Api(settings_for(tmp_path)).app.routes
        if isinstance(route, StarletteRoute)
        for method in (route.methods or ()) - {"HEAD"}
    }
    assert documented == live | {(route.method, route.path) for route in BENTOML_ROUTES}
    assert set(BENTOML) == {route.path for route in BENTOML_ROUTES}


def test_every_documented_route_is_there(client: Client, document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method in item:
            answer = client.request(method.upper(), path.replace("{customer_id}", "000001"), json={})
            assert answer.status_code not in (404, 405, 500), (method, path)


def test_the_document_is_self_contained(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for reference in re.findall(r"#/components/schemas/(\w+)", str(document)):
        assert reference in document["components"]["schemas"]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("method", "path", "template", "body"),
    [
        ("post", "/v1/scores", "/v1/scores", {"customer_ids": ["000001", "nobody"]}),
        ("post", "/bentoml/scores", "/bentoml/scores", {"customer_ids": ["000001", "nobody"]}),
        ("get", "/v1/customers/nobody", "/v1/customers/{customer_id}", None),
        ("post", "/v1/next-best-actions", "/v1/next-best-actions", {"customer_ids": ["000001", "nobody"]}),
        ("post", "/v1/next-best-actions", "/v1/next-best-actions", {"customer_ids": ["000001"], "commit": True}),
        ("get", "/v1/customers/000001", "/v1/customers/{customer_id}", None),
        ("get", "/v1/customers/000001/next-best-action", "/v1/customers/{customer_id}/next-best-action", None),
        ("get", "/v1/models", "/v1/models", None),
        ("get", "/livez", "/livez", None),
        ("get", "/readyz", "/readyz", None),
        ("post", "/v1/scores", "/v1/scores", {"customer_ids": []}),
        ("post", "/v1/scores", "/v1/scores", {"customer_ids": ["a"] * 1001}),
        ("post", "/v1/scores", "/v1/scores", {"customer_ids": [1]}),
    ],
)
def test_answers_fit_their_schemas(
    client: Client, document: dict[str, Any], method: str, path: str, template: str, body: Any
) -> None:
    headers = {"Idempotency-Key": "k"}
    answer = client.request(method.upper(), path, json=body, headers=headers)
    fits(document, schema_of(document, method, template, answer.status_code), answer.json())


def test_the_limits_are_in_the_document(document: dict[str, Any]) -> None:
    ids = document["components"]["schemas"]["ScoresRequest"]["properties"]["customer_ids"]
    assert (ids["minItems"], ids["maxItems"], ids["items"]["maxLength"]) == (1, 1000, 128)


def test_every_kind_of_problem_is_documented_somewhere() -> None:
    documented = {kind for route in (*ROUTES, *BENTOML_ROUTES) for kind in route.problems}
    # Answers to what is not in the document.
    assert {kind.code for kind in set(KINDS.values()) - documented} == {"not-found", "method-not-allowed"}
