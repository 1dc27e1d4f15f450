# Every target sets up what it needs. PYTHON is the interpreter (3.10-3.12) that .venv is made from.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MODULES := pipeline vggish_core
CODE := $(MODULES) tests benchmarks examples setup.py
# A process a core; the tests of a module stay together, since they share what is costly to make.
PARALLEL := --numprocesses auto --dist loadfile

.PHONY: help install demo lint format test test-slow test-engines bench constraints clean

help:
	@echo "make demo       install, make example audio, embed it"
	@echo "make test       install, run the tests (about 10 minutes on two cores)"
	@echo "make lint       ruff, ruff format --check, mypy"
	@echo "make test-slow  the long tests"
	@echo "make test-engines  fetch Flink, build Prism (if there is Go), run the tests on portable engines"
	@echo "make bench      the speed and memory table (BENCH_FLAGS=--quick for two minutes)"

install: $(STAMP)

$(STAMP): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@

demo: install
	$(BIN)/python -m examples.make_audio demo/audio
	$(BIN)/python -m pipeline.run --runner DirectRunner --input 'demo/audio/**' --output demo/embeddings \
	    --checkpoint standin --pca_params standin --max_failures 1 --overwrite

lint: install
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(MODULES)

format: install
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

test: install
	$(BIN)/python -m pytest -m "not slow and not engines" $(PARALLEL) tests

test-slow: install
	$(BIN)/python -m pytest -m slow $(PARALLEL) tests

test-engines: install
	$(BIN)/python -m tests.engines.prepare
	$(BIN)/python -m pytest -m engines tests/engines

bench: install
	$(BIN)/python -m benchmarks.run $(BENCH_FLAGS)

constraints: install
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --extra test setup.py \
	    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file constraints.txt --upgrade

clean:
	rm -rf $(VENV) build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
