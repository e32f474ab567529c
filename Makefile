# `make pong` trains an agent, `make watch` shows one, `make test` checks the project; each makes .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: pong watch test test-slow check install clean

pong: install
	$(BIN)/python -m rl_lab train dqn --env Pong

watch: install
	$(BIN)/python -m rl_lab watch demo

# A process for each core: every test uses one torch thread. The long ones stand together, so work is stolen at the end.
test: install
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: install
	$(BIN)/python -m pytest -m slow -n auto --dist worksteal

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

install: $(VENV)/installed

# torch comes first and alone, so that pip takes the pinned build for this machine and nothing else pulls in another. pip
# would compile on one core what all can do (and some package has files that are no Python 3: they are left).
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"rl_lab needs Python 3.11 or newer, not {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]' -c constraints.txt
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@

clean:
	rm -rf $(VENV) dist build
