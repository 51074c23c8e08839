# Each target does its own set-up: a Python virtual environment in .venv with the extras that it needs.
# PYTHON chooses the interpreter (3.11 or newer), ARGS is passed to the command that a target runs.

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test quick sweep slow-tests test-matrix fuzz histories rounds soak lint format docs bench dev clean

help:
	@echo "make demo    several workers share jobs under a lock; two of them fail on purpose (20 s)"
	@echo "make test    all tests; those against real servers and Curator if these are or can be installed"
	@echo "make quick   the tests that need no server and take no time (under a minute)"
	@echo "make lint    ruff, mypy --strict, and pyright for the public types"
	@echo "make format  rewrite the code as 'make lint' requires"
	@echo "make docs    build the documentation into site/"
	@echo "make test-matrix ZOOKEEPER_HOMES=\"dir installed …\""
	@echo "             the tests against real servers, once for each release"
	@echo "make fuzz    millions of mutated answers, until one does harm"
	@echo "make sweep   every case of the sweeps of which 'make test' draws a sample (half an hour)"
	@echo "make histories"
	@echo "             4000 histories of the double barrier in virtual time (an hour)"
	@echo "make rounds  100 rounds of a double barrier by 16 processes, of which some are killed, and the"
	@echo "             rounds with Curator's members in every order (10 min)"
	@echo "make soak    clients of three real servers whose connections are cut at random (5 min)"
	@echo "make bench   compare with kazoo on a real server"
	@echo "make dev     everything above in one environment, $(VENV)"
	@echo "make clean   remove $(VENV), site/ and all caches"

demo: $(VENV)/.has-cli
	@$(BIN)/zkrecipes demo $(ARGS)

# Many tests wait for servers, so more processes than cores are useful.
WORKERS ?= 3
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test: $(VENV)/.has-cli,test
	@scripts/install-test-peers $(BIN)/python
	@$(PYTEST) --durations=10 --durations-min=5 $(ARGS)

quick: $(VENV)/.has-cli,test
	@$(BIN)/python -m pytest -n 2 --dist worksteal --quick --quiet $(ARGS)

sweep: $(VENV)/.has-cli,test
	@scripts/install-test-peers $(BIN)/python
	@WHOLE_SWEEP=1 $(PYTEST) -m sweep $(ARGS)

# Measure the table of the slowest tests anew, which 'make quick' leaves out.
slow-tests: $(VENV)/.has-cli,test
	@scripts/install-test-peers $(BIN)/python
	@$(PYTEST) --write-slow-tests $(ARGS)

test-matrix: $(VENV)/.has-cli,test
	@ZOOKEEPER_HOMES="$(ZOOKEEPER_HOMES)" scripts/test-matrix $(BIN)/python $(ARGS)

fuzz: $(VENV)/.has-cli,test
	@$(BIN)/python -m tests.fuzz $(ARGS)

histories: $(VENV)/.has-cli,test
	@$(BIN)/python -m tests.recipes.double_barrier_simulation $(ARGS)

rounds: $(VENV)/.has-cli,test
	@scripts/install-test-peers $(BIN)/python
	@$(BIN)/python -m tests.apache.double_barrier_rounds $(ARGS)
	@WHOLE_SWEEP=1 $(BIN)/python -m pytest tests/interop/test_barrier_curator.py

soak: $(VENV)/.has-cli,test
	@scripts/install-test-peers $(BIN)/python
	@$(BIN)/python -m tests.soak $(ARGS)

lint: $(VENV)/.has-cli,lint,otel,test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy zkrecipes tests
	@scripts/run-pyright $(BIN)/pyright

format: $(VENV)/.has-cli,lint,otel,test
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.has-cli,docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.has-bench,cli
	@$(BIN)/python -m benchmarks $(ARGS)

dev: $(VENV)/.has-bench,cli,docs,lint,otel,test

# One stamp a set of extras, so that only a changed pyproject.toml installs anything again.
$(VENV)/.has-%: pyproject.toml scripts/make-venv
	@scripts/make-venv $(VENV) $*
	@touch $@

clean:
	rm -rf $(VENV) site build dist htmlcov .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
