"""The published models as the service holds them: verified whole, then swapped in one step."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.artefact import CHAMPIONS, Artefact, champions, load_champion
from perennial.errors import ArtefactError
from serving import metrics

logger = logging.getLogger("perennial.api")


@dataclass(frozen=True, slots=True)
class Champion:
    """One model in service."""

    artefact: Artefact
    since: datetime

    def facts(self, name: str) -> dict[str, Any]:
        """What /v1/models says about it."""
        return {
            "name": name,
            "version": self.artefact.version,
            "kind": self.artefact.kind,
            "sha256": self.artefact.digest,
            "serving_since": self.since,
            "trained_on": dict(self.artefact.meta),
        }


class Shelf:
    """Watches ``champions.json``. ``current`` is one reference: a request that took it keeps one set of versions."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: tuple[int, int, int] | None = None
        self.current: Mapping[str, Champion] = MappingProxyType({})
        self.fault: str | None = None

    def refresh(self) -> bool:
        """Load what was published since the last look; return whether anything was swapped in."""
        mark = self._mark()
        if mark == self._seen:
            return False
        self._seen = mark
        try:
            loaded = self._load()
        except ArtefactError as error:
            self.fault = "The newest published models could not be verified; the ones before stay. See the service log."
            logger.error("models on the shelf not taken into service: %s", error)
            metrics.MODEL_LOADS.labels("refused").inc()
            return False
        self.current, self.fault = MappingProxyType(loaded), None
        metrics.MODEL_LOADS.labels("taken").inc()
        return True

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            found = (self._directory / CHAMPIONS).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _load(self) -> dict[str, Champion]:
        now = datetime.now(UTC)
        loaded = {}
        chosen = champions(self._directory)
        if self.current and not chosen:
            raise ArtefactError(f"{self._directory / CHAMPIONS}: names no model any more; promote one again")
        for name, version in chosen.items():
            serving = self.current.get(name)
            if serving is not None and serving.artefact.version == version:
                loaded[name] = serving
            else:
                loaded[name] = Champion(load_champion(self._directory, name), now)
        return loaded
