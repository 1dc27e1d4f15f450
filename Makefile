# Every target sets up what it needs. PYTHON is the interpreter (3.10-3.13) that .venv is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MODULES := pipeline vggish_core
CODE := $(MODULES) tests benchmarks examples docs/mkdocs_hooks.py setup.py
# An interpreter that is named, and is not the one that .venv was made from: .venv is made again.
ifneq ($(filter command environment,$(origin PYTHON)),)
OTHER_PYTHON := $(shell test ! -x $(BIN)/python || test "`$(BIN)/python -V`" = "`$(PYTHON) -V`" || echo yes)
endif
# A stamp: the weights and kernels that tests take for granted are in their cache.
WEIGHTS := $(or $(VGGISH_CACHE),.pytest_cache/vggish)/.prepared-$(subst /,-,$(VENV))
# Two processes more than cores, since some always wait, with one thread for BLAS; the tests of a module stay together,
# since they share what is costly to make, and come in the order of tests/conftest.py.
WORKERS := $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 2)')
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
# A user waits for bytecode while installing; a machine that checks once makes what it imports as it goes, a sixth of it.
COMPILE := $(if $(CI),,--compile-bytecode)
# What the full tests are repeated with, where it is there.
OTHER_PYTHONS := 3.10 3.12 3.13

# Tests start hundreds of processes, which would compile the package each time: bytecode is kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: FORCE help install demo lint format docs weights prism test test-ci test-repeat test-full test-released bench constraints clean

help:
	@echo "make demo         install, make example audio, embed it"
	@echo "make test         install, run the tests (about 4 minutes on two cores)"
	@echo "make lint         ruff, ruff format --check, mypy, lint-imports"
	@echo "make docs         the documentation as a site, in build/site"
	@echo "make test-ci      what has to pass before a change lands, lint apart: engines and whole processes too"
	@echo "make test-repeat  the same five times on a busy machine: nothing may be red by chance"
	@echo "make test-full    all sizes, all documents' commands, other Pythons (about an hour)"
	@echo "make test-released  the released weights and records against the published figures; fetches 290 MB"
	@echo "make bench        the speed and memory table (BENCH_FLAGS=--quick for two minutes)"

install: $(STAMP)

$(STAMP): pyproject.toml setup.py constraints.txt $(if $(OTHER_PYTHON),FORCE)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 13) or sys.exit( \
	    "error: $(PYTHON) is Python %d.%d\n  Name one of 3.10 to 3.13: make PYTHON=python3.12 install" % v)'
	@echo "Installing into $(VENV): 3 GB, 2 to 3 minutes with a quick network."
	@$(PYTHON) -m venv $(if $(OTHER_PYTHON),--clear) $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.8,<1"
	$(BIN)/uv pip install $(COMPILE) --constraint constraints.txt --editable ".[test]"
	@touch $@

demo: install
	$(BIN)/python -m examples.make_audio demo/audio
	$(BIN)/python -m pipeline.run --runner DirectRunner --input 'demo/audio/**' --output demo/embeddings \
	    --checkpoint standin --pca_params standin --max_failures 1 --overwrite
	@echo
	@echo "Next, with your own recordings:"
	@echo "  . $(VENV)/bin/activate"
	@echo "  python -m pipeline.run --input 'recordings/**' --output embeddings"

lint: install
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(MODULES)
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

docs: install
	$(BIN)/mkdocs build --strict

weights: $(WEIGHTS)

$(WEIGHTS): $(STAMP) tests/prepare.py $(shell find vggish_core -name "*.py")
	$(BIN)/python -m tests.prepare
	@touch $@

prism:
	$(PYTHON) -m tests.engines.binaries prism

test: weights
	$(PYTEST) -m "not ci and not full" tests

test-ci: weights prism
	$(PYTEST) -m "not full" tests

test-repeat: weights prism
	$(BIN)/python -m tests.repeat 5 $(MAKE) lint test-ci

test-full: weights prism
	$(BIN)/python -m tests.engines.binaries flink
	$(PYTEST) --full tests
	for version in $(OTHER_PYTHONS); do \
	    if command -v python$$version >/dev/null; then \
	        $(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit 1; \
	    else echo "no python$$version here: not tested with it"; fi; \
	done

# Fetches what Google published, 290 MB, if it is not there: for a machine with a network.
test-released: install
	$(BIN)/python -m pytest -m released tests/released

bench: install
	$(BIN)/python -m benchmarks.run $(BENCH_FLAGS)

constraints: install
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --extra test pyproject.toml \
	    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file constraints.txt --upgrade

clean:
	rm -rf $(VENV) $(VENV)-3.* build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
