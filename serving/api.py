"""The REST application: routes from the table, strict JSON in, problems out; the work is done in Answers."""

import asyncio
import contextlib
import functools
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import unquote

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from perennial.settings import Settings
from serving import metrics, openapi
from serving.answers import Answers, unknown_customer
from serving.guard import CALL, Call, check_scope
from serving.keys import KeyRing
from serving.problems import MEDIA_TYPE, NOT_READY, OVERLOADED, Problem
from serving.requests import CUSTOMER_ID, DecisionsRequest, ScoresRequest, parse
from serving.routes import BENTOML_ROUTES, ROUTES, Route

logger = logging.getLogger("perennial.api")

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
# Reads of the store release the interpreter while they wait; more threads than this only queue on it.
_THREADS = 4
_WATCH_SECONDS = 1.0
# Scoring sent records takes a core to itself, for a thousand customers about a second: one at a time, few waiting.
_SCORING_QUEUE = 4
_SOON = {"retry-after": "2"}


class Api:
    """The REST application and what it runs on."""

    def __init__(self, settings: Settings) -> None:
        self.answers = Answers(settings)
        self.draining = False
        self._keys = KeyRing(self._scopes_of, settings.api_key)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="answers")
        self._scorer = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._scoring = 0
        self._document = openapi.document((*ROUTES, *BENTOML_ROUTES), version("perennial"))
        self.app = Starlette(
            routes=[StarletteRoute(r.path, self._endpoint(r), methods=[r.method], name=r.name) for r in ROUTES],
            exception_handlers={Problem: _problem},
            lifespan=self._lifespan,
        )
        self.app.router.redirect_slashes = False  # its redirects repeat whatever host the caller named

    def door(self) -> dict[str, Any]:
        """What the guard needs to stand before this application."""
        return {"direct": self.app, "admit": self._keys.admit}

    def drain(self) -> None:
        """Say "not ready" from now on; requests are still answered."""
        self.draining = True

    async def _scopes_of(self, key: str) -> frozenset[str] | None:
        return await self.run(self.answers.scopes_of, key)

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Do blocking work off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(work, *args))

    async def scores(self, request: ScoresRequest) -> dict[str, Any]:
        """Answer POST /v1/scores."""
        if request.customer_ids:
            return await self.run(self.answers.scores, request.customer_ids)
        if self._scoring >= _SCORING_QUEUE:
            metrics.SHED.inc()
            raise Problem(OVERLOADED, "Other records are being scored; wait, then send it again.", headers=_SOON)
        self._scoring += 1
        try:
            work = functools.partial(self.answers.scores_of_own, request.customers, request.as_of)
            return await asyncio.get_running_loop().run_in_executor(self._scorer, work)
        finally:
            self._scoring -= 1

    async def next_best_actions(self, request: DecisionsRequest, caller: str, key: str | None) -> dict[str, Any]:
        """Answer POST /v1/next-best-actions; ``key`` is the Idempotency-Key, which counts per caller."""
        if not request.commit:
            return await self.run(self.answers.proposals, request.customer_ids)
        return await self.run(self.answers.commit, request.customer_ids, caller, key)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        await self._look()
        gc.collect()
        gc.freeze()  # what is loaded stays: collections no longer walk it while a request waits
        watcher = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watcher.cancel()
            self._threads.shutdown(wait=True)
            self._scorer.shutdown(wait=True)
            self.answers.close()
            gc.unfreeze()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            try:
                await self._look()
            except Exception:
                logger.exception("watching the shelf and the store failed; what serves stays")

    async def _look(self) -> None:
        if await self.run(self.answers.shelf.refresh):
            self._scorer.submit(self._warm)
        try:
            await self.run(self.answers.ready)
        except Problem:
            metrics.READY.set(0)
        else:
            metrics.READY.set(not self.draining)

    def _warm(self) -> None:
        self.answers.warm()
        gc.freeze()  # what new models made stays, too

    def _endpoint(self, route: Route) -> Handler:
        handler: Handler = getattr(self, f"_{route.name}")

        async def endpoint(request: Request) -> Response:
            call: Call = request.scope[CALL]
            call.route = route.path
            if route.scope is not None:
                check_scope(call, route.scope)
            return await handler(request)

        return endpoint

    async def _scores(self, request: Request) -> Response:
        return json_response(await self.scores(parse(ScoresRequest, await request.body())))

    async def _profile(self, request: Request) -> Response:
        return json_response(await self.run(self.answers.profile, _customer_id(request)))

    async def _next_best_actions(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        caller = request.scope[CALL].caller.digest
        return json_response(await self.next_best_actions(parse(DecisionsRequest, await request.body()), caller, key))

    async def _next_best_action(self, request: Request) -> Response:
        return json_response(await self.run(self.answers.decision, _customer_id(request)))

    async def _models(self, _request: Request) -> Response:
        return json_response(await self.run(self.answers.models))

    async def _livez(self, _request: Request) -> Response:
        return json_response({"status": "live"})

    async def _readyz(self, _request: Request) -> Response:
        if self.draining:
            raise Problem(NOT_READY, "The service is shutting down.", headers={"retry-after": "5"})
        return json_response(await self.run(self.answers.ready))

    async def _metrics(self, _request: Request) -> Response:
        return Response(await self.run(metrics.render), headers={"content-type": metrics.CONTENT_TYPE})

    async def _openapi(self, _request: Request) -> Response:
        return Response(self._document, media_type="application/json")


def _customer_id(request: Request) -> str:
    """Return the id of the path; one that no customer can have is an unknown customer, not another error."""
    try:
        return CUSTOMER_ID.validate_python(unquote(request.path_params["customer_id"], errors="strict"))
    except ValueError:  # of unquote, and of pydantic
        raise unknown_customer() from None


def json_response(content: Mapping[str, Any], status: int = 200) -> Response:
    """Answer in JSON; instants are UTC with zone."""
    body = orjson.dumps(content, default=dict, option=orjson.OPT_UTC_Z)
    return Response(body, status, media_type="application/json")


def problem_response(call: Call, problem: Problem) -> Response:
    """Answer with a problem."""
    return Response(problem.body(call.request_id), problem.kind.status, problem.headers, MEDIA_TYPE)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(request.scope[CALL], error)
