# `make solve` and `make test` need git, make and Python 3.10 or newer, and nothing before them.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: solve test check clean
solve: $(READY)
	$(BIN)/tinyarc demo

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff check .

# torch first and pinned: on a machine that keeps a CPU build of it, pip takes that one.
$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[data,report,dev]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
