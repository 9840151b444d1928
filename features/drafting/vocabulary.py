"""How likely a name is what the contract means; the names themselves are in ``names.toml`` beside this module."""

import re
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NAMES: Mapping[str, Any] = tomllib.loads((Path(__file__).parent / "names.toml").read_text(encoding="utf-8"))


def _whole(names: str) -> str:
    return re.sub(r"@(\w+)", lambda found: str(_NAMES["shared"][found[1]]), names)


LABELS: str = _NAMES["labels"]
CUSTOMER: str = _NAMES["shared"]["customer"]
FILES: Mapping[str, str] = _NAMES["files"]
COLUMNS: Mapping[str, Mapping[str, str]] = {
    table: {column: _whole(names) for column, names in columns.items()} for table, columns in _NAMES["columns"].items()
}
COUNTRIES: Mapping[str, tuple[str, str]] = _NAMES["countries"]
LANGUAGES: Mapping[str, tuple[str, str, str]] = _NAMES["languages"]
CURRENCY_MARKS: Mapping[str, str] = _NAMES["currency_marks"]


def plain(name: str) -> str:
    """Return a name without capitals, accents and signs, so that spellings of one name are equal."""
    folded = unicodedata.normalize("NFKD", name.casefold().replace("ß", "ss"))
    return re.sub(r"[\W_]+", "", "".join(sign for sign in folded if not unicodedata.combining(sign)))


def tokens(name: str) -> list[str]:
    """Return the words of a name: split at signs and at capitals within."""
    apart = re.sub(r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Ý])", " ", name)
    return [plain(part) for part in re.split(r"[\W_]+", apart) if plain(part)]


def likeness(name: str, synonyms: str) -> float:
    """Return how surely a column's name is one of the synonyms, from 0 to 1.

    1 for the same name (earlier synonyms a little more), .6 where a synonym is the last words of the name or begins
    or ends a Chinese one.
    """
    own, words = plain(name), tokens(name)
    best = 0.0
    for place, synonym in enumerate(synonyms.split()):
        wanted, parts = plain(synonym), tokens(synonym)
        if own == wanted:
            return 1.0 - 0.001 * place
        chinese = not wanted.isascii() and len(wanted) >= 2 and (own.startswith(wanted) or own.endswith(wanted))
        if chinese or (len(parts) < len(words) and words[-len(parts) :] == parts):
            best = max(best, 0.6 - 0.001 * place)
    return best
