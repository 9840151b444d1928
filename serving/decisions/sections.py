"""Read a TOML table key by key, so that every mistake is named with its place and what would be right."""

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from perennial.errors import PlaybookError


def nearest(word: str, allowed: Sequence[str]) -> str:
    """Return what is allowed, and the nearest match where there is one, to stand after "expected"."""
    match = get_close_matches(word, allowed, n=1, cutoff=0.6)
    hint = f"; did you mean {match[0]!r}?" if match else ""
    return f"one of {', '.join(allowed) or 'nothing'}{hint}"


class Section:
    """One table of a playbook file; every getter checks, ``finish`` refuses keys that nobody asked for."""

    def __init__(self, file: str, path: str, data: Mapping[str, Any]) -> None:
        self._file, self._path, self._data = file, path, data
        self._asked: list[str] = []

    @property
    def names(self) -> list[str]:
        """Keys that stand in the file, in its order."""
        return list(self._data)

    def error(self, key: str, value: object, expected: str) -> PlaybookError:
        """Make the error for a value that is not what was expected."""
        place = f"[{self._path}] {key}" if self._path else key
        return PlaybookError(f"{self._file}: {place} = {value!r}: expected {expected}")

    def section(self, key: str) -> "Section":
        """Return a table inside this one."""
        value = self._take(key)
        if not isinstance(value, Mapping):
            raise self.error(key, value, "a table")
        return Section(self._file, f"{self._path}.{key}" if self._path else key, value)

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """Return a finite number in [low, high]."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(key, value, f"a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise self.error(key, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def whole(self, key: str, low: int, high: int) -> int:
        """Return a whole number in [low, high]."""
        value = self.number(key, low, high)
        if value != int(value):
            raise self.error(key, value, f"a whole number from {low} to {high}")
        return int(value)

    def flag(self, key: str) -> bool:
        """Return true or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    def text(self, key: str) -> str:
        """Return a text that is not empty."""
        value = self._take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, value, "a text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, none empty, in the file's order."""
        value = self._take(key)
        words = value if isinstance(value, list) else []
        if not words or not all(isinstance(word, str) and word.strip() for word in words):
            raise self.error(key, value, "a list of texts")
        return tuple(words)

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        """Return one of the allowed words."""
        value = self._take(key)
        if value not in allowed:
            raise self.error(key, value, nearest(str(value), allowed))
        return str(value)

    def choices(self, key: str, allowed: Sequence[str]) -> tuple[str, ...]:
        """Return a list of allowed words, in the file's order."""
        value = self._take(key)
        if not isinstance(value, list) or not value:
            raise self.error(key, value, f"a list, each {nearest(str(value), allowed)}")
        for word in value:
            if word not in allowed:
                raise self.error(key, word, nearest(str(word), allowed))
        return tuple(value)

    def finish(self, allowed: Sequence[str] = ()) -> None:
        """Refuse a key that was never asked for."""
        known = list(dict.fromkeys([*self._asked, *allowed]))
        for key, value in self._data.items():
            if key not in known:
                raise self.error(key, value, f"another key, {nearest(key, known)}")

    def _take(self, key: str, default: object = None) -> Any:
        self._asked.append(key)
        value = self._data.get(key, default)
        if value is None:
            similar = get_close_matches(key, [name for name in self._data if name not in self._asked], n=1)
            hint = f"; {similar[0]!r} stands there: did you mean {key!r}?" if similar else ""
            raise PlaybookError(f"{self._file}: [{self._path}] {key} is missing{hint}")
        return value
