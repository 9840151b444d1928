"""The OpenAPI 3.1 document, made from the same route table and models that answer the requests."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.problems import MEDIA_TYPE, Kind
from serving.routes import Route

_REFERENCE = "#/components/schemas/{model}"
_PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details; never holds anything the caller sent.",
    "required": ["type", "title", "status", "detail", "request_id"],
    "additionalProperties": False,
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what to do about it"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "additionalProperties": False,
                "properties": {"pointer": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_CUSTOMER_ID: Mapping[str, Any] = {
    "name": "customer_id",
    "in": "path",
    "required": True,
    "description": "as in the records, percent-encoded",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}
_IDEMPOTENCY_KEY: Mapping[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "needed with commit: true; a customer is decided on once for each key and once for each as_of",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}


def document(routes: Iterable[Route], version: str) -> bytes:
    """Return the document as JSON."""
    routes = tuple(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    content = {
        "openapi": "3.1.0",
        "info": {
            "title": "Perennial",
            "version": version,
            "description": "How likely each customer is to leave, what each is worth, what to do next.",
        },
        "paths": paths,
        "components": {
            "schemas": {**_schemas(routes), "Problem": _PROBLEM},
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        },
    }
    return orjson.dumps(content)


def _schemas(routes: Iterable[Route]) -> dict[str, Any]:
    wanted: dict[type[BaseModel], str] = {}
    for route in routes:
        if route.request is not None:
            wanted[route.request] = "validation"
        if route.response is not None:
            wanted[route.response] = "serialization"
    _, schema = models_json_schema(list(wanted.items()), ref_template=_REFERENCE)  # type: ignore[arg-type]
    return dict(schema["$defs"])


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": {"200": _answer(route), **_problems(route.problems)},
    }
    if route.scope is not None:
        operation["security"] = [{"key": []}]
        operation["description"] = f"Needs a key with scope {route.scope}."
    if route.request is not None:
        operation["requestBody"] = {"required": True, "content": _json(route.request.__name__)}
    parameters = [_CUSTOMER_ID] if "{customer_id}" in route.path else []
    if route.idempotent:
        parameters.append(_IDEMPOTENCY_KEY)
    if parameters:
        operation["parameters"] = parameters
    return operation


def _answer(route: Route) -> dict[str, Any]:
    if route.response is not None:
        return {"description": "the answer", "content": _json(route.response.__name__)}
    return {"description": "the answer", "content": {route.media_type: {}}}


def _json(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model)}}}


def _problems(kinds: Iterable[Kind]) -> dict[str, Any]:
    titles: dict[str, list[str]] = {}
    for kind in kinds:
        titles.setdefault(str(kind.status), []).append(kind.title)
    schema = {"schema": {"$ref": _REFERENCE.format(model="Problem")}}
    return {
        status: {"description": "; ".join(found), "content": {MEDIA_TYPE: schema}}
        for status, found in sorted(titles.items())
    }
