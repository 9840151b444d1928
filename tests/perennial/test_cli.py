"""The command line as a person meets it: instant help, one clear line for every mistake."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("pandas", "numpy", "ibis", "duckdb", "mlflow", "bentoml", "lightgbm", "matplotlib", "sqlalchemy", "pydantic")


def perennial(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perennial.cli", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def one_line_error(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("perennial: ")
    return lines[0]


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, perennial.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())


def test_missing_source_file(tmp_path: Path) -> None:
    assert "nowhere.toml" in one_line_error(perennial("check", "--source", "nowhere.toml", cwd=tmp_path))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "orders.csv").write_text("who,when,paid\nA,2024-01-05,10\nB,2024-02-01,20\nA,2024-03-01,5\n")
    path = tmp_path / "source.toml"
    path.write_text(
        'currency = "EUR"\ntimezone = "Europe/Berlin"\n'
        '[orders]\npath = "orders.csv"\ncustomer_id = "who"\nordered_at = "when"\namount = "paid"\n'
    )
    return path


def test_check_counts_what_it_read(source: Path) -> None:
    done = perennial("check", "--source", source.name, cwd=source.parent)
    assert done.returncode == 0, done.stderr
    assert "orders" in done.stdout
    assert "3" in done.stdout
    assert done.stderr == ""


def test_wrong_column_names_the_nearest(source: Path) -> None:
    source.write_text(source.read_text().replace('"paid"', '"payed"'))
    message = one_line_error(perennial("check", "--source", source.name, cwd=source.parent))
    assert "payed" in message
    assert "paid" in message


def test_missing_data_file(source: Path) -> None:
    (source.parent / "orders.csv").unlink()
    assert "orders.csv" in one_line_error(perennial("check", "--source", source.name, cwd=source.parent))


def test_empty_data_file(source: Path) -> None:
    (source.parent / "orders.csv").write_text("")
    assert "orders.csv" in one_line_error(perennial("check", "--source", source.name, cwd=source.parent))


def test_scoring_without_models_says_what_to_run(source: Path) -> None:
    message = one_line_error(perennial("score", "--source", source.name, "--output", "scores", cwd=source.parent))
    assert "perennial train" in message
    assert not (source.parent / "scores").exists()


def test_too_few_records_register_nothing(source: Path) -> None:
    message = one_line_error(perennial("train", "all", "--source", source.name, cwd=source.parent))
    assert "customers" in message or "days" in message
    assert not (source.parent / ".perennial" / "models").exists()


def test_as_of_that_is_no_date(source: Path) -> None:
    done = perennial(
        "features", "--source", source.name, "--as-of", "yesterday", "--output", "f.parquet", cwd=source.parent
    )
    assert "yesterday" in one_line_error(done)
    assert not (source.parent / "f.parquet").exists()


@pytest.mark.parametrize(("as_of", "said"), [("2999-01-01", "lies outside"), ("2150-01-01", "lies in the future")])
def test_as_of_that_nothing_is_known_of(source: Path, as_of: str, said: str) -> None:
    done = perennial("features", "--source", source.name, "--as-of", as_of, "--output", "f.parquet", cwd=source.parent)
    assert said in one_line_error(done)


def test_output_that_is_a_folder(source: Path) -> None:
    done = perennial("features", "--source", source.name, "--output", ".", cwd=source.parent)
    assert "folder" in one_line_error(done)


def test_setting_that_is_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_THREADS", "abc")
    assert "PERENNIAL_THREADS is 'abc'" in one_line_error(perennial("keys", "add", "crm", cwd=tmp_path))


def test_address_in_use_is_said_before_serving(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "cannot listen" in one_line_error(perennial("serve", "--port", port, cwd=tmp_path))


def test_check_fails_without_a_usable_order(source: Path) -> None:
    (source.parent / "orders.csv").write_text("who,when,paid\nA,5/13/2024 10:00,82\n")
    done = perennial("check", "--source", source.name, cwd=source.parent)
    assert done.returncode == 1
    assert "bad_instant" in done.stdout
    assert "orders.csv, row 1: who A, when 5/13/2024 10:00, paid 82" in done.stdout
    assert 'format = "%m/%d/%Y %H:%M"' in done.stdout


def test_features_writes_one_row_per_customer(source: Path) -> None:
    done = perennial("features", "--source", source.name, "--output", "f.parquet", cwd=source.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 customers")


def test_features_asked_for_again_are_found_not_computed(source: Path) -> None:
    asked = ("features", "--source", source.name, "--output")
    first = perennial(*asked, "first.parquet", cwd=source.parent)
    again = perennial(*asked, "again.parquet", cwd=source.parent)
    assert "kept from an earlier run" not in first.stdout
    assert "0 customers computed" in again.stdout
    assert (source.parent / "first.parquet").read_bytes() == (source.parent / "again.parquet").read_bytes()


def test_init_drafts_what_check_then_reads(source: Path) -> None:
    source.unlink()
    done = perennial("init", "orders.csv", "--output", "source.toml", cwd=source.parent)
    assert done.returncode == 0, done.stderr
    assert "orders.csv: orders (" in done.stdout
    assert "perennial check --source source.toml" in done.stdout
    assert perennial("check", "--source", "source.toml", cwd=source.parent).returncode == 0


def test_init_never_replaces_a_source_file(source: Path) -> None:
    before = source.read_text()
    message = one_line_error(perennial("init", "orders.csv", "--output", "source.toml", cwd=source.parent))
    assert "source.toml exists already" in message
    assert source.read_text() == before


def test_init_names_a_file_that_is_not_there(source: Path) -> None:
    message = one_line_error(perennial("init", "sales.csv", "--output", "new.toml", cwd=source.parent))
    assert "no such file: sales.csv" in message
    assert not (source.parent / "new.toml").exists()
