"""The outer door: request id, capacity, key, body size and time, before anything is parsed; and the error envelope.

BentoML's own limits sit inside its application, after the body has been read, so everything that protects the process
stands here. ``/v1/*`` goes straight to the REST application; only BentoML's own doors go through BentoML.
"""

import asyncio
import logging
import re
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import metrics
from serving.keys import NOBODY, Caller
from serving.problems import (
    INTERNAL,
    MALFORMED_REQUEST,
    MEDIA_TYPE,
    NOT_JSON,
    OVERLOADED,
    SLOW_REQUEST,
    TOO_LARGE,
    WRONG_SCOPE,
    Problem,
    from_status,
)
from serving.requests import Request, parse
from serving.routes import BENTOML_ROUTES

logger = logging.getLogger("perennial.api")

PUBLIC = frozenset({"/livez", "/readyz", "/metrics", "/openapi.json"})
# BentoML's own routes that its clients need; everything else of BentoML's is not offered.
# Their bodies are validated here too, because BentoML writes what it rejects to its log.
BENTOML: Mapping[str, type[Request] | None] = {route.path: route.request for route in BENTOML_ROUTES}
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONTENT_TYPE = re.compile(rb"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?", re.IGNORECASE)
_COMMON_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
CALL = "perennial.call"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process takes on at a time.

    1,000 ids of 128 four-byte characters are under 1 MiB; the rest is room for customers' own events. Bodies on their
    way in are bounded apart from requests at work, so that slow senders cannot hold the working places.
    """

    body_bytes: int = 2 * 1024 * 1024
    body_seconds: float = 10.0
    working: int = 64
    arriving: int = 256


@dataclass(slots=True)
class Call:
    """What is known about the request in hand; the guard puts it in the scope under ``CALL``."""

    request_id: str
    caller: Caller = NOBODY
    route: str = metrics.UNMATCHED


Admit = Callable[[bytes | None], Awaitable[Caller]]


class Guard:
    """ASGI application around BentoML's and ours.

    ``admit`` turns the X-API-Key header into a Caller or raises a Problem; ``direct`` is the REST application.
    """

    def __init__(self, app: ASGIApp, *, direct: ASGIApp, admit: Admit, limits: Limits | None = None) -> None:
        self._app = app
        self._direct = direct
        self._admit = admit
        self._limits = limits or Limits()
        self._working = 0
        self._arriving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens inside."""
        if scope["type"] != "http" or CALL in scope:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        scope = {**scope, "path": _raw_path(scope)}
        call = scope[CALL] = Call(_request_id(headers))
        reply = Reply(send, call)
        try:
            await self._answer(scope, headers, receive, reply)
        except Problem as problem:
            await reply.problem(problem)
        except ClientGoneError:
            return
        except Exception as error:
            log_failure(call, error)
            if not reply.status:
                await reply.problem(Problem(INTERNAL, "Try again; if it persists, give the operator the request_id."))
        finally:
            metrics.observe(scope["method"], call.route, reply.status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, reply: "Reply") -> None:
        path = scope["path"]
        if path in PUBLIC:
            await self._direct(scope, _replay(b""), reply)
            return
        self._check_capacity()
        scope[CALL].caller = await self._admit(headers.get(b"x-api-key"))
        body = await self._body(headers, receive) if scope["method"] in _WITH_BODY else b""
        self._check_capacity()
        self._working += 1
        metrics.IN_FLIGHT.inc()
        try:
            await self._to(scope, body)(scope, _replay(body), reply)
        finally:
            self._working -= 1
            metrics.IN_FLIGHT.dec()

    def _to(self, scope: Scope, body: bytes) -> ASGIApp:
        path, call = scope["path"], scope[CALL]
        if path not in BENTOML:
            return self._direct
        call.route = path
        check_scope(call, "score")
        model = BENTOML[path]
        if model is not None and scope["method"] == "POST":
            parse(model, body)
        return self._app

    def _check_capacity(self) -> None:
        if self._working >= self._limits.working or self._arriving >= self._limits.arriving:
            metrics.SHED.inc()
            raise Problem(OVERLOADED, "Wait as Retry-After says, then send it again.", headers={"retry-after": "1"})

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        _check_headers(headers, self._limits.body_bytes)
        self._arriving += 1
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await _read(receive, self._limits.body_bytes)
        except TimeoutError:
            seconds = f"{self._limits.body_seconds:g}"
            detail = f"The whole body must arrive within {seconds} seconds."
            raise Problem(SLOW_REQUEST, detail, headers={"connection": "close"}) from None
        finally:
            self._arriving -= 1


def check_scope(call: Call, scope: str) -> None:
    """Raise a 403 unless the caller's key has the scope."""
    if scope not in call.caller.scopes:
        raise Problem(WRONG_SCOPE, f"Use a key with scope {scope}.")


class ClientGoneError(Exception):
    """The caller hung up before the request was complete; there is nobody to answer."""


@dataclass(slots=True)
class Reply:
    """The way out: stamps the request id and turns every bare error into a problem."""

    send: Send
    call: Call
    status: int = 0
    _muted: bool = field(default=False, init=False)

    async def __call__(self, message: Message) -> None:
        """Pass a message on, unless it belongs to an error that was replaced."""
        if self._muted:
            return
        if message["type"] == "http.response.start":
            if message["status"] >= 400 and _media_type(message) != MEDIA_TYPE.encode():
                allow = {n.decode(): v.decode() for n, v in message["headers"] if n == b"allow"}
                await self.problem(from_status(message["status"], allow))
                self._muted = True
                return
            self.status = message["status"]
            stamp = (b"x-request-id", self.call.request_id.encode())
            message = {**message, "headers": [*message.get("headers", ()), stamp, *_COMMON_HEADERS]}
        await self.send(message)

    async def problem(self, problem: Problem) -> None:
        """Answer with a problem."""
        body = problem.body(self.call.request_id)
        headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
        headers += [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": problem.kind.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _media_type(message: Message) -> bytes:
    for name, value in message.get("headers", ()):
        if name.lower() == b"content-type":
            return bytes(value.partition(b";")[0].strip().lower())
    return b""


def _raw_path(scope: Scope) -> str:
    # Undecoded, so that an id with an escaped slash stays one segment; the handlers unquote their own segment.
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    return str(raw.decode("latin-1"))


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(12)


def _check_headers(headers: Mapping[bytes, bytes], most: int) -> None:
    if not _CONTENT_TYPE.fullmatch(headers.get(b"content-type", b"").strip()):
        raise Problem(NOT_JSON, "Send content-type: application/json, in UTF-8.")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Problem(NOT_JSON, "Send the body uncompressed.")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise Problem(MALFORMED_REQUEST, "Content-Length must be a whole number.")
    if int(length[:20]) > most:
        raise _too_large(most)


def _too_large(most: int) -> Problem:
    return Problem(TOO_LARGE, f"A body may hold {most:,} bytes; split it into several requests.")


async def _read(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes) -> Receive:
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    return receive


def log_failure(call: Call, error: Exception) -> None:
    """Write down where a request failed."""
    # The message of an exception may carry a customer's id or the caller's words; where it happened does not.
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("request %s on %s failed: %s\n%s", call.request_id, call.route, type(error).__name__, frames)
