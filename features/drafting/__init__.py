"""Draft a source file by looking at the data: which table each file is, and which column is which."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from features.drafting.columns import Column, look, names
from features.drafting.opening import Opened, open_any
from features.drafting.tables import Guess, guess
from features.drafting.writing import CHECK, DECIDE, PREFIX_SHARE, Cancelled, Drafted, render
from features.inputs import identifier
from perennial.errors import SourceError


@dataclass(frozen=True)
class Draft:
    """The text of a source file, a line on each file looked at, and how many lines of the text wait for a person."""

    text: str
    summary: tuple[str, ...]

    @property
    def to_decide(self) -> int:
        """Lines that hold a guess or a decision."""
        return sum(CHECK in line or DECIDE in line for line in self.text.splitlines())


def draft(files: Sequence[Path], output: Path, say: Callable[[str], None] = lambda _: None) -> Draft:
    """Look at the files and write down what they seem to be; ``output`` is where the text will stand.

    Raises
    ------
    SourceError
        When a file is missing or unreadable, or when none of them holds orders.
    """
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise SourceError(f"no such file: {', '.join(missing)}; name the files that hold your records")
    drafted = []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for number, file in enumerate(files):
            say(file.name)
            drafted.append(_look_at(connection, number, file))
    used = [each for each in drafted if each.guess.table is not None]
    left_out = [_why_not(each, output) for each in drafted if each.guess.table is None]
    if not any(each.guess.table == "orders" for each in used):
        raise SourceError(_no_orders(used, left_out))
    return Draft(render(used, output), (*map(_seems, used), *left_out))


def _look_at(connection: duckdb.DuckDBPyConnection, number: int, path: Path) -> Drafted:
    opened = open_any(connection, number, path)
    columns = look(connection, opened)
    found = guess(path.name.split(".")[0], columns)
    if found.table != "orders":
        return Drafted(opened, columns, found)
    total = _order_total(connection, opened, found)
    if total and {"quantity", "unit_price"} <= found.matches.keys():
        found = replace(found, matches={name: match for name, match in found.matches.items() if name != "amount"})
    return Drafted(opened, columns, found, _cancelled(connection, opened, found), total)


def _order_total(connection: duckdb.DuckDBPyConnection, opened: Opened, found: Guess) -> str:
    """Say why ``amount`` seems to be an order's total on each of its lines, which would be counted once per line."""
    order, amount = found.matches.get("order_id"), found.matches.get("amount")
    if order is None or amount is None:
        return ""
    if amount.column.empty_share > 0.05 and {"quantity", "unit_price"} <= found.matches.keys():
        return f"{amount.column.name} is empty on {100 * amount.column.empty_share:.0f} % of the lines"
    value = identifier(amount.column.name)
    several, same = connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE low = high) FROM (SELECT min({value}) AS low, max({value}) AS high "
        f"FROM {opened.relation} GROUP BY {identifier(order.column.name)} HAVING count(*) > 1)"
    ).fetchall()[0]
    if several < 20 or same < 0.95 * several:
        return ""
    return f"{amount.column.name} is the same on all lines of {same:,} of {several:,} orders with several lines"


def _cancelled(connection: duckdb.DuckDBPyConnection, opened: Opened, found: Guess) -> Cancelled | None:
    order = found.matches.get("order_id")
    value = found.matches.get("quantity") or found.matches.get("amount")
    if order is None or value is None:
        return None
    number = f"try_cast(replace({identifier(value.column.name)}::VARCHAR, ',', '.') AS DOUBLE)"
    rows = connection.execute(
        "SELECT prefix, count(DISTINCT id), count(*), avg((number < 0)::INT) FROM (SELECT "
        f"{identifier(order.column.name)}::VARCHAR AS id, regexp_extract(id, '^[^0-9]+') AS prefix, {number} AS number "
        f"FROM {opened.relation}) GROUP BY 1 ORDER BY 2 DESC"
    ).fetchall()
    total = sum(orders for _, orders, _, _ in rows)
    low, high = PREFIX_SHARE
    for prefix, orders, lines, negative in rows:
        if prefix and low * total <= orders <= high * total and (negative or 0) >= 0.8:
            return Cancelled(prefix, orders, lines, negative)
    return None


def _why_not(drafted: Drafted, output: Path) -> str:
    found = drafted.guess
    if found.label is None:
        return (
            f"{drafted.opened.path}: no table of the contract: no customer with a date, no customer who stands there "
            f"once (columns: {names(drafted.columns[:8])})"
        )
    path, label = drafted.opened.path, shlex.quote(found.label.name)
    who = f" --id {shlex.quote(found.id.name)}" if found.id and found.id.unique else ""
    name = output.stem if output.stem != "source" else path.name.split(".")[0]
    return (
        f"{path}: a labelled table, one row per customer and no dates, so it needs no source file: perennial train "
        f"churn --table {path} --label {label} --positive {shlex.quote(_positive(found.label))}{who} --name {name}"
    )


def _positive(label: Column) -> str:
    yes = [
        value
        for value in label.common
        if value.casefold() in ("yes", "true", "1", "1.0", "y", "t", "ja", "oui", "si", "是")
    ]
    return yes[0] if yes else label.common[-1]


def _seems(drafted: Drafted) -> str:
    found = ", ".join(f"{name} = {match.column.name}" for name, match in drafted.guess.matches.items())
    return f"{drafted.opened.path.name}: {drafted.guess.table} ({found})"


def _no_orders(used: list[Drafted], left_out: list[str]) -> str:
    """Say what the files seem to be instead of orders, in one line."""
    labelled = [why for why in left_out if "labelled table" in why]
    if labelled and not used:
        return labelled[0]
    return (
        f"no file of orders among them ({'; '.join([*map(_seems, used), *left_out])}); a source file needs one with a "
        "customer, a date and an amount, a product or an order id in each row"
    )
