"""Values of a source file, each read with a message that says where it stands and what it should be."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from perennial.errors import SourceError


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """Return ``; did you mean …?`` for the nearest candidate, or nothing when none is near."""
    by_folded = {candidate.casefold().replace("_", ""): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.casefold().replace("_", ""), by_folded, n=1, cutoff=0.5)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""


def known(given: Mapping[str, Any], allowed: Iterable[str], where: str) -> None:
    """Raise for the first key that is not allowed."""
    allowed = tuple(allowed)
    for key in given:
        if key not in allowed:
            raise SourceError(f"{where}: unknown key {key!r}{suggestion(key, allowed)} (keys: {', '.join(allowed)})")


def text(value: object, where: str) -> str:
    """Return a text that is not blank, or raise."""
    if not isinstance(value, str) or not value.strip():
        raise SourceError(f"{where} = {value!r} must be a text in quotes")
    return value


def number(value: object, where: str, low: float, high: float) -> float:
    """Return a number within its bounds, or raise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise SourceError(f"{where} = {value!r} must be a number from {low:g} to {high:g}")
    return float(value)


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """Return a section with keys, or raise."""
    if not isinstance(value, dict):
        raise SourceError(f"{where} must be a section with keys, not {value!r}")
    return value


def checked_currency(value: str, where: str) -> str:
    """Return a three-letter currency code in capitals, or raise."""
    code = value.strip().upper()
    if not (len(code) == 3 and code.isascii() and code.isalpha()):
        raise SourceError(f"{where} = {value!r} is no currency code; write three letters, like 'EUR'")
    return code


def zone(value: object, where: str) -> str | None:
    """Return a zone that exists, None for none, or raise."""
    return None if value is None else checked_zone(text(value, where), where)


def checked_zone(value: str, where: str) -> str:
    """Return an IANA zone name that exists, or raise with the nearest one."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        hint = suggestion(value, available_timezones())
        raise SourceError(f"{where} = {value!r} is no known zone{hint} (like 'Europe/London' or 'UTC')") from None
    return value
