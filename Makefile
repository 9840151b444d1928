PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
BIN := .venv/bin

.PHONY: demo test lint bench bench-clv serve lock clean

demo: .venv/installed
	$(BIN)/perennial demo

test: .venv/installed
	$(BIN)/pytest

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/python -m benchmarks.clv
	$(BIN)/python -m benchmarks.api
	$(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.features
	$(BIN)/python -m benchmarks.snapshots

bench-clv: .venv/installed .venv-bench/installed
	$(BIN)/python -m benchmarks.clv --nuts .venv-bench/bin/python

serve: .venv/installed
	$(BIN)/perennial serve

.venv/installed: requirements.lock pyproject.toml
	@$(or $(PYTHON),python3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Perennial needs Python 3.11 or newer; name yours: make PYTHON=/path/to/python …" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "Installing the locked packages into .venv (about two minutes, once) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv-bench/installed: benchmarks/requirements.lock
	$(or $(PYTHON),python3) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement benchmarks/requirements.lock
	@touch $@

lock:
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --output-file requirements.lock
	uv pip compile --group bench --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --output-file benchmarks/requirements.lock

clean:
	rm -rf .venv .venv-bench demo .perennial
