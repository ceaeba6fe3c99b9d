PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup demo up crash test matrix bench lint quotes lock clean
help: ## what there is to call
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

setup: .venv/ready ## create .venv, install the locked dependencies, fetch the Delta jars, compile
.venv/ready: requirements.lock setup.cfg databricks_side/setup.cfg databricks_side/local_workspace/setup.cfg
	@PYTHON=$(PYTHON) sh .ci/setup

demo: setup ## the main job, end to end: files land, a stream logs them, Airflow starts the jobs
	@PYTHONPATH=databricks_side $(BIN)/python -m demo demo

up: setup ## the same, kept running: prints the URLs and logins; Ctrl-C ends it
	@PYTHONPATH=databricks_side $(BIN)/python -m demo up

crash: setup ## kill everything at random while files land, then compare; ARGS="--kills 10 …"
	@PYTHONPATH=databricks_side $(BIN)/python -m crash $(ARGS)

test: setup ## the whole test suite, on two workers
	$(BIN)/python -m pytest -n 2

matrix: setup ## install, test and run it on every Airflow that it is for; ARGS="3.0 3.3", many minutes
	@PYTHONPATH=databricks_side $(BIN)/python -m matrix $(ARGS)

bench: setup ## the measurements that the docs quote: starts, tasks, waits, latency, logs, planner; many minutes
	$(BIN)/python -m bench

lint: setup ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

quotes: ## take the DAGs that README and docs quote from dags/ anew
	$(BIN)/python docs/quotes.py

lock: ## pin requirements.in anew
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate -q requirements.in -o requirements.lock

clean: ## remove what set-up made
	rm -rf .venv .state
