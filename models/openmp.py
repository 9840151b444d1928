"""The one place that imports LightGBM, after making sure its OpenMP runtime can be found.

LightGBM's wheel asks the system for ``libgomp.so.1``, which slim images lack. scikit-learn's wheel
carries the same library under a private name (``libgomp-<hash>.so…``). Loading that file first is
not enough: the loader satisfies a request by the name a library calls itself, and the private name
is not the one LightGBM asks for. So a copy in memory is renamed to the public name and loaded;
nothing on disk changes.
"""

import ctypes
import importlib.metadata
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from perennial.errors import PerennialError

PUBLIC_NAME = "libgomp.so.1"


def load_lightgbm() -> ModuleType:
    """Import LightGBM; raises PerennialError naming the one missing package where that cannot work."""
    # Read once, when the runtime loads. Threads that wait by spinning made a fit six times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if os.name == "posix" and hasattr(os, "memfd_create"):
        _provide_openmp()
    try:
        import lightgbm
    except OSError as error:
        raise PerennialError(
            f"LightGBM could not load its OpenMP runtime ({error}); install the system package libgomp1 "
            "(Debian, Ubuntu), libgomp (Fedora, Alpine) or libomp (macOS)"
        ) from error
    module: ModuleType = lightgbm
    return module


def read_booster(text: str) -> Any:
    """Return the booster that LightGBM's model text describes; ValueError when it is no such text."""
    lightgbm = load_lightgbm()
    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise ValueError(str(error)) from error


def _provide_openmp() -> None:
    try:
        ctypes.CDLL(PUBLIC_NAME, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        bundled = bundled_runtime()
        if bundled is not None:
            load_renamed(bundled, PUBLIC_NAME)


def bundled_runtime() -> Path | None:
    """Return the runtime inside scikit-learn's wheel, or None where the wheel has none."""
    files = importlib.metadata.files("scikit-learn") or []
    found = [Path(str(file.locate())) for file in files if file.name.startswith("libgomp-")]
    return next((path for path in found if path.is_file()), None)


def load_renamed(library: Path, name: str) -> None:
    """Load a shared library from memory so that it answers to ``name`` (no longer than its own)."""
    own = library.name.encode() + b"\0"
    image = library.read_bytes().replace(own, name.encode().ljust(len(own), b"\0"))
    descriptor = os.memfd_create(name)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(image)
        ctypes.CDLL(f"/proc/self/fd/{descriptor}", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return  # importing LightGBM says what is missing
    finally:
        os.close(descriptor)
