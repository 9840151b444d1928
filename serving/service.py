"""The BentoML service: the REST application mounted in it, and methods for BentoML's own clients."""

from collections.abc import Awaitable
from typing import Any, cast

import bentoml
from starlette.responses import Response

from serving.api import Api, json_response, problem_response
from serving.guard import CALL, Guard, log_failure
from serving.problems import Problem
from serving.requests import DecisionsRequest, ScoresRequest
from serving.schemas import DecisionsResponse, ScoresResponse


def build(api: Api) -> Any:
    """Return the service around an API.

    The guard also stands inside, so that BentoML's own server has it; a request that passed the outer one is let
    through. BentoML's metrics stay off: they label raw paths, one series per customer; ours are at /metrics.
    """

    # BentoML's decorators carry no types.
    @bentoml.service(name="perennial", metrics={"enabled": False}, logging={"access": {"enabled": False}})
    @bentoml.asgi_app(api.app, path="/")
    class Perennial:
        """Scores and next best actions for BentoML clients."""

        @bentoml.api(route="/bentoml/scores")  # type: ignore[untyped-decorator]
        async def scores(self, request: ScoresRequest, /, *, ctx: bentoml.Context) -> ScoresResponse:
            """Scores of many customers."""
            return cast(ScoresResponse, await _answer(api.scores(request), ctx))

        @bentoml.api(route="/bentoml/next-best-actions")  # type: ignore[untyped-decorator]
        async def next_best_actions(self, request: DecisionsRequest, /, *, ctx: bentoml.Context) -> DecisionsResponse:
            """Propose the next best actions of many customers; committing needs the REST route's Idempotency-Key."""
            return cast(DecisionsResponse, await _answer(api.next_best_actions(request, "", None), ctx))

    service: Any = Perennial
    service.add_asgi_middleware(Guard, **api.door())
    return service


async def _answer(work: Awaitable[dict[str, Any]], ctx: bentoml.Context) -> Response:
    # BentoML sends a ready response under the context's status, and would log any exception with the words in it.
    call = ctx.request.scope[CALL]
    try:
        response = json_response(await work)
    except Problem as problem:
        response = problem_response(call, problem)
    except Exception as error:
        log_failure(call, error)
        response = Response(status_code=500)
    ctx.response.status_code = response.status_code
    return response
