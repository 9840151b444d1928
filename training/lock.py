"""One training or promotion at a time per home."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from perennial.errors import OutputError, RegistryError

LOCK = "training.lock"


@contextmanager
def training_lock(home: Path, what: str) -> Iterator[None]:
    """Hold the home's lock, or say who does. The kernel frees it when its holder ends, however it ends."""
    path = home / LOCK
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); nothing was trained") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RegistryError(f"busy: {_holder(path)}; wait until it ends (the lock is {path})") from None
        file.truncate(0)
        file.write(f"{what} by process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
        file.flush()
        yield


def _holder(path: Path) -> str:
    return path.read_text().strip() or "another training or promotion is running"
