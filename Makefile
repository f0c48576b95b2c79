PYTHON ?= python3
VENV   ?= .venv
PROCESSES ?= 4
PIP    := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt

.PHONY: help run test soak check audit format openapi documents bench bench-compare clean

help:  ## say what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile

run: $(VENV)/.run  ## serve on http://127.0.0.1:8080
	@exec env PYTHONMALLOC=malloc MALLOC_ARENA_MAX=2 $(VENV)/bin/python -m service

# Four processes on two cores: tests wait for timers, disks and processes of their own. A process that has no more work takes some
# of another's.
# Compiled modules are kept, whatever the environment says: the tests start some hundred Python processes.
test soak: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.check  ## run the tests
	@$(VENV)/bin/python -m pytest --numprocesses $(PROCESSES) --dist worksteal

check: $(VENV)/.check  ## lint, types, import contracts, holes that a program can find, documents that must agree
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/bandit --quiet --configfile pyproject.toml --recursive service gunicorn.conf.py .ci
	$(VENV)/bin/python -m service openapi | diff -u openapi.yaml - || { echo "openapi.yaml has drifted: run make openapi"; exit 1; }
	$(VENV)/bin/python -m pytest -q tests/test_documents.py

audit: $(VENV)/.check  ## ask for known holes in what is installed; 2 where nobody can be asked
	@$(VENV)/bin/python .ci/audit.py constraints.txt

format: $(VENV)/.check  ## format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

openapi: $(VENV)/.run  ## write openapi.yaml anew
	@$(VENV)/bin/python -m service openapi > openapi.yaml.new && mv openapi.yaml.new openapi.yaml

documents: openapi  ## write anew all that is made from code: openapi.yaml, .env.example
	@$(VENV)/bin/python -m service settings > .env.example.new && mv .env.example.new .env.example

soak: $(VENV)/.check  ## hold the promises at full size, for some ten minutes, and print figures
	@ROSTER_TEST_SOAK=true $(VENV)/bin/python -m pytest -m "soak or drawn"

bench: $(VENV)/.bench  ## measure, and print ratios
	@$(VENV)/bin/python -m bench

bench-compare: $(VENV)/.bench  ## measure the processor time of this checkout beside that of a revision: BASE=main~10
	@$(VENV)/bin/python -m bench.compare $(BASE)

clean:  ## forget the virtual environment and every cache
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis

# Stamps are set only after success; `python3 -m venv` without ensurepip would leave half a folder behind.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later with its venv module is needed (Debian: apt-get install python3-venv)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@
$(VENV)/.check: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[check]'
	@touch $@ $(VENV)/.run
$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[bench]'
	@touch $@
