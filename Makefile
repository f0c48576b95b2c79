PYTHON ?= python3
VENV   ?= .venv
PROCESSES ?= 4
PIP    := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt

.PHONY: help run cluster test soak check audit format openapi documents docs bench bench-compare clean

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile

run: $(VENV)/.run  ## serve on http://127.0.0.1:8080
	@exec env PYTHONMALLOC=malloc MALLOC_ARENA_MAX=2 $(VENV)/bin/python -m service

cluster: $(VENV)/.check  ## serve from two hosts of two workers each on PostgreSQL and Valkey, to try it by hand
	@exec $(VENV)/bin/python -m tests.support.cluster

# Four processes on two cores: tests wait for timers, disks and processes of their own. A process that has no more work takes some
# of another's.
# Compiled modules are kept, whatever the environment says: the tests start some hundred Python processes.
test soak: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.check  ## run the tests
	@$(VENV)/bin/python -m pytest --numprocesses $(PROCESSES) --dist worksteal

check: $(VENV)/.check  ## lint, types, import contracts, spelling, security checks, generated documents
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/codespell
	$(VENV)/bin/bandit --quiet --configfile pyproject.toml --recursive service clients/python/src gunicorn.conf.py .ci
	$(VENV)/bin/python -m service openapi | diff -u openapi.yaml - || { echo "openapi.yaml has drifted: run make openapi"; exit 1; }
	$(VENV)/bin/python -m pytest -q tests/test_documents.py

audit: $(VENV)/.check  ## look up known vulnerabilities of the dependencies; exit code 2: the database is out of reach
	@$(VENV)/bin/python .ci/audit.py constraints.txt

format: $(VENV)/.check  ## format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

openapi: $(VENV)/.run  ## regenerate openapi.yaml
	@$(VENV)/bin/python -m service openapi > openapi.yaml.new && mv openapi.yaml.new openapi.yaml

documents: openapi  ## regenerate openapi.yaml, .env.example and the tables in docs/
	@$(VENV)/bin/python -m service settings > .env.example.new && mv .env.example.new .env.example
	@$(VENV)/bin/python .ci/documents.py

docs: $(VENV)/.check  ## build the documentation as HTML in _site/docs
	@$(VENV)/bin/python -m sphinx -q -E -W --keep-going -b html -c docs . _site

soak: $(VENV)/.check  ## run the promises at full size, some ten minutes, and print figures
	@ROSTER_TEST_SOAK=true $(VENV)/bin/python -m pytest -m "soak or drawn"

bench: $(VENV)/.bench  ## measure, and print ratios
	@$(VENV)/bin/python -m bench

bench-compare: $(VENV)/.bench  ## compare the processor time of this checkout with a revision: BASE=main~10
	@$(VENV)/bin/python -m bench.compare $(BASE)

clean:  ## remove the virtual environment and every cache
	rm -rf $(VENV) _site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis

# A stamp is set only after success; `python3 -m venv` without ensurepip would leave an incomplete folder.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later with its venv module is needed (Debian: apt-get install python3-venv)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
$(VENV)/.run: pyproject.toml clients/python/pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ./clients/python --editable .
	@touch $@
$(VENV)/.check: pyproject.toml clients/python/pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ./clients/python --editable '.[check]'
	@touch $@ $(VENV)/.run
$(VENV)/.bench: pyproject.toml clients/python/pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ./clients/python --editable '.[bench]'
	@touch $@
