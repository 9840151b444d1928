"""The outer door alone, around applications made for the purpose."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from serving import metrics
from serving.guard import CALL, Guard, Limits
from serving.keys import Caller, KeyRing

JSON = {"content-type": "application/json", "x-api-key": "k"}
Work = Callable[[httpx.AsyncClient], Awaitable[Any]]


async def everyone(_presented: bytes | None) -> Caller:
    return Caller("somebody", frozenset({"score"}))


async def answer(send: Any, status: int = 200, body: bytes = b"{}", *headers: tuple[bytes, bytes]) -> None:
    start = {"type": "http.response.start", "status": status, "headers": [*headers]}
    await send({"headers": [], **start})
    await send({"type": "http.response.body", "body": body})


def ask(app: Any, work: Work, **options: Any) -> Any:
    guard = Guard(app, **{"direct": app, "admit": everyone, **options})

    async def run() -> Any:
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=JSON) as http:
            return await work(http)

    return asyncio.run(run())


def test_at_capacity_the_answer_is_503_before_the_body_is_read() -> None:
    release = asyncio.Event()
    read: list[bytes] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await answer(send)

    async def body() -> Any:
        read.append(b"x")
        yield b"{}"

    async def work(http: httpx.AsyncClient) -> list[httpx.Response]:
        busy = [asyncio.create_task(http.get("/v1/slow")) for _ in range(2)]
        while metrics.IN_FLIGHT._value.get() < 2:
            await asyncio.sleep(0)
        refused = await http.post("/v1/slow", content=body())
        release.set()
        return [refused, *await asyncio.gather(*busy)]

    shed = metrics.SHED._value.get()
    refused, *served = ask(slow, work, limits=Limits(working=2))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["type"] == "urn:perennial:problem:overloaded"
    assert not read
    assert metrics.SHED._value.get() == shed + 1
    assert [each.status_code for each in served] == [200, 200]
    assert metrics.IN_FLIGHT._value.get() == 0


def test_places_are_given_back_when_the_application_fails() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    async def work(http: httpx.AsyncClient) -> list[int]:
        return [(await http.get("/v1/x")).status_code for _ in range(5)]

    assert ask(broken, work, limits=Limits(working=2)) == [500] * 5


def test_health_is_answered_at_capacity_and_without_a_key() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)

    async def work(http: httpx.AsyncClient) -> list[int]:
        return [(await http.get(path)).status_code for path in ("/livez", "/readyz", "/metrics", "/v1/x")]

    assert ask(app, work, limits=Limits(working=0)) == [200, 200, 200, 503]


def test_senders_on_their_way_in_are_bounded_too() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)

    async def work(http: httpx.AsyncClient) -> tuple[int, int]:
        hold = asyncio.Event()
        begun = asyncio.Event()

        async def trickle() -> Any:
            yield b"{"
            begun.set()
            await hold.wait()
            yield b"}"

        slow = asyncio.create_task(http.post("/v1/x", content=trickle()))
        await begun.wait()
        other = await http.post("/v1/x", content=b"{}")
        hold.set()
        return (await slow).status_code, other.status_code

    assert ask(app, work, limits=Limits(arriving=1)) == (200, 503)


def test_a_body_that_does_not_arrive_is_408_and_the_connection_closes() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)

    async def work(http: httpx.AsyncClient) -> httpx.Response:
        async def never() -> Any:
            yield b"{"
            await asyncio.Event().wait()

        return await http.post("/v1/x", content=never())

    refused = ask(app, work, limits=Limits(body_seconds=0.01))
    assert (refused.status_code, refused.headers["connection"]) == (408, "close")


def test_a_caller_who_hangs_up_is_not_answered() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("must not be reached")

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/x",
        "raw_path": b"/v1/x",
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(Guard(app, direct=app, admit=everyone)(scope, gone, send))
    assert sent == []


def test_a_bare_error_from_inside_becomes_a_problem_and_loses_its_words() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 418, b"canary", (b"content-type", b"text/plain"))

    async def work(http: httpx.AsyncClient) -> httpx.Response:
        return await http.get("/v1/x")

    refused = ask(app, work)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert "canary" not in refused.text


def test_a_request_that_passed_one_guard_passes_the_next_unchanged() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope[CALL])
        await answer(send)

    async def work(http: httpx.AsyncClient) -> httpx.Response:
        return await http.get("/v1/x", headers={"x-request-id": "r1"})

    inner = Guard(app, direct=app, admit=everyone, limits=Limits(working=0))
    answered = ask(inner, work)
    assert (answered.status_code, seen[0].request_id) == (200, "r1")
    assert len(answered.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("presented", [None, b"", b"wrong", b"\xff\xfe", b"x" * 257])
def test_unknown_keys_are_refused(presented: bytes | None) -> None:
    async def nobody(_key: str) -> None:
        return None

    with pytest.raises(Exception, match="perennial keys add NAME"):
        asyncio.run(KeyRing(nobody).admit(presented))


def test_a_key_taken_back_is_refused_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    given = {"k": frozenset({"score"})}

    async def scopes_of(key: str) -> frozenset[str] | None:
        return given.get(key)

    monkeypatch.setattr("serving.keys.time.monotonic", lambda: now[0])
    ring = KeyRing(scopes_of)

    async def use() -> None:
        assert (await ring.admit(b"k")).scopes == {"score"}
        del given["k"]
        now[0] += 2
        with pytest.raises(Exception, match="perennial keys add NAME"):
            await ring.admit(b"k")

    asyncio.run(use())
