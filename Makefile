# The commands of the project. Bare `make` prints them. Needs Python 3.11 or newer and make, nothing else.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
# Where this is set, every process compiles all that it imports for itself: a worker starts in 4 s instead of 2.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
# What is imported is compiled then, once; compiling everything here takes longer than downloading it.
INSTALL := $(PIP) install --require-hashes --no-deps --no-compile

PACKAGES := domain features models monitoring stream simulate service
CODE := $(PACKAGES) benchmarks tests
LARGEST_MODULE := 500
STAGES := lint types arch unit integration e2e
# Test files are spread over three processes, each with its own Kafka and Redis, which wait more than they compute; `make unit PYTEST=.venv/bin/pytest` for one.
PYTEST := $(BIN)/pytest -q -n 3 --dist loadfile
#: What `make demo ARGS="--minutes 3"` and `make bench ARGS=...` hand on.
ARGS :=

# Stamps: one is older than the lock it was made from only if the installation is out of date.
MADE := $(VENV)/.made
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
RUN_LOCKS := requirements/runtime.txt requirements/train.txt requirements/embedded.txt requirements/web.txt
DEV_LOCKS := requirements/dev.txt
# The packages that build the project itself; their lines are taken from the development lock.
BUILD_PACKAGES := editables|hatchling|packaging|pathspec|pluggy|trove-classifiers

.PHONY: help demo setup test fmt lint types arch unit integration e2e parity mlflow tracking stores crash-matrix long-outage bench docs up down clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(RUN) ## everything on this machine: Kafka, Redis, a trained model, live alerts; ARGS="--minutes 3"
	@exec $(BIN)/weir demo $(ARGS)

setup: $(RUN) $(DEV) ## make .venv and install everything from the locks

test: setup ## all checks and tests, in this order: lint types arch unit integration e2e
	@times=""; began=$$(date +%s); \
	for stage in $(STAGES); do \
	  start=$$(date +%s); echo "== $$stage"; \
	  $(MAKE) --no-print-directory $$stage || { echo "== $$stage failed"; exit 1; }; \
	  times="$$times  $$stage $$(($$(date +%s) - start)) s"; \
	done; \
	echo "== passed:$$times  (in all $$(($$(date +%s) - began)) s)"

fmt: setup ## put the code into its format
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

lint: setup ## ruff: rules and format
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: setup ## mypy --strict
	$(BIN)/mypy

arch: setup ## the import arrow, and no module above 500 lines
	$(BIN)/lint-imports
	@find $(PACKAGES) benchmarks -name '*.py' -exec wc -l {} \; \
	  | awk '$$1 > $(LARGEST_MODULE) { print $$2 ": " $$1 " lines; split it (at most $(LARGEST_MODULE))"; bad = 1 } END { exit bad }'

unit: setup ## unit, contract, golden and parity tests, and the doctests
	$(PYTEST) $(wildcard tests/unit tests/contract tests/golden tests/parity)
	$(BIN)/pytest -q --doctest-modules $(PACKAGES)

integration: setup ## tests with a real Kafka and a real Redis
	$(PYTEST) tests/integration

e2e: setup ## the whole service: crashes, restarts, rebalances
	$(PYTEST) tests/e2e

parity: setup ## the features' three forms compared on twenty times the examples; nightly, like crash-matrix
	HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -q tests/parity

mlflow: setup $(VENV)/.installed-mlflow ## the mirror in a real MLflow on SQLite, installed beside the others (150 MB); nightly
	PYTHONPATH=$(VENV)/mlflow $(BIN)/pytest -q tests/extras/test_mlflow_mirror.py tests/extras/test_mlflow_run.py

tracking: setup $(VENV)/.installed-tracking ## runs read back by a real TensorBoard and recorded by a real W&B, offline (150 MB); nightly
	PYTHONPATH=$(VENV)/tracking $(BIN)/pytest -q tests/extras/test_tracking.py

stores: setup $(VENV)/.installed-stores ## the registry in a store, over a real S3 protocol on this machine, its server and client installed beside (95 MB); nightly
	PYTHONPATH=$(VENV)/stores $(BIN)/pytest -q tests/extras/test_registry_s3.py tests/unit/test_models_registry.py \
	  tests/unit/test_models_registry_trials.py tests/unit/test_models_registry_collection.py tests/unit/test_models_store.py tests/unit/test_models_store_history.py \
	  tests/unit/test_models_store_bundles.py

crash-matrix: setup ## workers killed 200 times over 200,000 transactions, then the sums; ARGS="--kills 40 --transactions 40000"
	@exec $(BIN)/python -m tests.e2e.crash_matrix $(ARGS)

long-outage: setup ## Redis away for 75 s under load, longer than any patience of the watchdog; nightly
	OUTAGE_TEST_S=75 $(BIN)/pytest -q tests/e2e/test_outage.py

bench: setup ## throughput and latency; ARGS are handed on
	@exec $(BIN)/python -m benchmarks $(ARGS)

up: $(RUN) ## start the embedded Kafka and Redis in the background
	@exec $(BIN)/weir up

docs: setup ## generate docs/features.md, docs/reasons.md, docs/openapi.json and the Grafana dashboards
	@$(BIN)/python -m features.reference > docs/features.md.new && mv docs/features.md.new docs/features.md
	@$(BIN)/python -m models.reason_reference > docs/reasons.md.new && mv docs/reasons.md.new docs/reasons.md
	@$(BIN)/python -m service.web.openapi > docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json
	@$(BIN)/python -m monitoring.dashboards deploy/grafana/dashboards

down: ## stop them
	@if [ -x $(BIN)/weir ]; then exec $(BIN)/weir down; fi

clean: down ## remove .venv, caches and var
	rm -rf $(VENV) var dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A python counts only if it runs (a version manager's shim may exist and fail), is new enough and can make environments.
$(MADE):
	@if $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then touch $@; exit 0; fi; \
	for python in python3.13 python3.12 python3.11 python3; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "making $(VENV) with $$($$python --version)"; \
	    rm -rf $(VENV) && $$python -m venv $(VENV) && touch $@; exit $$?; \
	  fi; \
	done; \
	echo "no suitable python: install Python 3.11 or newer (on Debian and Ubuntu also its venv package)" >&2; exit 1

$(RUN): $(MADE) $(RUN_LOCKS) $(DEV_LOCKS) pyproject.toml
	@echo "installing the locked packages (about a minute the first time)"
	@$(INSTALL) $(RUN_LOCKS:%=-r %)
	@awk '/^[a-z]/ { wanted = /^($(BUILD_PACKAGES))==/ } wanted' $(DEV_LOCKS) > $(VENV)/build.txt
	@$(INSTALL) -r $(VENV)/build.txt
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

# In a folder of its own: nothing else may come to need it.
$(VENV)/.installed-mlflow: $(MADE) requirements/mlflow.txt
	@echo "installing MLflow"
	@$(INSTALL) --upgrade --target $(VENV)/mlflow -r requirements/mlflow.txt
	@touch $@

$(VENV)/.installed-tracking: $(MADE) requirements/tracking.txt
	@echo "installing TensorBoard and Weights & Biases"
	@$(INSTALL) --upgrade --target $(VENV)/tracking -r requirements/tracking.txt
	@touch $@

$(VENV)/.installed-stores: $(MADE) requirements/stores.txt
	@echo "installing the clients of object stores and a server to test them"
	@$(INSTALL) --upgrade --target $(VENV)/stores -r requirements/stores.txt
	@touch $@

$(DEV): $(RUN) $(DEV_LOCKS)
	@echo "installing the development tools"
	@$(INSTALL) $(DEV_LOCKS:%=-r %)
	@touch $@
