# Every target makes .venv first, once. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help pong watch test test-slow check check-coverage docs install clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

pong: install  ## train PPO on Pong
	$(BIN)/python -m rl_lab train ppo --env Pong

watch: install  ## watch a trained agent play Pong
	$(BIN)/python -m rl_lab watch demo

# One process per core; each test uses one torch thread. Work stealing balances the long tests at the end.
test: install  ## run the tests
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: install  ## run the tests that train for long
	$(BIN)/python -m pytest -m slow -n auto --dist worksteal

check: install  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

check-coverage: install  ## run the tests and report their line coverage
	$(BIN)/python -m pytest -n auto --dist worksteal --cov=agents --cov=envs --cov=rl_lab --cov-report=term:skip-covered

# --strict: a broken link, an anchor that does not exist or a page outside the navigation fails.
docs: install  ## build the documentation site into site/, and check its links
	$(BIN)/python scripts/agent_pages.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

install: $(VENV)/installed  ## make the virtual environment

# torch comes first and alone, so that pip takes the pinned build for this machine and no other package pulls in another one.
# pip would compile on one core; compileall uses all. Some packages hold files that are not Python 3: its errors are ignored.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"rl_lab needs Python 3.11 or newer, not {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]' -c constraints.txt
	$(BIN)/python -W ignore -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@

clean:  ## remove the virtual environment and built packages
	rm -rf $(VENV) dist build site
