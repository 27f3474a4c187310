# `make` prints this list. Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= python3
VENV ?= .venv
# Where the CPU build of PyTorch comes from when the default index would send CUDA packages.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_VERSION ?= 2.13.0
BPP ?= 0.2
PHOTO ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help env demo test check lint bench clean

help: ## print this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

env: $(STAMP) ## create .venv and install gancodec with the developers' tools

$(STAMP): pyproject.toml tools/make_env.sh
	PYTHON="$(PYTHON)" VENV="$(VENV)" TORCH_INDEX="$(TORCH_INDEX)" TORCH_VERSION="$(TORCH_VERSION)" bash tools/make_env.sh
	@touch $@

demo: env ## encode and decode a photograph: make demo BPP=0.1 PHOTO=my.jpg
	@$(BIN)/python tools/demo.py --bpp $(BPP) $(if $(PHOTO),--photo "$(PHOTO)")

test: env ## run the tests
	$(BIN)/python -m pytest

lint: env ## style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test ## all that has to pass before a change lands (CI runs this)

bench: env ## run the benchmarks; results in build/bench/*.json
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

clean: ## remove what the other targets made, .venv included
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
