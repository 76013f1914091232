# facet: the commands a person or a CI needs. `make help` lists them; CONTRIBUTING.md says when to use which.
#
#   GPU=1            install the CUDA lock instead of the CPU one (several GB of nvidia packages)
#   PYTHON=...       the Python 3.11 that makes .venv
#   PIP_FIND_LINKS   a local wheel folder; torch's CPU wheel is taken from it when it is there
#   PORT=5000        where `make ui` listens (`make prefect`: 4200), on loopback only

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test lint format bench lock ui prefect clean

VENV := .venv
BIN := $(VENV)/bin
prefect: PORT ?= 4200
PORT ?= 5000
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
PYTEST_ARGS ?=
# Tests at a time: one more than there are cores, since a fifth of their time they wait for servers and processes.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n + 1 : 4)))

# Which torch. The registry's own Linux wheel is the CUDA build, so the CPU lock names the CPU wheel's version and hash:
# a machine without a GPU either gets that wheel or an error, never gigabytes of CUDA in silence.
TORCH := 2.13.0
TORCH_CPU_PAGE ?= https://download.pytorch.org/whl/cpu/torch/
ifeq ($(GPU),1)
LOCK := requirements-gpu.lock
WHEELS :=
else
LOCK := requirements.lock
TORCH_ON_DISK := $(foreach folder,$(PIP_FIND_LINKS),$(wildcard $(folder)/torch-$(TORCH)+cpu-*.whl))
WHEELS := $(addprefix --find-links ,$(PIP_FIND_LINKS) $(if $(TORCH_ON_DISK),,$(TORCH_CPU_PAGE)))
endif
STAMP := $(VENV)/.installed-from-$(LOCK)

export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport PYTHONHOME PYTHONPATH
# Nothing here phones home.
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export GX_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1
# uv: this Python and no other; a mirror configured for pip is a mirror for uv.
export UV_PYTHON_DOWNLOADS := never
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

help:  ## this list
	@sed -n 's/^\([a-z]*\):[^#]*##  *\(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

setup: $(STAMP)  ## make .venv and install the lock into it (run and test do this by themselves)

run: $(STAMP)  ## raw faces to a registered model: the whole chain, then its results
	@facet params
	@dvc repro
	@facet summary

test: $(STAMP)  ## every test; choose with PYTEST_ARGS="-m 'not slow' tests/data"
	@python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(STAMP)  ## style, formatting, and who may import whom
	@ruff check .
	@ruff format --check .
	@lint-imports

format: $(STAMP)  ## let ruff mend what it can
	@ruff check --fix .
	@ruff format .

bench: $(STAMP)  ## measure each step beside the plain way to write it; prints JSON
	@python -m benchmarks

ui: $(STAMP)  ## the MLflow registry and runs, in a browser, on loopback
	@case "$${MLFLOW_TRACKING_URI:-}" in http*) echo "MLFLOW_TRACKING_URI names a server: open its address, or unset it" >&2; exit 1;; esac
	@echo "http://127.0.0.1:$(PORT) in a moment; Ctrl-C ends it"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false exec mlflow ui --host 127.0.0.1 --port $(PORT) --workers 1 \
	  --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}" --artifacts-destination "$(CURDIR)/mlartifacts"

prefect: $(STAMP)  ## the Prefect server: schedules, runs, logs, in a browser, on loopback
	@echo "http://127.0.0.1:$(PORT) in a moment; Ctrl-C ends it. In other terminals: export PREFECT_API_URL=http://127.0.0.1:$(PORT)/api"
	@PREFECT_UI_API_URL=http://127.0.0.1:$(PORT)/api PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT=false \
	  exec prefect server start --host 127.0.0.1 --port $(PORT)

clean:  ## remove .venv and caches; data, artifacts, checkpoints and the registry stay
	rm -rf $(VENV) build dist src/facet.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find src tests flows benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Installation. uv does it, from a lock with a hash for every file; pip only fetches uv (and setuptools, which builds the one
# package that has no wheel), by hash too. The stamp comes last, so an interrupted installation is simply gone on with, and a
# changed lock or pyproject.toml is installed again.

$(BIN)/uv: requirements-bootstrap.lock
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "facet needs Python 3.11, and \`$(PYTHON)\` is not it: 'sudo apt-get install python3.11 python3.11-venv', or make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "\`$(PYTHON)\` cannot make virtual environments: 'sudo apt-get install python3.11-venv', then the same make command" >&2; exit 1; }
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-bootstrap.lock
	@touch $@

$(STAMP): $(LOCK) $(BIN)/uv pyproject.toml
	@rm -f $(VENV)/.installed-from-*
	@echo "Installing $(LOCK) into $(VENV)$(if $(filter 1,$(GPU)), with CUDA: several GB)"
	@uv pip sync --compile-bytecode $$([ -t 2 ] || echo --quiet) --python $(BIN)/python --require-hashes --no-build-isolation $(WHEELS) $(LOCK)
	@uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@

COMPILE = uv pip compile --quiet --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--custom-compile-command 'make lock' $(LOCK_ARGS)

# Keeps every pin that still fits; `make lock LOCK_ARGS=--upgrade` takes the newest of all. The CUDA lock starts from the
# CPU one, so that the two differ in torch alone.
lock: $(BIN)/uv  ## resolve pyproject.toml into the locks again
	echo 'torch==$(TORCH)+cpu' | $(COMPILE) pyproject.toml --extra pipeline --extra dev --constraints - \
	  $(WHEELS) --output-file requirements.lock
	cp requirements.lock requirements-gpu.lock
	echo 'torch==$(TORCH)' | $(COMPILE) pyproject.toml --extra pipeline --extra dev --constraints - \
	  --output-file requirements-gpu.lock
	printf 'uv\nsetuptools\n' | $(COMPILE) - --output-file requirements-bootstrap.lock
	$(COMPILE) deploy/requirements.in --constraints requirements.lock --output-file deploy/requirements.lock
