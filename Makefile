# Each target makes the .venv by itself, from a bare python3. To use another Python: make PYTHON=python3.13 install
# To pass options on: make demo ARGS="--no-autopilot", make bench ARGS=near, make soak ARGS="--minutes 5"

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Written when an installation has succeeded; older than what it was made from means install again. Its name holds the
# Python and this folder: an environment made by another Python, or copied here with the tree, is not the one we want.
INSTALLED := $(VENV)/.installed-$(shell printf '%s' '$(PYTHON) $(CURDIR)' | cksum | cut -d ' ' -f 1)

# Tests run in this many processes, but for those that must have the machine to themselves.
PROCESSES ?= 2
BESIDE := -n $(PROCESSES) --dist worksteal
# They are few, so the others need not be gathered once more to find them; tests/conftest.py sees to the mark.
ALONE = $(shell grep -rlF --include='test_*.py' 'mark.alone' tests)
# The last run reports what both have reached together.
COUNTED := --cov --cov-report= --cov-fail-under=0
# coverage_of_deciders.py has run these already.
OF_DECIDERS := $(addprefix --ignore=tests/unit/,model matching protocol)

.DEFAULT_GOAL := help
.PHONY: help install demo test lint style types pyright mypy floors format soak storms searches mutants bench races \
	bench-push profile valkey build lock clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## Make the .venv with everything in it, and nothing outside it

demo: $(INSTALLED) ## Serve a page of widgets that stay fresh, in one command
	@$(BIN)/everfresh demo $(ARGS)

test: $(INSTALLED) ## Run every test, with the coverage that is asked of each part
	@scripts/system_packages chromium firefox redis rabbitmq nats mosquitto
	@$(BIN)/python scripts/coverage_of_deciders.py
	@rm -f .coverage .coverage.* # what a child left that was killed while it wrote
	@$(BIN)/python -m pytest $(BESIDE) -m 'not alone' $(OF_DECIDERS) $(COUNTED) $(ARGS)
	@$(BIN)/python -m pytest $(ALONE) -m alone --cov --cov-append $(ARGS)

lint: style types floors ## Check style, types, floors and the rules of the house

style: $(INSTALLED) ## Check style and the rules of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/house_rules.py

types: pyright mypy ## Check types, with both checkers

pyright: $(INSTALLED)
	$(BIN)/basedpyright --pythonpath $(BIN)/python

mypy: $(INSTALLED)
	$(BIN)/mypy

floors: $(INSTALLED) ## Check that each package imports only what stands below it
	$(BIN)/lint-imports --no-logo --cache-dir .import_linter_cache

format: $(INSTALLED) ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak: $(INSTALLED) ## Search for a history that breaks a promise, for an hour
	@$(BIN)/python scripts/soak.py $(ARGS)

storms: $(INSTALLED) ## Kill workers, consumers, stores and brokers again and again, for fifteen minutes
	@EVERFRESH_KILL_SECONDS=60 EVERFRESH_STORM_SECONDS=60 EVERFRESH_STORM_EVENTS=20000 EVERFRESH_HOT_SECONDS=5 \
		$(BIN)/python -m pytest -s tests/stores/test_sqlite_kill.py tests/stores/test_redis_storm.py \
		tests/races/test_hot_key.py tests/races/test_near_over_machines.py $(wildcard tests/sources/test_*_storm.py) $(ARGS)

searches: $(INSTALLED) ## Search ten times as long as the tests do, in ten minutes
	@EVERFRESH_SEARCHES=10 $(BIN)/python -m pytest $(BESIDE) -m searching $(ARGS)

mutants: $(INSTALLED) ## Break each guard in a copy of the tree, and see that a test fails, in ten minutes
	@$(BIN)/python scripts/mutants.py $(ARGS)

bench: $(INSTALLED) ## Measure beside other libraries, in twenty minutes, and write docs/benchmarks.md
	@$(BIN)/python -m benchmarks $(ARGS)

races: $(INSTALLED) ## Race Everfresh and its peers for stale values, in ten minutes
	@scripts/system_packages redis
	@scripts/peer_environments
	@$(BIN)/python -m benchmarks.races $(ARGS)

bench-push: $(INSTALLED) ## Measure ten thousand streams of one process, beside nchan
	@$(BIN)/python -m benchmarks.push $(ARGS)

profile: $(INSTALLED) ## Draw where the time of each hot path goes, as flame graphs in build/profiles/
	@scripts/profile $(ARGS)

valkey: $(INSTALLED) ## Run the tests of the store on Redis with a Valkey server
	@scripts/system_packages valkey
	@EVERFRESH_REDIS_SERVER=/usr/bin/valkey-server $(BIN)/python -m pytest $(BESIDE) -m 'redis and not alone' $(ARGS)
	@EVERFRESH_REDIS_SERVER=/usr/bin/valkey-server $(BIN)/python -m pytest $(BESIDE) -m 'not redis and not alone' $(wildcard tests/stores/test_redis*.py) $(ARGS)

build: $(INSTALLED) ## Build the wheel and the source archive into dist/
	$(BIN)/python scripts/build_client.py --must
	$(BIN)/hatchling build

lock: ## Write constraints.txt anew, from the newest of everything
	@PYTHON="$(PYTHON)" scripts/lock

clean: ## Remove all that make made
	rm -rf $(VENV) .peers node_modules build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(INSTALLED): pyproject.toml constraints.txt package-lock.json scripts/make_venv scripts/build_client.py
	@PYTHON="$(PYTHON)" scripts/make_venv $(VENV)
	@touch $@
