# Set-up happens by itself: every target that needs the environment makes it, and makes it again when
# the pinned requirements change. Needs Python 3.11 and make, nothing else.

EXTRA ?= cpu#            cpu, or gpu on a machine with an NVIDIA driver
UPGRADE ?=#              make lock UPGRADE=--upgrade moves every pin to the newest version
DEMO ?= demo#            where `make demo` writes
PORT ?= 8000

EXTRA := $(strip $(EXTRA))
DEMO := $(strip $(DEMO))
UV_VERSION := 0.13.9
BIN := .venv/bin
UV := $(BIN)/uv
STAMP := .venv/.synced-$(EXTRA)

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-long check format lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
	@echo 'EXTRA=cpu (default) or EXTRA=gpu chooses the pinned requirements.'

setup: $(STAMP) ## .venv with the pinned requirements

demo: $(STAMP) ## make a small shop, train on it, export, recommend
	$(BIN)/recsys demo --out $(DEMO)

serve: $(STAMP) ## serve the demo's bundle over HTTP
	$(BIN)/recsys serve $(DEMO)/run/bundle --port $(PORT)

test: check ## every check, and every test but the long ones

test-long: $(STAMP) ## the tests that take long: whole walks, real data
	scripts/check-long

check: $(STAMP)
	scripts/check

format: $(STAMP) ## put the code into the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(UV) ## write requirements/*.txt from pyproject.toml
	UV=$(UV) scripts/lock $(UPGRADE)

clean: ## remove the environment and everything generated
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache $(DEMO)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements/$(EXTRA).txt pyproject.toml | $(UV)
	$(UV) pip sync --compile-bytecode --python $(BIN)/python requirements/$(EXTRA).txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@rm -f .venv/.synced-*
	@touch $@

$(UV):
	@for python in python3.11 python3 python; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then \
	        echo "$$python -m venv .venv"; $$python -m venv .venv && exit 0; exit 1; \
	    fi; \
	done; \
	echo 'Python 3.11 was not found; put python3.11 on the PATH and run make again.' >&2; exit 1
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
