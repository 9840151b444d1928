"""Who may come in: the key of the environment and the keys of the store, compared in constant time."""

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import SecretStr

from serving.codes import SCOPES
from serving.problems import MISSING_KEY, Problem

# A key that was taken back works on for at most this long.
_REMEMBERED_SECONDS = 1.0
_REMEMBERED_KEYS = 1000
_LONGEST_KEY = 256
_HOW = "Send a valid key in X-API-Key; `perennial keys add NAME` makes one."


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was admitted: a name for it that is not the key, and what it may do."""

    digest: str
    scopes: frozenset[str]


NOBODY = Caller("", frozenset())


class KeyRing:
    """Admits callers. ``scopes_of`` looks a key up in the store: None for one that was never given out."""

    def __init__(
        self, scopes_of: Callable[[str], Awaitable[frozenset[str] | None]], master: SecretStr | None = None
    ) -> None:
        self._scopes_of = scopes_of
        self._master = _sha256(master.get_secret_value()) if master else None
        self._remembered: dict[str, tuple[float, Caller]] = {}

    async def admit(self, presented: bytes | None) -> Caller:
        """Return the caller behind an X-API-Key header, or raise a 401."""
        if not presented or len(presented) > _LONGEST_KEY:
            raise _refused()
        key = presented.decode("latin-1")
        digest = _sha256(key)
        if self._master is not None and hmac.compare_digest(self._master, digest):
            return Caller(digest, frozenset(SCOPES))
        until, caller = self._remembered.get(digest, (0.0, None))
        if caller is not None and time.monotonic() < until:
            return caller
        scopes = await self._scopes_of(key)
        if scopes is None:
            self._remembered.pop(digest, None)
            raise _refused()
        return self._remember(Caller(digest, scopes))

    def _remember(self, caller: Caller) -> Caller:
        if len(self._remembered) >= _REMEMBERED_KEYS:
            self._remembered.clear()
        self._remembered[caller.digest] = (time.monotonic() + _REMEMBERED_SECONDS, caller)
        return caller


def _refused() -> Problem:
    return Problem(MISSING_KEY, _HOW)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
