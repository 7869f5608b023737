# Everything installs itself into .venv: uv with the committed uv.lock.
VENV := .venv
PYTHON := $(VENV)/bin/python
EXPERIMENT ?= no_lrn
ARGS ?=

# make ablations: which sweep (ideas combined on the small drawn flowers, where that tells most in ten minutes; on
# other data each by itself), which data, how many folds (none: the split of data.test_fraction), how many seeds of
# each, where the jobs run (processes, ray, slurm), and how many at once as processes on this machine.
DATA ?= synthetic_small
SWEEP ?= $(if $(filter synthetic_small,$(DATA)),factorial,ablations)
FOLDS ?=
SEEDS ?= 3
LAUNCHER ?= processes
JOBS ?= $(if $(filter synthetic_small,$(DATA)),2)
NAME ?= ablations
RUNS ?= runs/$(DATA)/$(NAME)

# A uv on the PATH, else one from the package index in a virtual environment of its own.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)

BENCH ?= runs/bench

.PHONY: help install train ablations report dashboard bench test test-long store-scale overhead error-rates results pictures lint format wheel clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(VENV)/.installed  ## Install into .venv

$(VENV)/.installed: pyproject.toml uv.lock $(UV)
	@echo "installing into $(VENV): torch with CUDA and the rest, about 5 GB on Linux"
	$(UV) sync --frozen --all-extras --compile-bytecode  # else the first runs, or all, compile it
	@touch $@

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet uv

train: install  ## Train one network: EXPERIMENT=no_lrn ARGS="data=flowers data.root=..."
	$(PYTHON) -m alexnet_exp.train +experiment=$(EXPERIMENT) $(ARGS)

ablations: install  ## What each idea buys, then the report: DATA=flowers FOLDS=5 SEEDS=2 SWEEP=factorial LAUNCHER=ray NAME=second ARGS="data.root=..."
	@$(PYTHON) -m alexnet_exp.train -m +sweep=$(SWEEP) sweep.name=$(NAME) data=$(DATA) $(if $(FOLDS),data.folds=$(FOLDS)) \
	  "seed=range($(shell expr $(SEEDS) \* $(or $(FOLDS),1)))" \
	  hydra/launcher=$(LAUNCHER) $(if $(filter processes,$(LAUNCHER)),$(if $(JOBS),hydra.launcher.jobs=$(JOBS))) $(ARGS); \
	swept=$$?; [ $$swept -le 1 -a -d $(RUNS) ] || exit $$swept; \
	$(PYTHON) -m alexnet_exp.report runs=$(RUNS) && exit $$swept

report: install  ## The report of finished runs: RUNS=runs/flowers/ablations
	$(PYTHON) -m alexnet_exp.report runs=$(RUNS)

dashboard: install  ## Save a view of all runs at W&B: ENTITY=team ARGS="tag=ablations"
	$(PYTHON) -m alexnet_exp.dashboard $(if $(ENTITY),entity=$(ENTITY)) $(ARGS)

bench: install  ## Measure this machine in 4 minutes: BENCH=results/bench/mine ARGS="bench.parts=[options,evaluation]"
	$(PYTHON) -m alexnet_exp.bench hydra.run.dir=$(BENCH) $(ARGS)

test: install  ## Run the tests
	$(PYTHON) -m pytest -m "not long" -n auto --dist loadfile

test-long: install  ## Run the tests that take an hour: kills, resumes, simulations, a built wheel
	$(PYTHON) -m pytest -m long

store-scale: install  ## Measure how memory and time per batch grow up to 160,000 images
	$(PYTHON) tests/measure_store.py

results: install  ## Make every table and figure of results/ again from the runs that lie there
	$(PYTHON) results/results.py

pictures: install  ## Draw the pictures of results/drawn again: of a small network, trained on drawn flowers in minutes
	$(PYTHON) -m alexnet_exp.train data.image_size=128 model.input_size=112 model.width=.5 trainer.precision=32-true \
	  hydra.run.dir=results/drawn/runs/baseline
	$(PYTHON) -m alexnet_exp.figures results/drawn/runs/baseline --output results/drawn
	$(PYTHON) -m alexnet_exp.evaluate results/drawn/runs/baseline --confusion results/drawn/confusion.png \
	  --mistakes results/drawn/mistakes.png

error-rates: install  ## Simulate how often the report errs and what it finds: hours, goes on where it stopped
	$(PYTHON) tests/measure_error_rates.py results/error_rates/rates.csv

overhead: install  ## Measure how a sweep's overhead and its report grow up to 200 jobs
	$(PYTHON) tests/measure_overhead.py

lint: install  ## Check format, style and types
	$(VENV)/bin/ruff format --check src tests results
	$(VENV)/bin/ruff check src tests results
	$(VENV)/bin/mypy

format: install  ## Format and mend what ruff can
	$(VENV)/bin/ruff check --fix src tests results
	$(VENV)/bin/ruff format src tests results

wheel: install  ## Build dist/*.whl
	$(UV) build --wheel --quiet

clean:  ## Remove what was built; stores and runs stay
	rm -rf $(VENV) .uv dist .mypy_cache .ruff_cache .pytest_cache
