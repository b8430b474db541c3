# The first target sets up .venv; wanted: python3 (3.11 to 3.13) with venv and headers, and a C++ compiler.

PYTHON ?= python3
# make TORCH=cpu ... takes PyTorch's smaller build for machines without a GPU
TORCH ?=

BIN := .venv/bin
READY := .venv/.ready
INSTALL := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/uv pip install --python $(BIN)/python --constraints constraints.txt
pinned = $(shell sed -n 's/^\($(1)==[^ ;]*\).*/\1/p' constraints.txt)
KENLM := $(call pinned,kenlm)

.PHONY: help demo test bounds check bench format clean

help:  ## list what make can do
	@sed -n 's/^\([a-z]*\):.*  ## /make \1\t/p' Makefile | expand -t 16

demo: $(READY)  ## the whole road on a small synthetic corpus, into demo/
	$(BIN)/asrkit demo

test: $(READY)  ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

bounds: $(READY)  ## tests of the search, compiled so that a place outside an array is an error
	OMP_NUM_THREADS=1 NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.venv/.bounds $(BIN)/python -m pytest -q -n 2 \
	    tests/test_native_search.py tests/test_n_best.py tests/test_hotwords.py tests/test_large_alphabets.py \
	    tests/test_align.py tests/test_arpa.py

check: $(READY)  ## style, types, layers and the rules of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_rules.py

bench: $(READY)  ## measurements, side by side
	set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

format: $(READY)  ## write all code in the one style
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:  ## forget .venv and what the tools left behind
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build

# .unfinished lies in .venv while it is being set up; one that was interrupted is made anew
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import ensurepip, sys, sysconfig, pathlib; sys.exit(not ((3, 11) <= sys.version_info < (3, 14) \
	    and pathlib.Path(sysconfig.get_path("include"), "Python.h").exists()))' 2>/dev/null \
	    && command -v c++ >/dev/null || { echo "asrkit wants python3 (3.11 to 3.13), its venv and headers, and a C++" \
	    "compiler; on Debian and Ubuntu: apt install python3 python3-venv python3-dev build-essential" \
	    "(another Python: make PYTHON=python3.12 ...)"; exit 1; }
	@if [ -e .venv/.unfinished ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    mkdir -p .venv && touch .venv/.unfinished \
	    && find .venv -mindepth 1 -maxdepth 1 ! -name .unfinished -exec rm -rf {} + && $(PYTHON) -m venv .venv; fi
	@touch .venv/.unfinished && rm -f $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 13))' \
	    && ! $(BIN)/python -c 'import kenlm, pyctcdecode' 2>/dev/null; then $(MAKE) --no-print-directory kenlm; fi
	$(INSTALL) --compile-bytecode $(if $(strip $(TORCH)),--torch-backend=$(strip $(TORCH))) --editable '.[dev]'
	@mv .venv/.unfinished $@

# Python 3.13: the C++ file that kenlm publishes was made for older Pythons, so it is made anew from its Cython source;
# pyctcdecode forbids numpy 2, which it can do with, and which 3.13 needs
.PHONY: kenlm
kenlm:
	rm -rf .venv/kenlm && mkdir .venv/kenlm
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest .venv/kenlm $(KENLM)
	tar -xzf .venv/kenlm/*.tar.gz -C .venv/kenlm --strip-components 1
	cd .venv/kenlm && ../bin/uv tool run --python ../bin/python --from 'cython>=3.1,<3.3' \
	    cython --cplus -3 python/kenlm.pyx -o python/kenlm.cpp
	$(INSTALL) --no-deps .venv/kenlm $(call pinned,pyctcdecode)
	rm -rf .venv/kenlm
