# Everything is made in .venv, from nothing but Python 3.11+ and access to package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made
CONSTRAINTS := constraints.txt
HELM := helm
# The versions of that file and no others, also for what builds the package: pip before 25.3 reads the first variable for
# that, later ones the second. setuptools warns of every editable installation.
INSTALL := PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS) PYTHONWARNINGS=ignore \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench lint types docs screenshots hooks page-modules page-assets release-check constraints manifests clean

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

screenshots: $(STAMP) ## Make the pictures of README.md anew, with Chromium
	$(BIN)/python -m tests.browser.screenshots

hooks: $(STAMP) ## Look at each commit before it is made
	$(INSTALL) --editable '.[contribute]'
	$(BIN)/pre-commit install

# Copies, since links get lost where files are passed on without git.
page-modules: ## Copy the modules of the JavaScript client to the waiting page, which serves them
	cp $(addprefix clients/js/src/,events.js join.js tabs.js types.js) gateway/pages/waiting_page/assets/

page-assets: $(STAMP) ## Keep this release's files of the waiting page for the next release
	$(BIN)/python -c 'from pathlib import Path; from gateway.pages.waiting_page.assets import keep_for_next_release; \
		print(*keep_for_next_release(Path("gateway/pages/waiting_page/assets")), sep="\n")'

# Helm 3 and 4 write the same objects.
manifests: ## Write deploy/kubernetes/gateway.yaml from the chart (make manifests HELM=/path/of/helm)
	{ printf '# %s\n' 'The chart deploy/helm with its default values: made by `make manifests`, and never edited. To change something, lay a' \
		'kustomization over this folder, or use the chart.'; \
		$(HELM) template waiting-room-gateway deploy/helm --namespace waiting-room; } >deploy/kubernetes/gateway.yaml

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
