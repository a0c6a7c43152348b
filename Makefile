# Every target sets up what it needs, on a fresh machine too: with uv if there is one, else with venv and pip.
#   PYTHON=/path/to/python3   the Python to use, instead of the first one from 3.10 on that is found
#   NEWEST=0                  `make test-all` on one Python only
#   ARGS="-k demo"            more arguments for pytest

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Without bytecode on the disk each program that a test starts would compile all of us anew.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help demo test test-all coverage fuzz mutants e2e soak judge pictures check fix catalogues bench bench-rivals bench-training architecture screenshots clean

PYTHON ?=
NEWEST ?= 1
ARGS ?=
VENV := .venv
VENV_NEWEST := .venv-newest
RUN := $(VENV)/bin

CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11 python3.10 python $(wildcard $(HOME)/.pyenv/versions/*/bin/python3)

# Prints 310, 311, … for a released Python that can run us and make environments; fails for all others. A version
# manager's shim may exist and yet start nothing, so each candidate is really started.
# Some distributions take ensurepip out of Python: an own pip can then fill an environment from outside.
PROBE := import sys, venv, importlib.util as u; (u.find_spec("ensurepip") or u.find_spec("pip")) or sys.exit(1); v = sys.version_info; v >= (3, 10) and v[3] == "final" or sys.exit(1); print(v[0] * 100 + v[1])

# $(call environment,FOLDER,PYTHON): make the environment if it is not there, then install us with all tools into it.
define environment
if [ ! -x '$(1)/bin/python' ] || ! '$(1)/bin/python' -c '' 2>/dev/null; then \
	rm -rf '$(1)'; \
	echo "setting up $(1)"; \
	if command -v uv >/dev/null; then uv venv --quiet --python "$(2)" '$(1)'; \
	elif "$(2)" -c 'import ensurepip' 2>/dev/null; then "$(2)" -m venv '$(1)'; \
	else "$(2)" -m venv --without-pip '$(1)' && "$(2)" -m pip --python '$(1)/bin/python' install -qq pip; fi; \
fi; \
if command -v uv >/dev/null; then uv pip install --quiet --python '$(1)/bin/python' --editable '.[dev]'; \
else '$(1)/bin/python' -m pip install -qq --disable-pip-version-check --editable '.[dev]'; fi; \
touch '$(1)/.stamp'
endef

# The tests that `make test` takes: tests/conftest.py says on how many processes.
QUICK := -m pytest -n auto --dist worksteal -m 'not slow and not e2e and not soak'
# With ARGS it is no error that one of the several calls of `make test-all` has nothing to do (exit code 5).
SOME := $(if $(ARGS),$(if $(filter test-all,$(MAKECMDGOALS)),|| [ $$? = 5 ]))

help: ## show the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1@\2/p' $(MAKEFILE_LIST) | while IFS=@ read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

$(VENV)/.stamp: pyproject.toml
	@python='$(PYTHON)'; \
	if [ -n "$$python" ]; then "$$python" -c '$(PROBE)' >/dev/null 2>&1 || { echo "make: PYTHON=$$python is no Python 3.10 or newer with venv" >&2; exit 1; }; \
	else for candidate in $(CANDIDATES); do if "$$candidate" -c '$(PROBE)' >/dev/null 2>&1; then python=$$candidate; break; fi; done; fi; \
	if [ -z "$$python" ] && command -v uv >/dev/null; then python=3.13; fi; \
	if [ -z "$$python" ]; then echo "make: no Python 3.10 or newer with venv found; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	$(call environment,$(VENV),$$python)

demo: $(VENV)/.stamp ## replay sample runs live and watch them
	@$(RUN)/lora-tui demo

test: $(VENV)/.stamp ## run the tests, those in real terminals too: four minutes on two cores
	@echo "tests on $$($(RUN)/python -V)"
	@$(RUN)/python $(QUICK) $(ARGS) $(SOME)

test-all: test ## the same, then the slow ones and what is installed, then all but those on the newest Python of this machine
	@$(RUN)/python -m pytest -n 2 --dist worksteal -m 'slow and not e2e and not soak' $(ARGS) $(SOME)
	@[ '$(NEWEST)' != 0 ] || exit 0; \
	own=$$($(RUN)/python -c '$(PROBE)'); best=$$own; newest=; \
	for candidate in $(CANDIDATES); do version=$$("$$candidate" -c '$(PROBE)' 2>/dev/null) || continue; \
		if [ "$$version" -gt "$$best" ]; then best=$$version; newest=$$candidate; fi; done; \
	if [ -z "$$newest" ]; then echo "this is the newest Python of this machine"; exit 0; fi; \
	if [ -x $(VENV_NEWEST)/bin/python ] && [ "$$($(VENV_NEWEST)/bin/python -c '$(PROBE)')" != "$$best" ]; then rm -rf $(VENV_NEWEST); fi; \
	if [ ! $(VENV_NEWEST)/.stamp -nt pyproject.toml ]; then $(call environment,$(VENV_NEWEST),$$newest); fi; \
	echo "tests on $$($(VENV_NEWEST)/bin/python -V)"; \
	$(VENV_NEWEST)/bin/python $(QUICK) $(ARGS) $(SOME)

coverage: $(VENV)/.stamp ## which branches of the core the quick tests without a terminal take; exits 1 below 95 %
	@$(RUN)/python $(QUICK) -m 'not slow and not pty and not e2e and not soak' --cov=lora_tui --cov-branch --cov-report= $(ARGS)
	@$(RUN)/python -m coverage report --show-missing --skip-covered --fail-under=95 \
		--include='lora_tui/formats/*,lora_tui/records/*,lora_tui/runs/*,lora_tui/analysis/*'

e2e: $(VENV)/.stamp ## train a tiny model with LLaMA-Factory and watch it (the first time 2 GB are put into the user's cache)
	@$(RUN)/python -m tests.integration.e2e.environment
	@$(RUN)/python -m pytest -n 2 --dist worksteal -m e2e tests/integration/e2e $(ARGS)

fuzz: $(VENV)/.stamp ## random examples for Hypothesis, then every parser with atheris (CPython 3.10 to 3.13; ARGS="--seconds 600 --keep")
	@HYPOTHESIS_PROFILE=random $(RUN)/python -m pytest -n auto --dist worksteal -m 'hypothesis and not slow'
	@$(RUN)/python -c 'import atheris' 2>/dev/null || { \
	if command -v uv >/dev/null; then uv pip install --quiet --python $(RUN)/python --editable '.[dev,fuzz]'; \
	else $(RUN)/python -m pip install -qq --disable-pip-version-check --editable '.[dev,fuzz]'; fi; }
	@$(RUN)/python -m tools.fuzz $(ARGS)

mutants: $(VENV)/.stamp ## change the data of a run and the rating rules in 5,000 places and see whether a test notices (ARGS="--only rate_stages")
	@$(RUN)/python -c 'import mutmut' 2>/dev/null || { \
	if command -v uv >/dev/null; then uv pip install --quiet --python $(RUN)/python --editable '.[dev,mutants]'; \
	else $(RUN)/python -m pip install -qq --disable-pip-version-check --editable '.[dev,mutants]'; fi; }
	@nice $(RUN)/python -m tools.mutants $(ARGS)

judge: $(VENV)/.stamp ## measure how often findings and forecasts are right, on simulated and real runs (ARGS="--seed 7": findings)
	@$(RUN)/python -m tools.judge.measure $(ARGS)
	@$(RUN)/python -m tools.judge.backtest

check: $(VENV)/.stamp ## format, lint, types, the arrows between the modules, the catalogues
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-logo
	@$(RUN)/python -m tools.architecture --check
	@$(RUN)/python -m tools.catalogues --check

pictures: $(VENV)/.stamp ## draw the screens that the tests compare with anew; look at the diff
	@LORA_TUI_PICTURES=draw $(RUN)/python -m pytest -q tests/tui/test_app_pictures.py

fix: $(VENV)/.stamp ## format, and mend what the linter can
	@$(RUN)/ruff check --fix-only .
	@$(RUN)/ruff format .

catalogues: $(VENV)/.stamp ## compile the catalogues after a change of a .po file
	@$(RUN)/python -m tools.catalogues

soak: $(VENV)/.stamp ## ten minutes at 1,000 rows a second, then silence: memory, lag, threads, files (ARGS="--minutes 2")
	@$(RUN)/python -m pytest -m soak
	@$(RUN)/python tools/bench/soak.py $(ARGS)

bench: $(VENV)/.stamp ## measure speed and weight against the goals; exits 1 on a miss (ARGS="--quick", "--only start", "--list")
	@$(RUN)/python tools/bench/suite.py $(ARGS)

bench-rivals: $(VENV)/.stamp ## measure it beside terminalboard, tlog, W&B LEET and TensorBoard, which are installed for it
	@$(RUN)/python tools/bench/rivals.py $(ARGS)

bench-training: $(VENV)/.stamp ## what watching costs a training on the same machine (ARGS="--pairs 30", "--one-core"); needs what e2e sets up
	@$(RUN)/python tools/bench/beside_training.py $(ARGS)

architecture: $(VENV)/.stamp ## draw docs/architecture.svg, the packages and their layers
	@$(RUN)/python -m tools.architecture

screenshots: $(VENV)/.stamp ## draw the pictures of the documentation
	@$(RUN)/python docs/screenshots.py

clean: ## remove environments, caches and builds
	@rm -rf $(VENV) $(VENV_NEWEST) .venv-bench build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find lora_tui tests tools docs -name __pycache__ -type d -prune -exec rm -rf {} +
