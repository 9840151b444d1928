"""LightGBM loads where the system has no OpenMP runtime."""

import subprocess
import sys
from pathlib import Path

import lightgbm
import pytest

from models.openmp import PUBLIC_NAME, bundled_runtime

MISSING = "libgomp.so.9"  # as long as the real name, and on no machine

LOAD = """
import ctypes, sys
from pathlib import Path
from models.openmp import load_renamed
if sys.argv[2] != "-":
    load_renamed(Path(sys.argv[2]), sys.argv[3])
ctypes.CDLL(sys.argv[1])
"""


@pytest.fixture(scope="module")
def runtime() -> Path:
    found = bundled_runtime()
    if found is None:
        pytest.skip("scikit-learn's wheel for this platform carries no libgomp")
    return found


@pytest.fixture(scope="module")
def library_that_misses_its_runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LightGBM's own library, asking for a runtime this machine does not have."""
    own = next(Path(lightgbm.__file__).parent.rglob("lib_lightgbm.so"))
    altered = tmp_path_factory.mktemp("lib") / own.name
    altered.write_bytes(own.read_bytes().replace(PUBLIC_NAME.encode(), MISSING.encode()))
    return altered


def _load(library: Path, runtime: str, name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LOAD, str(library), runtime, name]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_help_the_library_cannot_load(library_that_misses_its_runtime: Path) -> None:
    outcome = _load(library_that_misses_its_runtime, "-", "-")
    assert MISSING in outcome.stderr


def test_the_renamed_bundled_runtime_satisfies_it(library_that_misses_its_runtime: Path, runtime: Path) -> None:
    outcome = _load(library_that_misses_its_runtime, str(runtime), MISSING)
    assert outcome.returncode == 0, outcome.stderr


def test_the_private_name_does_not(library_that_misses_its_runtime: Path, runtime: Path) -> None:
    """Why the copy is renamed: were this to pass one day, the module could be simpler."""
    assert _load(library_that_misses_its_runtime, str(runtime), runtime.name).returncode != 0
