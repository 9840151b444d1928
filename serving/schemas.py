"""What the API gives, as pydantic models: the source of the OpenAPI document."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from serving.codes import CODE_LISTS
from serving.columns import COLUMNS, SCORE_COLUMNS, Kind, ScoreColumn


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


_ASKED = Field(description="the id that was asked for, where the records have united it with customer_id")


class ScoreItem(Response):
    """One customer's line of the answer; ``score`` is there when status is ok.

    ``no_orders``: the customer's own records hold no order before as_of.
    """

    customer_id: str
    asked_id: Annotated[str | None, _ASKED] = None
    status: Literal["ok", "not_found", "no_orders"]
    score: Score | None = None  # type: ignore[valid-type]


class ScoresResponse(Response):
    """Answers in the order asked, all from one scoring run; ``run_id`` is null for customers' own records."""

    run_id: str | None
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
    asked_id: Annotated[str | None, _ASKED] = None
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
    asked_id: Annotated[str | None, _ASKED] = None
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


class LastOrder(Response):
    """One of the customer's latest orders."""

    order_id: str
    ordered_at: datetime
    channel: str | None
    lines: int
    spend: float


class ProfileFacts(Response):
    """What the records say about a customer as of the run."""

    monthly: list[Month]
    last_orders: Annotated[list[LastOrder], Field(description="the newest first")]
    context: Annotated[dict[str, Any], Field(description="language, zone, favourites, consent, first and last dates")]
    features: Annotated[dict[str, float | None], Field(description="the behavioural features by name")]


class ProfileResponse(Response):
    """Everything known about one customer."""

    run_id: str
    customer_id: str
    asked_id: Annotated[str | None, _ASKED] = None
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
