# Everything is made in .venv, from nothing but Python 3.11+ and access to package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made
CONSTRAINTS := constraints.txt
# The versions of that file and no others, also for what builds the package: pip before 25.3 reads the first variable for
# that, later ones the second. setuptools warns of every editable installation.
INSTALL := PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS) PYTHONWARNINGS=ignore \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench lint types docs hooks release-check constraints clean

help: ## Show what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 22

$(STAMP): setup.cfg pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version.split()[0] + " (choose another with make PYTHON=...)")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[demo,embedded,test]'
	@touch $@

demo: $(STAMP) ## Watch a crowd go through a real waiting room (options: make demo ARGS="--people 300")
	$(BIN)/gateway demo $(ARGS)

test: $(STAMP) ## Run all tests
	$(BIN)/python -m pytest $(ARGS)

soak: $(STAMP) ## Hurt three gateways before a crowd, and watch (options: make soak ARGS="--seconds 300 --seed 7")
	$(BIN)/python -m tests.soak $(ARGS)

bench: $(STAMP) ## Measure, as ratios within one run (options: make bench ARGS="forward --seconds 5")
	-@$(INSTALL) --editable '.[bench]'
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(STAMP) ## Check style
	$(INSTALL) --editable '.[lint]'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/openapi-spec-validator gateway/pages/files/openapi.yaml

types: $(STAMP) ## Check types
	$(INSTALL) --editable '.[types]'
	$(BIN)/mypy

docs: $(STAMP) ## Build the documentation as a site, in site/
	$(INSTALL) --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet $(ARGS)

hooks: $(STAMP) ## Look at each commit before it is made
	$(INSTALL) --editable '.[contribute]'
	$(BIN)/pre-commit install

release-check: $(STAMP) ## Build sdist and wheel, check them, and install each alone
	$(INSTALL) --editable '.[release]'
	PIP_CONSTRAINT=$(abspath $(CONSTRAINTS)) PIP_BUILD_CONSTRAINT=$(abspath $(CONSTRAINTS)) .ci/release-check $(abspath $(BIN))

# For the oldest Python that is supported and all later ones, on any system. Names no registry, so any mirror will do.
# Uses nothing that the file must hold for: setup.cfg may have changed under it.
constraints: ## Write the newest versions that setup.cfg allows into constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	echo 'setuptools>=77' | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
		--no-annotate --custom-compile-command 'make constraints' --output-file $(CONSTRAINTS) setup.cfg -

clean: ## Remove what the others made
	rm -rf $(VENV) build dist site *.egg-info .tox .mypy_cache .pytest_cache .ruff_cache .hypothesis
