"""A folder of files that changes all at once: the old set stays whole until the new one is complete.

The files live in ``<folder>/.set-…``; ``.current`` links to it, and each visible name links through ``.current``.
Moving that one link is the only step that changes what readers see, so a kill or a full disk leaves the last good set.
A copy of the folder with the links followed is a plain folder and reads the same.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perennial.errors import OutputError
from perennial.files import locked, sync

MANIFEST = "manifest.json"
CURRENT = ".current"


def publish(directory: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill an empty folder, then show its files under ``directory`` in one step.

    ``write`` leaves its manifest last. Any failure leaves what ``directory`` showed before.
    """
    with _writing(directory), locked(directory):
        _sweep(directory)
        staging = Path(tempfile.mkdtemp(prefix=".partial-", dir=directory))
        try:
            write(staging)
            complete = _settle(directory, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        _link(directory / CURRENT, complete.name)
        sync(directory)
        _show(directory, complete)
        _sweep(directory)


def current(directory: Path) -> Path:
    """Return the folder that holds the complete set shown under ``directory``."""
    link = directory / CURRENT
    return link.resolve() if link.exists() else directory


def sha256(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{directory}: cannot be written ({error.strerror or error}); what was there before is unchanged. "
            "Free some space or choose another folder, then run it again"
        ) from error


def _settle(directory: Path, staging: Path) -> Path:
    """Sync the staged files and give their folder its lasting name, which its manifest determines."""
    for path in sorted(staging.rglob("*")):
        sync(path)
    sync(staging)
    complete = directory / f".set-{sha256(staging / MANIFEST)[:16]}"
    if complete.exists():  # the same content once more; a damaged copy of it is put right
        if all(_same(path, complete / path.relative_to(staging)) for path in staging.rglob("*") if path.is_file()):
            return complete
        shutil.rmtree(complete)
    staging.chmod(0o755)  # mkdtemp's 0700 would hide the files from other users
    staging.rename(complete)
    return complete


def _same(path: Path, other: Path) -> bool:
    return other.is_file() and sha256(path) == sha256(other)


def _show(directory: Path, complete: Path) -> None:
    """Give every name of the set a visible link, the manifest last, and drop links to names it no longer has."""
    names = sorted((path.name for path in complete.iterdir()), key=lambda name: (name == MANIFEST, name))
    for name in names:
        shown, target = directory / name, f"{CURRENT}/{name}"
        if shown.is_symlink() and str(shown.readlink()) == target:
            continue
        if shown.is_dir() and not shown.is_symlink():
            shutil.rmtree(shown)
        _link(shown, target)
    for path in directory.iterdir():
        if path.is_symlink() and not path.exists():
            path.unlink()
    sync(directory)


def _link(path: Path, target: str) -> None:
    temporary = path.with_name(f".{path.name.lstrip('.')}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)


def _sweep(directory: Path) -> None:
    """Remove sets that are not shown and what a killed writer left."""
    shown = current(directory)
    for pattern in (".partial-*", ".set-*"):
        for path in directory.glob(pattern):
            if path.resolve() != shown:
                shutil.rmtree(path, ignore_errors=True)
