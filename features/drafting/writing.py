"""A drafted source file as text: every line says what was guessed and why, and what is left to decide."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from features.contract import TABLES, Kind
from features.drafting import vocabulary
from features.drafting.columns import Column, names
from features.drafting.opening import MOST_ROWS, Opened
from features.drafting.tables import CLEAR, LIKELY, Guess, Match
from features.suspicions.finding import share

CHECK, DECIDE = "CHECK: ", "DECIDE: "
PREFIX_SHARE = (0.001, 0.3)
COMMENT_COLUMN, WIDTH = 44, 120


@dataclass(frozen=True)
class Drafted:
    """One file with what it was opened as and what it seems to be."""

    opened: Opened
    columns: tuple[Column, ...]
    guess: Guess
    cancelled: "Cancelled | None" = None
    order_total: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Order ids that begin with a letter where most are numbers, on lines that mostly give something back."""

    prefix: str
    orders: int
    lines: int
    negative_share: float


def render(files: list[Drafted], output: Path) -> str:
    """Return the TOML; it loads as it stands."""
    counted = Counter(drafted.guess.table for drafted in files)
    lines = [
        f"# Drafted by perennial init from {', '.join(drafted.opened.path.name for drafted in files)}.",
        f"# Lines marked CHECK are guesses: look at each, then run  perennial check --source {output}",
        "",
        f"name = {text(_name(files, output))}",
        *_top(files),
    ]
    for drafted in sorted(files, key=lambda each: list(TABLES).index(str(each.guess.table))):
        many = counted[drafted.guess.table] > 1
        lines += ["", *_section(drafted, output, f"[[{drafted.guess.table}]]" if many else f"[{drafted.guess.table}]")]
    return "\n".join(lines) + "\n"


def _name(files: list[Drafted], output: Path) -> str:
    if output.stem != "source":
        return output.stem
    return files[0].opened.path.name.split(".")[0] if len(files) == 1 else output.parent.resolve().name


def text(value: str) -> str:
    """Return a TOML basic string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(sign if sign >= " " and sign != "\x7f" else f"\\u{ord(sign):04x}" for sign in escaped) + '"'


def _line(key: str, value: str, comment: str = "") -> str:
    plain = f"{key} = {value}"
    if not comment:
        return plain
    beside = f"{plain:<{COMMENT_COLUMN}}  # {comment}"
    return beside if len(beside) <= WIDTH else f"# {comment}\n{plain}"


def _top(files: list[Drafted]) -> Iterator[str]:
    currency, zone, why = _place(files)
    yield _line("currency", text(currency), f"{CHECK}the currency of the amounts; {why}")
    own = all(match.column.dates.zoned for match in _instants(files) if match.column.dates)
    hours = any(match.column.dates.has_hours for match in _instants(files) if match.column.dates)
    clock = "days and hours are counted on this clock" if own else "on whose clock the dates are written"
    doubt = "" if hours else " (there are days only, so a wrong zone does little harm)"
    yield _line("timezone", text(zone), f"{CHECK}{clock}{doubt}; {why}")
    if any(drafted.guess.table == "consents" for drafted in files):
        consent = "without a row in [consents] nobody is contacted"
    else:
        consent = 'nobody may be contacted without a [consents] table; "allow" if you have everyone\'s consent'
    yield _line("consent_default", '"refuse"', f"{DECIDE}{consent}")
    yield f"# {DECIDE}your share of revenue kept. Without it values are revenue, and actions that cost money wait:"
    yield "# [economics]"
    yield "# margin_rate = 0.30"


def _instants(files: list[Drafted]) -> list[Match]:
    wanted = [(drafted, TABLES[str(drafted.guess.table)].instant) for drafted in files]
    return [drafted.guess.matches[name] for drafted, name in wanted if name and name in drafted.guess.matches]


def _place(files: list[Drafted]) -> tuple[str, str, str]:
    """Return currency, zone and what they were guessed from."""
    columns = [column for drafted in files for column in drafted.columns]
    country = _country(columns)
    language = _language(columns)
    default = country or language or ("USD", "UTC", "nothing in the files says so")
    stated = _currency(files, columns)
    if stated is None:
        return default
    code, why = stated
    if country or language:
        return code, default[1], why if why == default[2] else f"{why}; {default[2]}"
    return code, next((zone for currency, zone in vocabulary.COUNTRIES.values() if currency == code), "UTC"), why


def _country(columns: Iterable[Column]) -> tuple[str, str, str] | None:
    for column in columns:
        known = vocabulary.COUNTRIES.get(vocabulary.plain(column.common[0])) if column.common else None
        if known and vocabulary.likeness(column.name, "country land pays pais 国家"):
            return *known, f"{column.name} is mostly {column.common[0]}"
    return None


def _language(columns: Iterable[Column]) -> tuple[str, str, str] | None:
    headings = [column.name for column in columns]
    if any("\u4e00" <= sign <= "\u9fff" for heading in headings for sign in heading):
        return "CNY", "Asia/Shanghai", "the headings are Chinese"
    counts = {
        language: sum(any(word in vocabulary.plain(heading) for word in words.split()) for heading in headings)
        for language, (_, _, words) in vocabulary.LANGUAGES.items()
    }
    best = max(counts, key=lambda language: counts[language])
    if counts[best] < 2:
        return None
    currency, zone, _ = vocabulary.LANGUAGES[best]
    return currency, zone, f"the headings are {best}"


def _currency(files: list[Drafted], columns: Iterable[Column]) -> tuple[str, str] | None:
    for drafted in files:
        match = drafted.guess.matches.get("currency")
        code = match.column.common[0].upper() if match else ""
        if match and len(code) == 3 and code.isascii() and code.isalpha():
            return code, f"{match.column.name} is mostly {code}"
    for column in columns:
        for mark, code in vocabulary.CURRENCY_MARKS.items():
            if column.numbers and (mark in vocabulary.tokens(column.name) or (len(mark) == 1 and mark in column.name)):
                return code, f"after the name {column.name}"
    return None


def _section(drafted: Drafted, output: Path, heading: str) -> Iterator[str]:
    opened, matches = drafted.opened, drafted.guess.matches
    read = f", read as {opened.encoding} with the delimiter {opened.delimiter!r}" if opened.delimiter else ""
    first = "the first " if opened.rows == MOST_ROWS else ""
    yield f"{heading}  # {opened.path.name}: {first}{opened.rows:,} rows{read}"
    yield _line("path", text(_relative(opened.path, output)))
    if opened.encoding and not opened.encoding.startswith("utf-8"):
        yield _line("encoding", text(opened.encoding), "told from the bytes of its letters")
    for column in TABLES[str(drafted.guess.table)].columns:
        if column.name in matches:
            yield _mapped(column.name, column.kind, matches[column.name])
    yield from _filled_in(drafted)
    unused = tuple(
        column for column in drafted.columns if all(column is not match.column for match in matches.values())
    )
    if unused:
        yield f"# not used: {names(unused)}"
    if drafted.guess.table == "customers" and unused:
        yield '# an attribute of your own joins by its own name, like  income = "income"; not what was written later'


def _mapped(name: str, kind: Kind, match: Match) -> str:
    column, notes = match.column, []
    extra = {}
    if kind in (Kind.INSTANT, Kind.DAY) and column.dates and column.dates.format:
        extra["format"] = column.dates.format
        notes += [f"like {column.common[0]}"] if column.common else []
        if column.dates.other:
            notes.append(
                column.dates.why or f"{CHECK}{column.dates.other} would read every date too; which comes first?"
            )
    if kind is Kind.NUMBER and column.numbers == ",":
        extra["decimal"] = ","
    if match.why or match.likeness < CLEAR:
        notes.insert(0, f"{CHECK}{match.why}")
    if kind is Kind.ID and name == "customer_id":
        notes.append(f"{column.distinct:,} different")
    if column.empty_share > 0:
        notes.append(f"{share(column.empty_share, 1)} empty")
    value = text(column.name)
    if extra:
        parts = {"column": column.name, **extra}
        value = "{ " + ", ".join(f"{key} = {text(part)}" for key, part in parts.items()) + " }"
    return _line(name, value, "; ".join(notes))


def _filled_in(drafted: Drafted) -> Iterator[str]:
    matches, table = drafted.guess.matches, drafted.guess.table
    if table == "orders":
        yield from _money(drafted)
        if "order_id" not in matches:
            yield "# no order id: all rows of a customer at one instant are one order"
        if drafted.cancelled:
            found = drafted.cancelled
            yield _line(
                "cancelled_prefix",
                text(found.prefix),
                f"{found.orders:,} orders, {100 * found.negative_share:.0f} % of their {found.lines:,} lines negative",
            )
    if table == "outcomes" and "kind" not in matches:
        yield _line("kind", '{ constant = "redeemed" }', f"{CHECK}what did these customers do?")


def _money(drafted: Drafted) -> Iterator[str]:
    """Say where the money comes from when no column of line values does."""
    matches = drafted.guess.matches
    if "amount" in matches:
        if drafted.order_total:
            yield f"# {CHECK}{drafted.order_total}: if it is the order's total, it would be counted once per line"
        return
    if {"quantity", "unit_price"} <= matches.keys():
        why = f"; {drafted.order_total}, so it seems to be the order's total" if drafted.order_total else ""
        yield f"# amount is quantity × unit_price{why}"
        return
    yield _line("amount", "{ constant = 0 }", f"{CHECK}no column of money found: only timing can be learned")
    for column in drafted.columns:
        words = (vocabulary.COLUMNS["orders"][name] for name in ("amount", "unit_price"))
        named = max(vocabulary.likeness(column.name, synonyms) for synonyms in words)
        if named >= LIKELY and column.numbers is None and column.common:
            yield f"# {column.name} may be money, but {column.common[0]!r} is no plain number: export bare numbers"


def _relative(path: Path, output: Path) -> str:
    start = output.parent.resolve()
    whole = path.resolve() if not path.is_symlink() else path.parent.resolve() / path.name
    return Path(os.path.relpath(whole, start)).as_posix()
