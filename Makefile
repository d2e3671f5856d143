PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
LIGHT := .venv/.light
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
TORCH_INDEX ?=
JSPSYCH := jspsych@8.3.0 @jspsych/plugin-html-button-response@2.1.0 @jspsych/plugin-preload@2.1.0

.DEFAULT_GOAL := help

help:  ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv with everything in it

# What a search needs, and no more: the demo is not to wait for libraries that it does not use.
$(LIGHT): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing what a search needs, PyTorch among it: a minute or more"
	$(INSTALL) $(TORCH_INDEX:%=--extra-index-url %) -e .
	touch $(LIGHT)

$(READY): $(LIGHT)
	@echo "installing what the tests need: a minute or more"
	$(INSTALL) $(TORCH_INDEX:%=--extra-index-url %) -e ".[dev]"
	touch $(READY)

demo: $(LIGHT)  ## run QDHF on the arm and leave pictures and figures in runs/demo
	$(BIN)/python -m experiments.arm.qdhf --run runs/demo --answers 250 --overwrite

test: $(READY)  ## run the tests (a few minutes)
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-all: .venv/.checks .venv/node_modules .venv/label-studio .venv/llama  ## run the slow tests too, with coverage
	NODE_PATH=.venv/node_modules $(BIN)/python -m pytest -n 2 --dist loadgroup -m "slow or not slow" --cov --cov-report=term

.venv/.checks: $(READY)
	$(INSTALL) -e ".[dev,checks]"
	touch $@

# For slow tests alone, which are skipped where these cannot be had: jsPsych, a llama.cpp server, and label-studio-sdk,
# which wants libraries of other versions than ours.
.venv/node_modules: | $(READY)
	-npm install --silent --no-save --no-audit --no-fund --prefix .venv $(JSPSYCH)

.venv/label-studio: | $(READY)
	$(PYTHON) -m venv $@ && $@/bin/pip install --quiet --disable-pip-version-check label-studio-sdk==2.1.2 || rm -rf $@

# Compiled on the spot, which takes ten minutes or more.
.venv/llama: | $(READY)
	$(PYTHON) -m venv $@ && $@/bin/pip install --quiet --disable-pip-version-check "llama-cpp-python[server]==0.3.36" \
		|| rm -rf $@

lint: $(READY)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## remove the environment and everything made
	rm -rf .venv runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage*

.PHONY: help setup demo test test-all lint clean
