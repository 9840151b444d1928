"""What is refused, and how: always a problem document, never an echo of what was sent."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.store import Store
from tests.serving.calling import Client
from tests.serving.serving_home import KEY, client_on, load_scores, settings_for

CANARY = "canary-4711"
JSON = {"content-type": "application/json"}
BODIES = ["/v1/scores", "/v1/next-best-actions", "/bentoml/scores", "/bentoml/next-best-actions"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    load_scores(home)
    return home


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[Client]:
    with client_on(home) as client:
        yield client


def check_problem(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["type"].startswith("urn:perennial:problem:")
    assert problem["detail"]
    assert CANARY not in answer.text
    assert CANARY not in str(answer.headers)
    return problem


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("{", 400),
        ('{"customer_ids": ["a"]} ' + CANARY, 400),
        ('{"customer_ids": [NaN]}', 400),
        ('{"customer_ids": [Infinity]}', 400),
        ('{"customer_ids": [1e400]}', 400),
        ('{"customer_ids": [' + "9" * 400 + "]}", 400),
        ('{"customer_ids": [' + "9" * 30 + "]}", 422),
        ('{"customer_ids": ' + "[" * 5000 + "]" * 5000 + "}", 400),
        ('{"customer_ids": ' + "[" * 500 + "]" * 500 + "}", 422),
        ('{"customer_ids": ["\\ud800"]}', 400),
        ('{"customer_ids": []}', 400),
        ('{"customer_ids": "canary-4711"}', 422),
        ('{"customer_ids": {"canary-4711": 1}}', 422),
        ('{"customer_ids": [["canary-4711"]]}', 422),
        ('{"customer_ids": [4711]}', 422),
        ('{"customer_ids": [null]}', 422),
        ('{"customer_ids": [""]}', 422),
        ('{"customer_ids": ["canary-4711\\u0000"]}', 422),
        ('{"customer_ids": ["' + CANARY * 20 + '"]}', 422),
        ('{"customer_ids": ["a"], "canary-4711": 1}', 422),
        ('{"customer_ids": ["a"], "commit": "canary-4711"}', 422),
        ("{}", 422),
        ("[]", 422),
        ('"canary-4711"', 422),
        ("null", 422),
    ],
)
def test_a_bad_body_is_refused_without_an_echo(client: Client, path: str, body: str, status: int) -> None:
    check_problem(client.post(path, content=body.encode(), headers=JSON), status)


@pytest.mark.parametrize("path", BODIES)
def test_too_many_customers_are_413_and_the_limit_itself_is_fine(client: Client, path: str) -> None:
    check_problem(client.post(path, json={"customer_ids": ["a"] * 1001}), 413)
    assert client.post(path, json={"customer_ids": ["a"] * 1000}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data"},
        {"content-type": "multipart/form-data; boundary=canary-4711"},
        {"content-type": "application/vnd.bentoml+pickle"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {},
    ],
)
@pytest.mark.parametrize("path", BODIES)
def test_only_plain_json_is_read(client: Client, path: str, headers: dict[str, str]) -> None:
    check_problem(client.post(path, content=b'{"customer_ids": ["a"]}', headers=headers), 415)


def test_json_with_its_charset_is_read(client: Client) -> None:
    headers = {"content-type": "Application/JSON; charset=UTF-8"}
    answer = client.post("/v1/scores", content=b'{"customer_ids": ["a"]}', headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v1/canary-4711", "/docs.json", "/static_content/x", "/healthz", "/"]
)
def test_what_is_not_offered_is_404(client: Client, path: str) -> None:
    check_problem(client.get(path), 404)


def test_another_method_is_405_and_says_which_are_allowed(client: Client) -> None:
    answer = client.request("DELETE", "/v1/scores")
    check_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("presented", [None, "", "wrong-canary-4711", "x" * 5000])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/scores"),
        ("GET", "/v1/models"),
        ("GET", "/schema.json"),
        ("POST", "/bentoml/scores"),
        ("GET", "/x"),
    ],
)
def test_without_a_valid_key_everything_is_401(client: Client, presented: str | None, method: str, path: str) -> None:
    headers = {"X-API-Key": presented or ""}
    problem = check_problem(client.request(method, path, headers=headers, content=b"{"), 401)
    assert "perennial keys add NAME" in problem["detail"]


def test_with_no_key_made_at_all_nobody_comes_in(tmp_path: Path) -> None:
    load_scores(tmp_path)
    with client_on(tmp_path, api_key=None) as client:
        check_problem(client.post("/v1/scores", json={"customer_ids": ["a"]}, headers={"X-API-Key": ""}), 401)
        check_problem(client.post("/v1/scores", json={"customer_ids": ["a"]}), 401)


@pytest.mark.parametrize("path", BODIES)
def test_a_key_without_the_scope_is_403(client: Client, home: Path, path: str) -> None:
    store = Store(settings_for(home).store_url)
    events, score = store.add_key("events", ["events"]), store.add_key("score", ["score"])
    store.close()
    body = {"customer_ids": ["a"]}
    check_problem(client.post(path, json=body, headers={"X-API-Key": events}), 403)
    assert client.post(path, json=body, headers={"X-API-Key": score}).status_code == 200


def test_a_body_over_the_cap_is_refused_before_it_is_read(client: Client) -> None:
    sent = []

    async def pieces() -> Any:
        for piece in [b"x" * 1_000_000] * 5:
            sent.append(len(piece))
            yield piece

    check_problem(client.post("/v1/scores", content=pieces(), headers=JSON), 413)
    assert sum(sent) < 4_000_000
    check_problem(client.post("/v1/scores", content=b"{}", headers={**JSON, "content-length": "9999999"}), 413)
    check_problem(client.post("/v1/scores", content=b"{}", headers={**JSON, "content-length": "-1"}), 400)


def test_the_callers_request_id_comes_back_and_a_strange_one_does_not(client: Client) -> None:
    assert client.get("/livez", headers={"X-Request-Id": "crm-42"}).headers["x-request-id"] == "crm-42"
    answer = client.post("/v1/scores", content=b"{", headers={**JSON, "X-Request-Id": f"<{CANARY}>"})
    assert check_problem(answer, 400)["request_id"]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([CANARY, "customer_ids", "commit"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["customer_ids", "commit", CANARY]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(body=ANY_JSON, path=st.sampled_from(BODIES))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_json_whatever_breaks_the_service(client: Client, body: Any, path: str) -> None:
    answer = client.post(path, content=json.dumps(body).encode(), headers=JSON)
    if answer.status_code != 200:
        check_problem(answer, 400, 413, 422)


def test_the_log_holds_nothing_that_was_sent(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    for path in BODIES:
        client.post(path, json={"customer_ids": [CANARY], CANARY: CANARY})
        client.post(path, json={"customer_ids": [CANARY]}, headers={"X-API-Key": CANARY})
    client.get(f"/v1/customers/{CANARY}")
    assert CANARY not in caplog.text


def test_a_failure_inside_is_a_500_that_says_nothing_of_the_input(
    home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError(f"cannot read {CANARY}")

    monkeypatch.setattr(Store, "scores_for", broken)
    with client_on(home) as client:
        for path in BODIES:
            check_problem(client.post(path, json={"customer_ids": ["a"]}), 500)
    assert "ValueError" in caplog.text
    assert CANARY not in caplog.text


def test_metrics_know_routes_and_no_customer(client: Client) -> None:
    client.get(f"/v1/customers/{CANARY}")
    client.post("/v1/scores", json={"customer_ids": [CANARY, "000001"]})
    client.request("BREW", f"/{CANARY}")
    text = client.get("/metrics", headers={"X-API-Key": ""}).text
    assert 'route="/v1/customers/{customer_id}",status="404"' in text
    assert 'perennial_customers_total{route="scores",status="ok"}' in text
    assert CANARY not in text
    assert "BREW" not in text
    assert KEY["X-API-Key"] not in text
