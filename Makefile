# `make` prints this list. Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= python3
VENV ?= .venv
# Where the CPU build of PyTorch comes from when the default index would send CUDA packages.
export TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BPP ?= 0.2
PHOTO ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
AUDIT := build/audit/.installed

.DEFAULT_GOAL := help
.PHONY: help env demo test check lint package lock audit bench clean

help: ## print this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

env: $(STAMP) ## create .venv and install gancodec with the developers' tools

$(STAMP): pyproject.toml constraints.txt tools/make_env.sh
	PYTHON="$(PYTHON)" VENV="$(VENV)" bash tools/make_env.sh
	@touch $@

demo: env ## encode and decode a photograph: make demo BPP=0.1 PHOTO=my.jpg
	@$(BIN)/python tools/demo.py --bpp $(BPP) $(if $(PHOTO),--photo "$(PHOTO)")

test: env ## run the tests
	$(BIN)/python -m pytest

lint: env ## style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

package: env ## build wheel and sdist, try the wheel in a clean environment
	$(BIN)/python tools/package.py

check: lint test package ## all that has to pass before a change lands (CI runs this)

$(AUDIT): pyproject.toml
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install -qq --upgrade "pip>=25.1"
	build/audit/bin/python -m pip install -qq --group audit
	@touch $@

lock: $(AUDIT) ## write constraints.txt anew, with the newest versions
	UV=build/audit/bin/uv tools/lock.sh

audit: $(AUDIT) ## ask for known vulnerabilities of the packages in constraints.txt
	build/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

bench: env ## run the benchmarks; results in build/bench/*.json
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

clean: ## remove what the other targets made, .venv included
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
