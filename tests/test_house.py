"""The house's own promises: documented commands exist, the lock names no host, the exception tree is drawn as it is."""

import re
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from perennial import errors
from perennial.cli import app
from perennial.settings import Settings

ROOT = Path(__file__).parents[1]


def commands() -> set[str]:
    root = get_command(app)
    found = set()
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        nested = getattr(command, "commands", None)
        found |= {f"{name} {inner}" for inner in nested} if nested else {name}
    return found


def test_readme_documents_every_command_and_no_other() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"perennial ((?:keys|playbook) [a-z]+|[a-z]+)\b", text))
    assert commands() <= documented
    known = commands() | {name.split()[0] for name in commands()}
    assert {name for name in documented if f"perennial {name}" in text and name.split()[0] not in known} == set()


def test_readme_documents_every_setting_and_no_other() -> None:
    documented = set(re.findall(r"^\| `PERENNIAL_([A-Z_]+)`", (ROOT / "README.md").read_text(encoding="utf-8"), re.M))
    assert documented == {name.upper() for name in Settings.model_fields}


def test_every_option_has_help() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for inner in getattr(command, "commands", {name: command}).values():
            assert inner.help, name
            assert all(option.help for option in inner.params if isinstance(option, typer.core.TyperOption)), name


@pytest.mark.parametrize("lock", ["requirements.lock", "benchmarks/requirements.lock"])
def test_lock_is_pinned_by_hash_and_names_no_host(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    pins = [line for line in lines if re.match(r"[a-z0-9]", line)]
    assert pins
    assert all("==" in line for line in pins)
    assert sum("--hash=sha256:" in line for line in lines) >= len(pins)
    assert not [line for line in lines if "://" in line or "index-url" in line]


def test_exception_tree_is_drawn_as_it_is() -> None:
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) | {"PerennialError"}
    assert classes == drawn
