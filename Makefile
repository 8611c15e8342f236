# Everything one does in a checkout. Needs Python 3.11 or newer and make; the rest it installs itself.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
# A Python to use instead of the first suitable one: make run PYTHON=/opt/python/bin/python3
PYTHON :=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.installed ## Start the server: make run ARGS="--port 8000"
	@exec $(BIN)/python -m python_pubsub_server.pubsub_ws $(ARGS)

.PHONY: test
test: $(VENV)/.installed-dev ## Run the tests: make test ARGS="-k journal"
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: torture
torture: $(VENV)/.installed-dev ## Try hard to break the guarantees: kills, failing disks, slow clients
	@TORTURE=full $(BIN)/python -m pytest --durations=0 --durations-min=1 tests/torture $(ARGS)

.PHONY: check
check: $(VENV)/.installed-dev ## Check formatting, style, types, layers and known weaknesses
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml src
	$(BIN)/python -m pytest -q tests/test_layers.py

.PHONY: format
format: $(VENV)/.installed-dev ## Format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: $(VENV)/.installed-dev ## Measure it beside its peers: make bench ARGS=--quick
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory benchmarks/peers/node_modules; fi || \
		echo "make: the peers on Node.js are left out, npm could not install them" >&2
	@$(BIN)/python benchmarks/run.py --all $(ARGS)

.PHONY: example-db
example-db: $(VENV)/.installed ## Make pubsub.db.example anew
	$(BIN)/python examples/make_example_db.py

.PHONY: screenshots
screenshots: $(VENV)/.installed-dev ## Make the pictures of the documentation anew
	$(BIN)/python tests/web/screenshots.py

.PHONY: clean
clean: ## Remove the environment and what was built; never a database
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

benchmarks/peers/node_modules: benchmarks/peers/package.json
	@npm install --prefix benchmarks/peers --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

# The stamps below make the second time fast: installed again only when the requirements change.

$(VENV)/.created:
	@set -e; \
	found=; \
	for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			found=$$candidate; break; \
		fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "make: Python 3.11 or newer is needed, and none was found (Debian: apt install python3 python3-venv)" >&2; \
		exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		if ! "$$found" -m venv $(VENV); then \
			rm -rf $(VENV); \
			echo "make: $$found cannot make a virtual environment (Debian: apt install python3-venv)" >&2; \
			exit 1; \
		fi; \
	fi
	@touch $@

$(VENV)/.installed: $(VENV)/.created requirements.txt pyproject.toml
	@echo "Installing what the server needs into $(VENV)"
	@$(PIP) -r requirements.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@echo "Installing what the tests need into $(VENV)"
	@$(PIP) -r requirements-dev.txt
	@touch $@
