# Every target sets up .venv by itself when it is missing or older than what it is made from.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
export NO_PROXY := 127.0.0.1,localhost

.PHONY: help demo test lint bench fuzz day chaos outage protos constraints clean

help:                   ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile

$(RUNTIME): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q -c constraints.txt uv
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[embedded]'
	@touch $@

$(DEV): $(RUNTIME)
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(RUNTIME)        ## a simulated market through the whole pipeline; SECONDS_TO_RUN via SECONDS=30
	@$(BIN)/ticktape demo $(if $(filter command line,$(origin SECONDS)),--seconds $(SECONDS))

test: lint              ## every check and every test, on real servers
	@$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

lint: $(DEV)            ## style, types, architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: $(DEV)           ## ratios against peers, written to benchmarks/results/latest.json
	@$(BIN)/python -m benchmarks

fuzz: $(DEV)            ## hostile bytes against every kernel that reads the wire; for MINUTES=10, with SEED=0
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10) --seed $(or $(SEED),0)

day: $(DEV)             ## a simulated trading day with faults, then an exact comparison; options via DAY="--seed 7"
	@$(BIN)/python -m tests.day $(DAY)

chaos: $(DEV)           ## kills, freezes, bad links, failing servers, and an exact check of each round; for MINUTES=30, with SEED=1
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),30) --seed $(or $(SEED),1) --report docs/chaos.md

outage: $(DEV)          ## OF=kafka or OF=clickhouse away at 20,000 ticks/s: memory, time to catch up, and an exact count; for MINUTES=10
	@$(BIN)/python -m benchmarks.outage $(or $(OF),kafka) --minutes $(or $(MINUTES),10)

protos: $(DEV)          ## generate the protobuf code again
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. protos/*/*.proto

constraints:            ## lock the newest versions that fit
	@$(BIN)/uv pip compile -q --no-emit-index-url --no-header --no-annotate --python-version 3.11 --universal \
		--all-extras pyproject.toml -o constraints.txt --upgrade && echo 'uv==$(shell $(BIN)/uv --version | cut -d" " -f2)' >> constraints.txt

clean:                  ## forget everything that was set up or made
	rm -rf $(VENV) var .cache
