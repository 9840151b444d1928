"""The one table of routes: what is served, what is documented and which scope each needs."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from serving import metrics
from serving.codes import Scope
from serving.problems import (
    EMPTY_REQUEST,
    INTERNAL,
    INVALID_REQUEST,
    MALFORMED_REQUEST,
    MISSING_IDEMPOTENCY_KEY,
    MISSING_KEY,
    NOT_JSON,
    NOT_READY,
    OVERLOADED,
    SLOW_REQUEST,
    STORE_AWAY,
    TOO_LARGE,
    UNKNOWN_CUSTOMER,
    WRONG_SCOPE,
    Kind,
)
from serving.requests import DecisionsRequest, Request, ScoresRequest
from serving.schemas import (
    DecisionResponse,
    DecisionsResponse,
    LiveResponse,
    ModelsResponse,
    ProfileResponse,
    ReadyResponse,
    ScoresResponse,
)


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path. ``scope`` is None where no key is asked for."""

    method: Literal["GET", "POST"]
    path: str
    name: str
    summary: str
    scope: Scope | None = "score"
    request: type[Request] | None = None
    response: type[BaseModel] | None = None
    problems: tuple[Kind, ...] = ()
    idempotent: bool = False
    media_type: str = "application/json"


_KEYED = (MISSING_KEY, WRONG_SCOPE, INTERNAL, OVERLOADED, STORE_AWAY)
_READ = (*_KEYED, NOT_READY)
_BODY = (*_READ, MALFORMED_REQUEST, EMPTY_REQUEST, SLOW_REQUEST, TOO_LARGE, NOT_JSON, INVALID_REQUEST)

ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/v1/scores",
        "scores",
        "Scores of many customers",
        request=ScoresRequest,
        response=ScoresResponse,
        problems=_BODY,
    ),
    Route(
        "GET",
        "/v1/customers/{customer_id}",
        "profile",
        "360° profile of a customer",
        response=ProfileResponse,
        problems=(*_READ, UNKNOWN_CUSTOMER),
    ),
    Route(
        "POST",
        "/v1/next-best-actions",
        "next_best_actions",
        "Next best actions of many customers",
        request=DecisionsRequest,
        response=DecisionsResponse,
        problems=(*_BODY, MISSING_IDEMPOTENCY_KEY),
        idempotent=True,
    ),
    Route(
        "GET",
        "/v1/customers/{customer_id}/next-best-action",
        "next_best_action",
        "Next best action of a customer",
        response=DecisionResponse,
        problems=(*_READ, UNKNOWN_CUSTOMER),
    ),
    Route(
        "GET",
        "/v1/models",
        "models",
        "What is serving, since when, trained on what",
        response=ModelsResponse,
        problems=_KEYED,
    ),
    Route("GET", "/livez", "livez", "The process answers", scope=None, response=LiveResponse),
    Route(
        "GET",
        "/readyz",
        "readyz",
        "Scores can be served",
        scope=None,
        response=ReadyResponse,
        problems=(NOT_READY, STORE_AWAY),
    ),
    Route("GET", "/metrics", "metrics", "Counters for Prometheus", scope=None, media_type=metrics.CONTENT_TYPE),
    Route("GET", "/openapi.json", "openapi", "This document", scope=None),
)
# BentoML's doors to the same functions, for its own clients; answered by BentoML inside the same guard.
BENTOML_ROUTES: tuple[Route, ...] = (
    Route("GET", "/schema.json", "bentoml_schema", "BentoML's own description, for BentoML clients", problems=_KEYED),
    Route(
        "POST",
        "/bentoml/scores",
        "bentoml_scores",
        "Scores of many customers, for BentoML clients",
        request=ScoresRequest,
        response=ScoresResponse,
        problems=_BODY,
    ),
    Route(
        "POST",
        "/bentoml/next-best-actions",
        "bentoml_next_best_actions",
        "Proposed actions, for BentoML clients",
        request=DecisionsRequest,
        response=DecisionsResponse,
        problems=_BODY,
    ),
)
