"""Which contract table a file is, and which of its columns is which."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from features.contract import INTERACTION_KINDS, TABLES, Kind
from features.drafting import vocabulary
from features.drafting.columns import Column

CLEAR, LIKELY = 0.9, 0.5  # likeness of a name
FOUND_BY_CONTENT = 0.3
# What a table cannot do without, beyond the columns the contract requires.
TELLING: Mapping[str, tuple[str, ...]] = {
    "orders": ("order_id", "amount", "quantity", "unit_price", "product_id"),
    "customers": ("name", "email", "phone", "birthday", "created_at", "language"),
    "interactions": ("kind",),
    "offers": ("action_id",),
    "outcomes": ("kind",),
    "consents": ("granted",),
    "identities": ("master_id",),
}


@dataclass(frozen=True, slots=True)
class Match:
    """A contract column found in a file: which column it is, how sure, and why."""

    column: Column
    likeness: float
    why: str


@dataclass(frozen=True, slots=True)
class Guess:
    """What a file seems to be; ``label`` is set where it is a labelled table and no table of the contract."""

    table: str | None
    matches: Mapping[str, Match] = field(default_factory=dict)
    score: float = 0.0
    label: Column | None = None
    id: Column | None = None


def guess(file_stem: str, columns: tuple[Column, ...]) -> Guess:
    """Return the table that a file most likely is, with its columns."""
    found = [_as_table(name, file_stem, columns) for name in TABLES]
    best = max(found, key=lambda each: each.score)
    if best.score > 0 and not (best.table == "customers" and _label(columns) and best.score < 4):
        return best
    labelled = _label(columns)
    if labelled is not None:
        return Guess(None, label=labelled, id=_best("customer_id", vocabulary.CUSTOMER, Kind.ID, columns))
    return best if best.score > 0 else Guess(None)


def _as_table(name: str, file_stem: str, columns: tuple[Column, ...]) -> Guess:
    matches = _matches(name, columns)
    required = [column.name for column in TABLES[name].columns if column.required and not column.derived]
    if name == "outcomes":
        required.remove("kind")  # a constant says it where every row is of one kind
    if any(column not in matches for column in required) or not _fits(name, matches):
        return Guess(name, matches)
    telling = sum(matches[column].likeness for column in TELLING[name] if column in matches)
    score = sum(match.likeness for match in matches.values()) / 2 + telling
    return Guess(name, matches, score + 2 * _file_says(name, file_stem))


def _file_says(name: str, stem: str) -> float:
    return max(
        (vocabulary.likeness(part, vocabulary.FILES[name]) for part in (stem, *vocabulary.tokens(stem))), default=0
    )


def _fits(name: str, matches: Mapping[str, Match]) -> bool:
    """Whether the values are those of such a table."""
    who = matches["customer_id"].column
    if name == "customers":
        return who.unique and "ordered_at" not in matches
    if name == "interactions":
        return any(kind in INTERACTION_KINDS for kind in matches["kind"].column.common)
    if name == "outcomes":
        return "kind" in matches or "offer_id" in matches
    if name == "identities":
        return "master_id" in matches and matches["master_id"].likeness >= LIKELY
    return True


def _matches(name: str, columns: tuple[Column, ...]) -> dict[str, Match]:
    """Give each contract column the file's likeliest, surest first; no column is given twice."""
    words = vocabulary.COLUMNS[name]
    kinds = {column.name: column.kind for column in TABLES[name].columns}
    candidates = [
        (vocabulary.likeness(column.name, synonyms), -place, contract, column)
        for place, (contract, synonyms) in enumerate(words.items())
        for column in columns
        if _holds(column, kinds[contract])
    ]
    matches: dict[str, Match] = {}
    for likeness, _, contract, column in sorted(candidates, key=lambda each: (-each[0], -each[1])):
        taken = any(match.column is column for match in matches.values())
        if likeness >= LIKELY and contract not in matches and not taken:
            matches[contract] = Match(column, likeness, "" if likeness >= CLEAR else f"its name is like {contract}")
    if name == "orders":
        _orders_by_content(columns, matches)
    return matches


def _holds(column: Column, kind: Kind) -> bool:
    return {
        Kind.ID: column.is_id,
        Kind.TEXT: column.dates is None,
        Kind.NUMBER: column.numbers is not None,
        Kind.FLAG: column.flags,
        Kind.INSTANT: column.dates is not None,
        Kind.DAY: column.dates is not None,
    }[kind] and column.filled > 0


def _best(contract: str, synonyms: str, kind: Kind, columns: tuple[Column, ...]) -> Column | None:
    fitting = [
        column for column in columns if _holds(column, kind) and vocabulary.likeness(column.name, synonyms) >= LIKELY
    ]
    return max(fitting, key=lambda column: vocabulary.likeness(column.name, synonyms), default=None)


def _orders_by_content(columns: tuple[Column, ...], matches: dict[str, Match]) -> None:
    """Find by their values what no name told: the one date, the id that comes back, the one amount."""

    def free(kind: Kind) -> list[Column]:
        used = [match.column for match in matches.values()]
        return [column for column in columns if column not in used and _holds(column, kind)]

    dates = free(Kind.INSTANT)
    if "ordered_at" not in matches and len(dates) == 1:
        matches["ordered_at"] = Match(dates[0], FOUND_BY_CONTENT, "the only column of dates")
    if "ordered_at" not in matches:
        return
    if "order_id" not in matches:
        numbered = [column for column in free(Kind.ID) if all(value.startswith("#") for value in column.common)]
        if numbered:
            matches["order_id"] = Match(numbered[0], FOUND_BY_CONTENT, "its values begin with #")
    ids = [column for column in free(Kind.ID) if 1 < column.distinct < 0.9 * column.filled and not column.flags]
    if "customer_id" not in matches and ids:
        who = max(ids, key=lambda column: column.distinct)
        matches["customer_id"] = Match(
            who, FOUND_BY_CONTENT, f"an id that comes back: {who.distinct:,} in {who.filled:,} rows"
        )
    money = [column for column in free(Kind.NUMBER) if not column.whole]
    if not matches.keys() & {"amount", "unit_price"} and len(money) == 1:
        matches["amount"] = Match(money[0], FOUND_BY_CONTENT, "the only column of numbers with decimals")


def _label(columns: tuple[Column, ...]) -> Column | None:
    """Return the column of two values that a model could be trained on, in a table without dates."""
    if any(column.dates is not None for column in columns):
        return None
    binary = [column for column in columns if column.distinct == 2]
    named = [column for column in binary if vocabulary.likeness(column.name, vocabulary.LABELS) >= LIKELY]
    return max(named, key=lambda column: vocabulary.likeness(column.name, vocabulary.LABELS), default=None)
