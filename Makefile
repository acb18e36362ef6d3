# Everything happens in .venv, which is made from nothing by the first target that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

# Folders count as sources too: they change when a file goes, and the installed copy must go with it.
SOURCES := pyproject.toml README.md LICENSE \
	$(shell find core passes cli configs hw_profiles -name __pycache__ -prune -o -print)

.PHONY: help demo doctor test lint format typecheck wheel-check clean
help:
	@echo 'make demo | test [ARGS="-k name"] | lint | format | typecheck | wheel-check | clean'

demo: $(VENV)/installed
	$(BIN)/pare demo

doctor: $(VENV)/installed
	$(BIN)/pare doctor

# two processes on two cores: threads within each would wait for each other
test: export OPENBLAS_NUM_THREADS = 1
test: $(VENV)/tools $(VENV)/installed
	$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

lint: $(VENV)/tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/tools
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(VENV)/tools
	PYTHON=$(BIN)/python scripts/typecheck

wheel-check: $(VENV)/tools
	PYTHON=$(BIN)/python scripts/wheel_check

clean:
	rm -rf $(VENV) build dist *.egg-info .typecheck .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# build/ would hand modules deleted since to the new installation
$(VENV)/installed: $(SOURCES) | $(VENV)/bin/python
	rm -rf build
	$(PIP) .
	touch $@

$(VENV)/tools: pyproject.toml | $(VENV)/installed
	$(PIP) '.[dev]'
	touch $@ $(VENV)/installed
