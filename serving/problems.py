"""Errors of the API as RFC 9457 problem details: a fixed list of kinds, a request id, and never a word of the input."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: what a client may branch on."""

    code: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """URI of the kind; a name, not an address."""
        return f"urn:perennial:problem:{self.code}"


MALFORMED_REQUEST = Kind("malformed-request", 400, "The request is not proper JSON")
EMPTY_REQUEST = Kind("empty-request", 400, "The request names no customer")
MISSING_IDEMPOTENCY_KEY = Kind("missing-idempotency-key", 400, "This request needs an Idempotency-Key")
MISSING_KEY = Kind("missing-key", 401, "A valid API key is needed")
WRONG_SCOPE = Kind("wrong-scope", 403, "This key may not do that")
NOT_FOUND = Kind("not-found", 404, "Nothing is there")
UNKNOWN_CUSTOMER = Kind("unknown-customer", 404, "No such customer")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "This method is not allowed here")
SLOW_REQUEST = Kind("slow-request", 408, "The request did not arrive in time")
TOO_LARGE = Kind("too-large", 413, "The request is too large")
NOT_JSON = Kind("not-json", 415, "The body must be application/json")
INVALID_REQUEST = Kind("invalid-request", 422, "The request does not fit its schema")
INTERNAL = Kind("internal", 500, "The service failed")
OVERLOADED = Kind("overloaded", 503, "The service is busy")
NOT_READY = Kind("not-ready", 503, "The service has no scores yet")
STORE_AWAY = Kind("store-away", 503, "The store does not answer")

KINDS: Mapping[str, Kind] = {
    kind.code: kind
    for kind in (
        MALFORMED_REQUEST,
        EMPTY_REQUEST,
        MISSING_IDEMPOTENCY_KEY,
        MISSING_KEY,
        WRONG_SCOPE,
        NOT_FOUND,
        UNKNOWN_CUSTOMER,
        METHOD_NOT_ALLOWED,
        SLOW_REQUEST,
        TOO_LARGE,
        NOT_JSON,
        INVALID_REQUEST,
        INTERNAL,
        OVERLOADED,
        NOT_READY,
        STORE_AWAY,
    )
}
# What a bare status from elsewhere (the router, BentoML) means here.
_BY_STATUS: Mapping[int, Kind] = {
    400: INVALID_REQUEST,
    401: MISSING_KEY,
    403: WRONG_SCOPE,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    413: TOO_LARGE,
    415: NOT_JSON,
    422: INVALID_REQUEST,
    503: OVERLOADED,
}


class Problem(Exception):
    """A request that cannot be answered; ``detail`` says what to do and is the program's own words.

    ``errors`` are (JSON pointer, message) pairs. Neither may hold anything the caller sent.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        errors: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def body(self, request_id: str) -> bytes:
        """JSON of the problem."""
        content: dict[str, Any] = {
            "type": self.kind.type,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            content["errors"] = [{"pointer": pointer, "message": message} for pointer, message in self.errors]
        return orjson.dumps(content)


def from_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Return the problem for a bare HTTP status."""
    kind = _BY_STATUS.get(status, INTERNAL if status >= 500 else INVALID_REQUEST)
    return Problem(kind, f"{kind.title}; see /openapi.json.", headers=headers)
