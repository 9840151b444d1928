"""What the API takes and gives, as pydantic models: the source of validation and of the OpenAPI document."""

import unicodedata
from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from serving.columns import CODE_LISTS, COLUMNS, SCORE_COLUMNS, Kind, ScoreColumn
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


class ScoresRequest(Request):
    """Whose scores; ids are text exactly as in the records."""

    customer_ids: Annotated[list[CustomerId], Field(min_length=1, max_length=MAX_CUSTOMERS)]


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


class Response(BaseModel):
    """A body we send."""

    model_config = ConfigDict(extra="forbid")


_TYPES: dict[Kind, Any] = {
    Kind.ID: str,
    Kind.CODE: str,
    Kind.TEXT: str,
    Kind.NUMBER: float,
    Kind.INTEGER: int,
    Kind.FLAG: bool,
    Kind.INSTANT: datetime,
    Kind.DAY: date,
}
# Cells that join several values: apart in JSON.
LISTS = frozenset({"suppressed_by", "consented_channels"})
_STRUCTURED: dict[str, Any] = {"model_versions": dict[str, str], **dict.fromkeys(LISTS, list[str])}


def _field(column: ScoreColumn) -> tuple[Any, Any]:
    kind = _STRUCTURED.get(column.name, _TYPES[column.kind])
    if column.codes:
        kind = Literal[tuple(code.code for code in CODE_LISTS[column.codes])]
    unit = f" [{column.unit}]" if column.unit else ""
    # A number that is undefined for a customer is null, whatever the column promises for the rest.
    nullable = column.name not in LISTS and (column.nullable or column.kind is Kind.NUMBER)
    return (kind | None if nullable else kind), Field(description=column.meaning_en + unit)


def _response(name: str, doc: str, columns: Iterable[str], **more: Any) -> type[Response]:
    fields: dict[str, Any] = {column: _field(COLUMNS[column]) for column in columns}
    return create_model(name, __base__=Response, __doc__=doc, **fields, **more)


SCORE_FIELDS = tuple(column.name for column in SCORE_COLUMNS if column.name != "customer_id")
Score = _response(
    "Score",
    "Everything known about one customer's future, as of an instant.",
    SCORE_FIELDS,
    definition=(str, Field(description="what churn_probability is the probability of")),
)
DECISION_COLUMNS = (
    "as_of",
    "horizon_days",
    "action_id",
    "action_channel",
    "action_reason",
    "content_kind",
    "expected_incremental_value",
    "currency",
    "evidence",
    "human_task",
    "due_by",
    "suppressed_by",
    "control_group",
    "propensity",
    "data_grade",
    "model_versions",
)


class ScoreItem(Response):
    """One customer's line of the answer; ``score`` is there when status is ok."""

    customer_id: str
    status: Literal["ok", "not_found"]
    score: Score | None = None  # type: ignore[valid-type]


class ScoresResponse(Response):
    """Answers in the order asked, all from one scoring run."""

    run_id: str
    results: list[ScoreItem]


Decision = _response(
    "Decision",
    "What to do next for one customer, and why.",
    DECISION_COLUMNS,
    decision_id=(str | None, Field(description="its key in the ledger; null while it is a proposal")),
    definition=(str, Field(description="what the churn probability behind it is the probability of")),
    eligible_actions=(list[str], Field(description="actions the customer may have, do_nothing included")),
)


class DecisionItem(Response):
    """One customer's line of the answer; ``decision`` is there when status is ok."""

    customer_id: str
    status: Literal["ok", "not_found"]
    decision: Decision | None = None  # type: ignore[valid-type]


class DecisionsResponse(Response):
    """Answers in the order asked; ``committed`` says whether the ledger has them."""

    run_id: str
    committed: bool
    results: list[DecisionItem]


class DecisionResponse(Response):
    """The proposed next best action of one customer; nothing is written."""

    run_id: str
    customer_id: str
    decision: Decision  # type: ignore[valid-type]


PAST_DECISION_FIELDS = (
    "decision_id",
    "decided_at",
    *(name for name in DECISION_COLUMNS if name not in {"horizon_days", "currency", "data_grade"}),
    "eligible_actions",
)
PastDecision = _response(
    "PastDecision",
    "A decision of the ledger.",
    (name for name in PAST_DECISION_FIELDS if name in COLUMNS),
    decision_id=(str, Field(description="its key in the ledger")),
    decided_at=(datetime, Field(description="when it was committed")),
    eligible_actions=(list[str], Field(description="actions the customer could have had")),
)


class Month(Response):
    """A customer's purchases in one calendar month of the source's zone."""

    month: Annotated[date, Field(description="its first day")]
    orders: int
    spend: float


class ProfileFacts(Response):
    """What the records say about a customer as of the run."""

    monthly: list[Month]
    context: Annotated[dict[str, Any], Field(description="language, zone, favourites, consent, first and last dates")]
    features: Annotated[dict[str, float | None], Field(description="the behavioural features by name")]


class ProfileResponse(Response):
    """Everything known about one customer."""

    run_id: str
    customer_id: str
    score: Score  # type: ignore[valid-type]
    facts: ProfileFacts | None
    decisions: list[PastDecision]  # type: ignore[valid-type]


class LiveResponse(Response):
    """The process answers."""

    status: Literal["live"]


class ReadyResponse(Response):
    """Scores can be served."""

    status: Literal["ready"]
    run_id: str


class ModelFacts(Response):
    """One model in service."""

    name: str
    version: str
    kind: str
    sha256: str
    serving_since: datetime
    trained_on: dict[str, Any]


class RunFacts(Response):
    """The scoring run that answers come from."""

    run_id: str
    as_of: datetime
    loaded_at: datetime
    customers: int
    horizon_days: int
    definition: str
    model_versions: dict[str, str]
    pending: Annotated[list[str], Field(description="columns that are not computed yet and always null")]


class ModelsResponse(Response):
    """What is serving; ``fault`` says when the newest published models could not be taken into service."""

    models: list[ModelFacts]
    fault: str | None
    scores: RunFacts | None
