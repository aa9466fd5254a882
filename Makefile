# Two commands do all the set-up: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# the build runs the environment's own tools, also when it is started by an import
export CYTHON := $(CURDIR)/$(BIN)/cython
export PATH := $(CURDIR)/$(BIN):$(PATH)
STAMP := $(VENV)/.installed

.PHONY: run test build tsan lint bench coverage clean

# Build: an editable install; editing a Cython file rebuilds just that file, here or on the next import.
build: $(STAMP)
	@$(BIN)/python -c 'import finegrain.machine' >/dev/null

$(STAMP): pyproject.toml meson.options
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group build --group dev
	rm -rf build
	$(BIN)/python -m pip install --quiet --no-build-isolation --config-settings=build-dir=build \
	  --config-settings=setup-args=-Dtest_doors=true --editable .
	@touch $@

run: build
	@$(BIN)/finegrain compare

test: build
	$(BIN)/python -m pytest -n auto

# The lock layer on real threads under ThreadSanitizer, built for it apart; CHOICE: options of tests/tsan.py.
tsan: $(STAMP)
	$(BIN)/python tests/tsan.py $(CHOICE)

lint: build
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/cython-lint src
	$(BIN)/mypy

bench: build
	$(BIN)/python benchmarks/run.py

# How often the confidence intervals hold what they should: minutes.
coverage: build
	$(BIN)/python benchmarks/coverage.py

clean:
	rm -rf $(VENV) build build-tsan
