"""Fitted models on disk: plain files beside a manifest that says what they must hash to, and the shelf serving reads.

An artefact is a folder of files without pickles and a ``manifest.json``; readers trust only the manifest. The shelf is
``<shelf>/<name>/<version>/`` artefacts, which never change once there, and ``<shelf>/champions.json``, which names the
version of each model that serves.
"""

import errno
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perennial.errors import ArtefactError, OutputError
from perennial.files import locked, replacing, sync

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
CHAMPIONS = "champions.json"
# Plain names only: nothing that a path could climb out with.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHELF_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Artefact:
    """A verified artefact in memory; ``digest`` is the manifest's sha256, ``version`` its place on the shelf."""

    kind: str
    files: Mapping[str, bytes]
    meta: Mapping[str, Any]
    digest: str
    version: str | None = None


def write_artefact(directory: Path, kind: str, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> Path:
    """Write an artefact folder in one step and return it; ``directory`` must not exist yet or be empty.

    The same kind, files and meta give byte-identical folders.
    """
    directory = Path(directory)
    for name in files:
        if not _FILE_NAME.fullmatch(name) or name == MANIFEST:
            raise ArtefactError(f"{directory}: an artefact cannot hold a file named {name!r}; use a plain name")
    contents = {**files, MANIFEST: _manifest(directory, kind, files, meta)}
    with _writing(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            for name, data in contents.items():
                (staging / name).write_bytes(data)
                sync(staging / name)
            staging.chmod(0o755)  # mkdtemp's 0700 would hide the shelf from a service run by another user
            staging.rename(directory)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        sync(directory.parent)
    return directory


def read_artefact(directory: Path, kind: str) -> Artefact:
    """Read an artefact, checking format version, kind and the sha256 of every file."""
    directory = Path(directory)
    manifest = _read_manifest(directory)
    if manifest["kind"] != kind:
        raise ArtefactError(f"{directory}: holds a {manifest['kind']!r} model where a {kind!r} model is needed")
    files = {}
    for name, sha256 in manifest["files"].items():
        if not _FILE_NAME.fullmatch(name):
            raise ArtefactError(
                f"{directory / MANIFEST}: names a file {name!r} outside the folder; train or pull it again"
            )
        data = _read(directory / name)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ArtefactError(f"{directory / name}: differs from what was written (sha256); train or pull it again")
        files[name] = data
    return Artefact(kind, files, manifest["meta"], manifest["sha256"])


def publish(shelf: Path, name: str, version: str, directory: Path) -> None:
    """Put a verified artefact on the shelf as ``name/version`` and make it the champion in one step.

    A version that is already there with the same content is only named champion again (a rollback).
    """
    shelf, source = Path(shelf), _verified(Path(directory))
    target = _place(shelf, name, version)
    with _writing(shelf), locked(shelf):
        if not target.exists():
            write_artefact(target, source.kind, source.files, source.meta)
        elif _verified(target).digest != source.digest:
            raise ArtefactError(f"{target}: another model stands there already; publish this one under a new version")
        chosen = {**champions(shelf), name: version}
        with replacing(shelf / CHAMPIONS) as table:
            table.write_bytes(json_file(chosen))


def champions(shelf: Path) -> dict[str, str]:
    """Return the serving version of every model on the shelf; empty when nothing was published."""
    path = Path(shelf) / CHAMPIONS
    if not path.exists():
        return {}
    try:
        chosen = json.loads(_read(path))
    except ValueError:
        chosen = None
    if not isinstance(chosen, dict) or not all(isinstance(version, str) for version in chosen.values()):
        raise ArtefactError(f"{path}: is not a table of model versions; promote a model again")
    return chosen


def load_champion(shelf: Path, name: str) -> Artefact:
    """Read and verify the champion of a model."""
    chosen = champions(shelf)
    if name not in chosen:
        raise ArtefactError(f"{shelf}: no {name!r} model has been published; run `perennial train {name}` first")
    return replace(_verified(_place(Path(shelf), name, chosen[name])), version=chosen[name])


def require_plain_name(name: str) -> None:
    """Raise ArtefactError unless a model may have this name: it becomes a folder."""
    if not _SHELF_NAME.fullmatch(name):
        raise ArtefactError(f"{name!r} cannot name a model: use letters, digits, _ and -, at most 64, a letter first")


def json_file(state: Mapping[str, Any]) -> bytes:
    """Return a model's fitted state as the bytes of a readable file; the same state gives the same bytes."""
    return json.dumps(state, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"


def read_json_file(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """Return the fitted state that ``json_file`` wrote."""
    try:
        state = json.loads(files[name])
    except (KeyError, ValueError):
        raise ArtefactError(f"the artefact lacks a readable {name}; train or pull the model again") from None
    if not isinstance(state, dict):
        raise ArtefactError(f"{name} does not hold a fitted model; train or pull the model again")
    return state


def _verified(directory: Path) -> Artefact:
    return read_artefact(directory, _read_manifest(directory)["kind"])


def _place(shelf: Path, name: str, version: str) -> Path:
    if not _SHELF_NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        raise ArtefactError(f"{name!r} version {version!r} cannot stand on the shelf: use letters, digits, . _ and -")
    return shelf / name / version


def _manifest(directory: Path, kind: str, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> bytes:
    body = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "meta": meta,
    }
    try:
        sealed = {**body, "sha256": _seal(body)}
    except (TypeError, ValueError) as error:
        raise ArtefactError(f"{directory}: meta is not plain finite JSON: {error}") from None
    return json.dumps(sealed, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _seal(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest = json.loads(_read(path))
        found = manifest["format_version"]
        sealed = manifest["sha256"] == _seal({key: value for key, value in manifest.items() if key != "sha256"})
    except (ValueError, KeyError, TypeError):
        raise ArtefactError(f"{path}: is not a model manifest; train or pull the model again") from None
    if found != FORMAT_VERSION:
        raise ArtefactError(f"{path}: is format {found}, this program reads format {FORMAT_VERSION}; train it again")
    if not sealed:
        raise ArtefactError(f"{path}: was altered after it was written (sha256); train or pull the model again")
    return dict(manifest)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read ({error.strerror}); train or pull the model again") from None


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ArtefactError(f"{target}: something stands there already; choose a new folder") from None
        raise OutputError(f"{target}: cannot be written ({error.strerror}); nothing was changed") from error
