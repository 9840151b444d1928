"""What the API takes: strict models, and the one way to read a body into them."""

import contextlib
import unicodedata
from datetime import datetime
from typing import Annotated, Literal, Self, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from features.contract import INTERACTION_KINDS
from features.records import YEARS
from serving.problems import EMPTY_REQUEST, INVALID_REQUEST, MALFORMED_REQUEST, TOO_LARGE, Problem

MAX_CUSTOMERS = 1000
_MAX_ERRORS = 20


def _plain_id(value: str) -> str:
    value = unicodedata.normalize("NFC", value)
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("control characters are not allowed")
    return value


CustomerId = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_plain_id)]
CUSTOMER_ID: TypeAdapter[str] = TypeAdapter(CustomerId)


class Request(BaseModel):
    """A body from outside: exact types, no unknown field, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _zoned(value: object) -> object:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value)
    raise ValueError("write an ISO 8601 instant with its zone, like 2024-06-01T12:00:00Z")


def _within_years(value: datetime) -> datetime:
    if value.year not in YEARS:
        raise ValueError(f"the year lies outside {YEARS[0]} to {YEARS[-1]}")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_zoned), AfterValidator(_within_years)]
# Sums over thousands of lines stay far inside a double.
Amount = Annotated[float, Field(ge=-1e12, le=1e12)]
ShortText = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_plain_id)]


class OwnOrder(Request):
    """One line of an order; lines that share order_id are one order. A negative amount is a return."""

    ordered_at: Instant
    amount: Annotated[Amount, Field(description="in the currency of the business, after discount")]
    order_id: ShortText | None = None
    quantity: Amount | None = None
    discount: Amount | None = None
    product_id: ShortText | None = None
    category: ShortText | None = None
    channel: ShortText | None = None


class OwnInteraction(Request):
    """One interaction."""

    occurred_at: Instant
    kind: Literal[INTERACTION_KINDS]  # type: ignore[valid-type]
    channel: ShortText | None = None
    value: Annotated[Amount | None, Field(description="score of satisfaction (1 to 5) or nps (0 to 10)")] = None


class OwnRecords(Request):
    """A customer with all the records that the scores shall be made from."""

    customer_id: CustomerId
    orders: Annotated[list[OwnOrder], Field(min_length=1, max_length=10_000)]
    interactions: Annotated[list[OwnInteraction], Field(max_length=10_000)] = []


class ScoresRequest(Request):
    """Whose scores: known customers by id, or any customers with their own records, not both.

    Own records are scored as of ``as_of`` (default: now) by the models in service and are not kept. Values are then
    revenue, for no margin came along, and no marketing is proposed, for no consent did.
    """

    customer_ids: Annotated[
        list[CustomerId],
        Field(
            default_factory=list, min_length=1, max_length=MAX_CUSTOMERS, description="text exactly as in the records"
        ),
    ]
    customers: Annotated[list[OwnRecords], Field(default_factory=list, min_length=1, max_length=MAX_CUSTOMERS)]
    as_of: Annotated[Instant | None, Field(description="only with customers")] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.customer_ids) == bool(self.customers):
            raise ValueError("give either customer_ids or customers")
        if self.customer_ids and self.as_of is not None:
            raise ValueError("as_of goes with customers; scores by id have the as_of of their run")
        return self


class DecisionsRequest(Request):
    """Whose next best action. ``commit`` writes the decisions to the ledger and needs an Idempotency-Key header."""

    customer_ids: Annotated[list[CustomerId], Field(min_length=1, max_length=MAX_CUSTOMERS)]
    commit: bool = False


R = TypeVar("R", bound=Request)


def parse(model: type[R], body: bytes) -> R:
    """Read a body strictly; a Problem names the place and what was expected, never what was sent."""
    try:
        # orjson refuses NaN, Infinity, numbers beyond a double, lone surrogates and nesting deeper than 1,024.
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        detail = f"The body is not JSON at line {error.lineno}, column {error.colno}."
        raise Problem(MALFORMED_REQUEST, detail) from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _misfit(error) from None


def _misfit(error: ValidationError) -> Problem:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lists = {item["type"] for item in found if item["loc"] in {("customer_ids",), ("customers",)}}
    if "too_short" in lists:
        return Problem(EMPTY_REQUEST, "Name at least one customer.")
    if "too_long" in lists:
        return Problem(TOO_LARGE, f"Name at most {MAX_CUSTOMERS:,} customers; split them into several requests.")
    errors = []
    for item in found[:_MAX_ERRORS]:
        # The name of an unknown field is the caller's word: point at what holds it.
        unknown = item["type"] == "extra_forbidden"
        place = item["loc"][:-1] if unknown else item["loc"]
        errors.append(("".join(f"/{part}" for part in place), "unknown field" if unknown else item["msg"]))
    return Problem(INVALID_REQUEST, "Correct the fields named in errors; see /openapi.json.", errors)
