# `make` alone lists the targets. Every target makes the environment first.

VENV ?= .venv
PYTHON ?= $(firstword $(shell command -v python3.11 2> /dev/null) python3)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
REQUIREMENTS := requirements/pinned.txt requirements/headless.txt
ARGS ?=

.PHONY: help env demo test test-slow test-all coverage faults gpu bench
.PHONY: docs lint format lock clean

help:
	@echo 'make env        make $(VENV) (about 3 minutes the first time)'
	@echo 'make demo       train on small generated images, CAMs to masks'
	@echo 'make test       the test suite, without slow and real-data tests'
	@echo 'make test-slow  only the slow and real-data tests (VOC20_MINI=DIR)'
	@echo 'make test-all   both'
	@echo 'make coverage   make test, then the lines and branches it left out'
	@echo 'make faults     breaks 500 runs, and sees that each goes on'
	@echo 'make gpu        tests and ratios on a GPU, in work_dirs/gpu'
	@echo 'make bench      speed beside other tools, for docs/benchmarks.md'
	@echo 'make docs       the documentation site, in site'
	@echo 'make lint       style, formatting and type checks'
	@echo 'make format     let ruff fix style and formatting'
	@echo 'make lock       requirements/lock.txt from the other two'
	@echo 'make clean      remove $(VENV) and everything built'
	@echo
	@echo 'PYTHON=... picks the interpreter (3.11 or newer), VENV=... the'
	@echo "environment's folder, ARGS='-k cam' is passed on to pytest."

env: $(READY)

$(READY): $(REQUIREMENTS) setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'error: $(PYTHON) is not Python 3.11 or newer, say make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'Making $(VENV): pip downloads and installs the pinned packages, about 3 minutes with a CPU build of torch'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -r requirements/pinned.txt
	@echo 'Putting the headless build of OpenCV in place of the one that needs libGL'
	$(BIN)/python -m pip uninstall --quiet --yes opencv-python opencv-python-headless
	$(BIN)/python -m pip install --quiet --no-deps -r requirements/headless.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -c 'import cv2, mmrca; print("mmrca", mmrca.__version__, "is ready")'
	@touch $@

demo: $(READY)
	$(BIN)/python tools/demo.py

test: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -m 'slow or real_data' --timeout 1200 $(ARGS)

test-all: test test-slow

coverage: $(READY)
	$(BIN)/python -m pip install --quiet pytest-cov==7.1.0
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --timeout 600 --cov $(ARGS)

faults: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.inject $(ARGS)

gpu: $(READY)
	$(BIN)/python -m benchmarks.bench --device cuda --out work_dirs/gpu/summary.json
	$(BIN)/python -m pytest -m gpu $(ARGS)

bench: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.bench $(ARGS)

docs: $(READY)
	$(BIN)/python -m pip install --quiet -r requirements/docs.txt
	$(BIN)/python -m sphinx -E -W --keep-going docs site

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# It has the headless build of OpenCV in place of the other from the start.
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv==0.13.9
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-package opencv-python $(REQUIREMENTS) -o requirements/lock.txt

clean:
	rm -rf $(VENV) build dist site *.egg-info mmrca/.mim
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
