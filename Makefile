# Everything happens inside this folder: .venv (packages) and .tickover (host, models, state).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TICKOVER := $(BIN)/tickover
STACK ?= dev
# PORT=0 picks a free port; unset keeps the host's own choice (9797, or the next free one).
PORT ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.PHONY: help setup setup-dev up down test test-vllm test-real check bench bench-engine bench-gpu-idle bench-front-door zero-loss clean lock

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.runtime ## install into .venv from the lock, nothing else

setup-dev: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
	  echo "error: tickover needs Python 3.11 or newer; $$($(PYTHON) --version) is $(PYTHON). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || {
	  echo "error: this Python cannot make a virtual environment. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	echo "== creating $(VENV)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "== installing from requirements.lock (about a minute)"
	$(PIP) install --progress-bar off --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	mkdir -p .tickover/state # the pulumi command wants the back end's folder to be there
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "== installing from requirements-dev.lock"
	$(PIP) install --progress-bar off --quiet --require-hashes -r requirements-dev.lock
	touch $@

up: setup ## a real model on a reserved, idling pool, and a tour of it
	@$(TICKOVER) model pull smollm2
	$(TICKOVER) host start $(if $(PORT),--port $(PORT))
	$(TICKOVER) up -s $(STACK) --yes
	$(TICKOVER) tour -s $(STACK)

down: setup ## destroy the stack and stop the host
	@$(TICKOVER) host start --quiet
	$(TICKOVER) destroy -s $(STACK) --yes
	$(TICKOVER) host stop

test: setup-dev ## all tests but those against real vLLM and the real Pulumi CLI
	@$(BIN)/python -m pytest --ignore=tests/real --ignore=tests/vllm

test-vllm: setup-dev ## tests/vllm: real vLLM on the CPU behind the host (installed once, 7 GB; or TICKOVER_VLLM)
	@folder=$${TICKOVER_VLLM:-$$(tests/support/vllm/build.sh $(BIN)/python)}
	echo "== vLLM: $$folder"
	TICKOVER_VLLM=$$folder $(BIN)/python -m pytest tests/vllm

test-real: setup-dev ## tests/real: the real Pulumi CLI as judge (built once, needs Go; or TICKOVER_PULUMI_CLI)
	@cli=$${TICKOVER_PULUMI_CLI:-$$(tests/support/pulumi_cli/build.sh)}
	echo "== judge: $$cli ($$("$$cli" version))"
	TICKOVER_PULUMI_CLI=$$cli $(BIN)/python -m pytest tests/real

check: setup-dev ## formatting, lint, types, import rules, sizes
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases components policies/rules.py policies/adapter.py
	$(BIN)/lint-imports
	$(BIN)/python .ci/sizes.py

bench: setup-dev ## measure what docs/benchmarks.md reports
	@$(BIN)/python bench/main_job.py

bench-engine: setup-dev ## measure the engine against the real CLI and Terraform
	@$(BIN)/python bench/engine.py $(ARGS)

bench-gpu-idle: setup-dev ## measure idling and waking on an NVIDIA card (ARGS=--stand-in rehearses it without one)
	@$(BIN)/python bench/gpu_idle.py $(ARGS)

bench-front-door: setup-dev ## measure the front door beside nginx and HAProxy (two cores; names the packages it lacks)
	@$(BIN)/python bench/front_door.py $(ARGS)

zero-loss: setup-dev ## N requests over wakes, deploys and kills: which are lost, which come twice
	@$(BIN)/python bench/zero_loss.py -n $(or $(N),10000) $(ARGS)

lock: ## resolve both lock files anew (needs uv)
	@uv pip compile pyproject.toml -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	uv pip compile pyproject.toml -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group dev -c requirements.lock -o requirements-dev.lock

clean: ## remove .venv, caches and local data (refuses while a host runs)
	@if [ -x $(TICKOVER) ] && $(TICKOVER) host status --json 2>/dev/null | grep -q '"running": true'; then
	  echo "error: the host is still running. First: make down" >&2; exit 2; fi
	rm -rf $(VENV) .tickover build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
