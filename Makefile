# `make solve` and `make test` need git, make and Python 3.10 or newer, and nothing before them.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: solve test quick report check experiments pretrain evaluate rehearse wheelhouse clean
solve: $(READY)
	$(BIN)/tinyarc demo

# A test process a core; a file stays in one, for what it sets up, and the longest come first (tests/conftest.py).
test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# The tests that take seconds each, under a minute in all.
quick: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

# The newest run as a page, in the browser. RUN=runs/... for another one.
report: $(READY)
	$(BIN)/tinyarc report $(RUN) --open

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

# Training at scale, see docs/training.md. Each stops by itself after at most 9 minutes; the same command goes on.
PRESET ?= base
BUDGET ?= 50m
SET ?= arc1-eval
WEIGHTS ?= checkpoints/$(PRESET)/$(PRESET).safetensors
experiments pretrain: export TORCHINDUCTOR_CACHE_DIR ?= $(CURDIR)/checkpoints/compiled
experiments: $(READY)
	$(BIN)/python benchmarks/experiments.py --preset $(PRESET) $(ARGS)

pretrain: $(READY)
	$(BIN)/tinyarc train --preset $(PRESET) --budget $(BUDGET) --piece 9m --continue $(ARGS)

evaluate: $(READY)
	$(BIN)/tinyarc eval $(SET) --weights $(WEIGHTS) --piece 9m --continue $(ARGS)

# A scored run on Kaggle, rehearsed without a network. ARGS="--short", "--budget 2h", "--python python3.12" ...
rehearse: $(READY)
	$(BIN)/python kaggle/rehearse.py $(ARGS)

# Fetches what offline_wheels/requirements.in names (nothing today) for Kaggle's Pythons, and writes the lock.
wheelhouse: $(READY)
	$(BIN)/python offline_wheels/fill.py

# torch first and pinned: on a machine that keeps a CPU build of it, pip takes that one.
$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[data,report,probe,dev]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
