"""What a set of score files says about itself: the manifest that readers trust."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from models.definition import Definition
from perennial.errors import OutputError
from serving.codes import CHURN_BANDS, Code, Language
from serving.columns import PENDING
from serving.fileset import MANIFEST
from serving.totals import Total

FORMAT_VERSION = 1
KIND = "perennial-scores"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file of the set; ``rows`` without the header."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Facts about a scoring run. ``as_of`` carries the source's zone; files hold it in UTC.

    ``actions`` are the playbook's items with their titles, so that files can be read without the playbook. ``capacity``
    is how many customers the staff can call, None where nobody said. ``totals`` are the sums of the portfolio and its
    groups; sets written before there were any have none.
    """

    as_of: datetime
    timezone: str
    horizon_days: int
    clv_horizon_days: int
    customers: int
    currency: str
    clv_basis: str
    language: Language
    data_grade: str
    model_versions: Mapping[str, str]
    playbook_sha256: str
    source: str
    actions: tuple[Code, ...] = ()
    churn_definition: Definition = Definition.NO_PURCHASE
    pending: tuple[str, ...] = PENDING
    capacity: int | None = None
    totals: tuple[Total, ...] = ()
    files: Mapping[str, FileFacts] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def definition(self) -> str:
        """What churn means here, in the run's language."""
        return self.churn_definition.words(self.horizon_days, self.language)

    @property
    def versions(self) -> str:
        """Model versions as one text, like ``churn=3;clv=2``."""
        return ";".join(f"{name}={version}" for name, version in sorted(self.model_versions.items()))

    def to_json(self) -> bytes:
        """Return the manifest's bytes; equal facts give equal bytes."""
        body = {
            "format_version": FORMAT_VERSION,
            "kind": KIND,
            "as_of": f"{self.as_of.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "as_of_day": f"{self.as_of:%Y-%m-%d}",
            "timezone": self.timezone,
            "horizon_days": self.horizon_days,
            "clv_horizon_days": self.clv_horizon_days,
            "customers": self.customers,
            "currency": self.currency,
            "clv_basis": self.clv_basis,
            "language": self.language,
            "definition": self.definition,
            "churn_definition": self.churn_definition.value,
            "churn_bands": dict(CHURN_BANDS),
            "data_grade": self.data_grade,
            "model_versions": dict(sorted(self.model_versions.items())),
            "playbook_sha256": self.playbook_sha256,
            "source": self.source,
            "pending": list(self.pending),
            "capacity": self.capacity,
            "totals": [asdict(total) for total in self.totals],
            "actions": [asdict(action) for action in self.actions],
            "files": {name: asdict(facts) for name, facts in sorted(self.files.items())},
        }
        return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def definition(manifest: Mapping[str, Any]) -> str:
    """Say what churn means in the run that a manifest as JSON describes."""
    meant = Definition(manifest.get("churn_definition", Definition.NO_PURCHASE))
    return meant.words(manifest["horizon_days"], manifest["language"])


def read_manifest(folder: Path) -> Manifest:
    """Read a set's manifest."""
    path = folder / MANIFEST
    try:
        body: dict[str, Any] = json.loads(path.read_bytes())
        if (body["kind"], body["format_version"]) != (KIND, FORMAT_VERSION):
            raise OutputError(f"{path}: is not a manifest this program reads; run `perennial score` again")
        return _manifest(body)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be read ({error.strerror}); name the folder that `perennial score` wrote"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: is not a score manifest ({error}); run `perennial score` again") from error


def _manifest(body: Mapping[str, Any]) -> Manifest:
    return Manifest(
        as_of=datetime.fromisoformat(body["as_of"]).astimezone(ZoneInfo(body["timezone"])),
        timezone=body["timezone"],
        horizon_days=body["horizon_days"],
        clv_horizon_days=body["clv_horizon_days"],
        customers=body["customers"],
        currency=body["currency"],
        clv_basis=body["clv_basis"],
        language=body["language"],
        data_grade=body["data_grade"],
        model_versions=body["model_versions"],
        playbook_sha256=body["playbook_sha256"],
        source=body["source"],
        actions=tuple(Code(**action) for action in body["actions"]),
        churn_definition=Definition(body.get("churn_definition", Definition.NO_PURCHASE)),
        pending=tuple(body["pending"]),
        capacity=body.get("capacity"),
        totals=tuple(Total(**total) for total in body.get("totals", ())),
        files={name: FileFacts(**facts) for name, facts in body["files"].items()},
    )
