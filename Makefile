# `make` lists the targets. Each one sets up what it needs: the library by SwiftPM, everything else in a virtual
# environment of the project.
PYTHON ?= python3
VENV   ?= .venv

# Where `make install` puts things; a packager's DESTDIR goes before each.
PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.SILENT: lint format

BIN    := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
TORCH  := torch==2.13.0

LIBRARY_DIR := .build/release
LIBRARY     := .build/library.stamp

SANITIZED_DIR   := .build-sanitized/release
SANITIZED       := .build-sanitized/library.stamp
RACES_DIR       := .build-races/release
SANITIZED_TESTS := arguments bad_input logits_layout
CLANG            = $(shell dirname "$$(command -v swift)")/clang

# Symbolic links (the kernels' other folders) lead to files that are listed already.
SWIFT_FILES   := $(shell find Package.swift Sources Tests examples -name '*.swift' -type f)
LIBRARY_FILES := $(filter-out Tests/% examples/%,$(SWIFT_FILES)) $(shell find include Sources -type f -not -name '*.swift')
BINDING_FILES := $(wildcard $(addprefix bindings/python/,*.py *.toml *.md src/*.[ch] src/xla/*.[ch] src/third_party/* src/third_party/*/* swiftdpo/*.py* swiftdpo/*/*.py))
C_FILES       := $(shell find include Sources Tests bindings/python/src bindings/python/tests benchmarks examples -name '*.[ch]' -type f) $(wildcard include/*.hpp Tests/*/*.[ch]pp examples/cpp/*.cpp)

say = @printf '\n--- %s\n' "$(1)"

# Files, then flags: on two cores, a few files each.
tidy             = printf '%s\n' $(1) | xargs -P 2 -n 3 bash -c '$(BIN)/clang-tidy --quiet "$$@" -- $(2)' tidy
PYTHON_INCLUDES  = $(shell $(BIN)/python -c "import numpy, sysconfig; print('-isystem', sysconfig.get_path('include'), '-isystem', numpy.get_include(), '-isystem bindings/python/src/third_party')")

##@ Use

.PHONY: demo
demo: $(STAMPS)/package $(STAMPS)/demo ## Train a small language model on human preferences (DEMO_FLAGS=--quick: briefly)
	$(BIN)/python examples/train_dpo.py $(DEMO_FLAGS)

.PHONY: demo-rankings
demo-rankings: $(STAMPS)/package $(STAMPS)/demo ## Fit Plackett-Luce worths to the 2002 NASCAR season
	$(BIN)/python examples/fit_rankings.py

.PHONY: demo-derivation
demo-derivation: $(STAMPS)/package $(STAMPS)/demo ## Check each step of DPO's derivation on a small problem
	$(BIN)/python examples/derivation.py

.PHONY: library
library: $(LIBRARY) ## Build libswiftdpo.so and libswiftdpo.a into .build/release

.PHONY: install
install: $(LIBRARY) ## Install libraries, headers, pkg-config and CMake files (PREFIX=, LIBDIR=, INCLUDEDIR=, DESTDIR=)
	DESTDIR="$(DESTDIR)" packaging/install.sh $(LIBRARY_DIR) "$(PREFIX)" "$(LIBDIR)" "$(INCLUDEDIR)"

.PHONY: package
package: $(STAMPS)/package ## Install the Python package into .venv

##@ Measure

.PHONY: bench bench-quick cost-model
bench: $(STAMPS)/package $(STAMPS)/demo $(STAMPS)/test $(STAMPS)/frameworks ## Everything beside its peers, in a quarter of an hour: tables and plots into benchmarks/
	$(BIN)/python benchmarks/run.py

bench-quick: $(STAMPS)/package $(STAMPS)/demo $(STAMPS)/test $(STAMPS)/frameworks ## The same in three minutes, with fewer contestants, sizes and rounds, into build/benchmarks
	$(BIN)/python benchmarks/run.py --quick --out build/benchmarks

cost-model: $(STAMPS)/package $(STAMPS)/torch ## The constants of the cost model, its check, and the tables of docs/distributed.md
	$(BIN)/python benchmarks/cost_model.py --measure

# The wheel's files bear the time of the last commit, so that two builds are the same bytes.
WHEEL_TIME = $(shell git log -1 --format=%ct 2> /dev/null || echo 1)

.PHONY: wheel
wheel: $(LIBRARY) $(STAMPS)/wheel ## Build a wheel into build/wheel, for Python from 3.11 on and old Linux systems
	rm -rf build/wheel build/wheel-unrepaired bindings/python/build
	SOURCE_DATE_EPOCH=$(WHEEL_TIME) SWIFTDPO_LIBRARY_DIR=$(abspath $(LIBRARY_DIR)) $(BIN)/python -m pip wheel --quiet \
	  --disable-pip-version-check --no-deps --wheel-dir build/wheel-unrepaired ./bindings/python
	SOURCE_DATE_EPOCH=$(WHEEL_TIME) PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --strip \
	  --wheel-dir build/wheel build/wheel-unrepaired/*.whl
	@stat --format='%n: %s bytes' build/wheel/*.whl

.PHONY: docs
docs: $(STAMPS)/package $(STAMPS)/docs $(STAMPS)/frameworks ## The reference of the C and the Python interface, into build/docs
	@command -v doxygen > /dev/null || { echo "missing doxygen"; exit 1; }
	rm -rf build/docs
	mkdir -p build/docs
	SWIFTDPO_VERSION=$$($(BIN)/python -c "import swiftdpo; print(swiftdpo.__version__)") doxygen docs/api/Doxyfile
	$(BIN)/python docs/api/reference.py
	@echo "build/docs/c/index.html, build/docs/python/swiftdpo.html"

##@ Check

.PHONY: test
test: test-swift test-c test-python test-frameworks ## All tests

.PHONY: test-swift
test-swift: $(LIBRARY) ## The library through the header's Swift module
	swift test -c release --quiet --disable-xctest

.PHONY: test-c
test-c: $(LIBRARY) ## The library through the header, in C11 and C++17
	$(MAKE) --no-print-directory -C Tests/C LIBRARY_DIR=$(abspath $(LIBRARY_DIR)) PYTHON=$(PYTHON)

.PHONY: test-python
test-python: $(STAMPS)/package $(STAMPS)/demo $(STAMPS)/test $(STAMPS)/torch ## The package, the shared object, the examples, the README
	$(BIN)/python -m pytest

.PHONY: test-frameworks
test-frameworks: $(STAMPS)/package $(STAMPS)/test $(STAMPS)/torch $(STAMPS)/frameworks $(STAMPS)/peers ## PyTorch, TRL, JAX and the like on top of the package
	$(BIN)/mypy
	$(BIN)/python -m pytest bindings/python/tests/frameworks

.PHONY: test-hardening
test-hardening: $(LIBRARY) ## Every function at its edges: guard pages, overlaps, sizes, threads, fork, large
	$(MAKE) --no-print-directory -C Tests/Hardening LIBRARY_DIR=$(abspath $(LIBRARY_DIR))

.PHONY: test-sanitizers
test-sanitizers: $(SANITIZED) $(STAMPS)/sanitized-package $(STAMPS)/test $(STAMPS)/torch ## The C tests and the extension under the address and undefined-behaviour sanitizers
	$(MAKE) --no-print-directory -C Tests/C sanitized CC=$(CLANG) LIBRARY_DIR=$(abspath $(SANITIZED_DIR)) PYTHON=$(PYTHON)
	$(MAKE) --no-print-directory -C Tests/Hardening sanitized CC=$(CLANG) LIBRARY_DIR=$(abspath $(SANITIZED_DIR))
	$(call say,the extension)
	PYTHONPATH=build/python-sanitized LD_PRELOAD=$$($(CLANG) -print-file-name=libclang_rt.asan-$$(uname -m).so) \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1 PYTHONMALLOC=malloc \
	  $(BIN)/python -m pytest -p no:cacheprovider $(SANITIZED_TESTS:%=bindings/python/tests/test_%.py)

.PHONY: test-races
test-races: .build-races/library.stamp ## Threads and children of fork that call at once, under the thread sanitizer
	$(MAKE) --no-print-directory -C Tests/Hardening races CC=$(CLANG) LIBRARY_DIR=$(abspath $(RACES_DIR))

.PHONY: test-valgrind
test-valgrind: $(LIBRARY) ## The C tests and every function under memcheck, which knows no AVX-512
	$(MAKE) --no-print-directory -C Tests/C valgrind LIBRARY_DIR=$(abspath $(LIBRARY_DIR)) PYTHON=$(PYTHON)
	$(MAKE) --no-print-directory -C Tests/Hardening valgrind LIBRARY_DIR=$(abspath $(LIBRARY_DIR))

.PHONY: fuzz
fuzz: $(SANITIZED) ## A fuzzer for each family of functions (FUZZ_SECONDS=n for each, FUZZ_SEED=0 for new calls)
	$(MAKE) --no-print-directory -C Tests/Hardening fuzz CC=$(CLANG) LIBRARY_DIR=$(abspath $(SANITIZED_DIR))

.PHONY: test-exhaustive
test-exhaustive: ## The elementary functions over every float (EVERY=n: over every n-th)
	swift build --quiet -c release --product exhaustive
	.build/release/exhaustive $(EVERY)

.PHONY: test-reproducible
test-reproducible: $(LIBRARY) ## A clean build in another folder gives the same bytes
	MAKEFLAGS= tools/check-reproducible.sh

.PHONY: test-wheel
test-wheel: wheel ## The wheel in an environment of its own, without Swift
	tools/check-wheel.sh $(PYTHON) build/wheel/*.whl

.PHONY: test-arm64
test-arm64: $(LIBRARY) ## The arm64 build under qemu: the C tests, and the same bits
	tools/build-arm64.sh .build-arm64
	$(MAKE) --no-print-directory -C Tests/C arm64 LIBRARY_DIR=$(abspath .build-arm64) PYTHON=$(PYTHON)

.PHONY: lint
lint: $(STAMPS)/lint $(STAMPS)/torch ## Check every formatter's and linter's opinion
	$(call say,swift format)
	swift format lint --strict --parallel $(SWIFT_FILES)
	$(call say,clang-format)
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(call say,clang-tidy)
	$(MAKE) --silent -C Tests/C golden BUILD=../../build/lint PYTHON=$(PYTHON)
	$(call tidy,$(wildcard Tests/C/*.c),-std=c11 -DREAL_BITS=64 -Iinclude -Ibuild/lint)
	$(call tidy,$(wildcard Tests/Hardening/*.c),-std=c11 -DDTYPE=f32 -DFAMILY=\"pairs\" -Iinclude)
	$(call tidy,$(wildcard Tests/C/*.cpp),-std=c++17 -Iinclude)
	$(call tidy,$(wildcard Tests/Cpp/*.cpp),-std=c++20 -Iinclude)
	$(call tidy,$(wildcard examples/c/*.c),-std=c11 -Iinclude)
	$(call tidy,$(wildcard examples/cpp/*.cpp),-std=c++20 -Iinclude)
	$(call tidy,$(wildcard Sources/C*/*.c),-std=gnu11 -ISources/CPlatform/include -ISources/CKernelChoice/include)
	$(call tidy,$(wildcard bindings/python/src/*.c bindings/python/src/xla/*.c),-std=c11 -DPy_LIMITED_API=0x030B0000 -Iinclude $(PYTHON_INCLUDES))
	$(call say,ruff)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(call say,mypy)
	$(BIN)/mypy
	$(call say,shellcheck)
	$(BIN)/shellcheck .ci/run $(wildcard tools/*.sh packaging/*.sh)

.PHONY: format
format: $(STAMPS)/lint ## Rewrite the sources as the formatters want them
	swift format --in-place --parallel $(SWIFT_FILES)
	$(BIN)/clang-format -i $(C_FILES)
	$(BIN)/ruff check --quiet --fix --select I .
	$(BIN)/ruff format --quiet .

##@ Housekeeping

.PHONY: abi
abi: ## Write the binary interface anew, which tests compare with: before a release of another ABI version alone
	tools/abi.sh dump include/swiftdpo.h Tests/ABI/libswiftdpo.abi

.PHONY: environment
environment: $(patsubst %,$(STAMPS)/%,lint test torch demo wheel) ## Install into .venv what tests need besides the package and the frameworks

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf .build build .venv* bindings/python/build bindings/python/*.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' Makefile

# SwiftPM names the file for the linker; programs look for the SONAME.
$(LIBRARY): $(LIBRARY_FILES) packaging/static-library.sh
	@command -v swift > /dev/null || { echo "No swift on the PATH: install Swift 6.3 or newer, https://swift.org/install"; exit 1; }
	swift build --configuration release --product swiftdpo
	ln -sf libswiftdpo.so $(LIBRARY_DIR)/libswiftdpo.so.0
	packaging/static-library.sh $(LIBRARY_DIR) $(LIBRARY_DIR)/libswiftdpo.a
	touch $@

# The library that sanitizers and fuzzers run, and the extension over it. Their compiler is the Swift toolchain's clang.
$(SANITIZED): SANITIZER := address
.build-races/library.stamp: SANITIZER := thread
$(SANITIZED) .build-races/library.stamp: $(LIBRARY_FILES)
	SWIFTDPO_SANITIZED=$(SANITIZER) swift build --configuration release --product swiftdpo --scratch-path $(@D)
	ln -sf libswiftdpo.so $(@D)/release/libswiftdpo.so.0
	touch $@

$(STAMPS)/sanitized-package: $(SANITIZED) $(BINDING_FILES) | $(STAMPS)/venv
	CC=$(CLANG) LDSHARED="$(CLANG) -shared" SWIFTDPO_SANITIZE=address,undefined \
	  SWIFTDPO_LIBRARY_DIR=$(abspath $(SANITIZED_DIR)) \
	  $(PIP) --constraint requirements/test.txt --no-deps --upgrade --target build/python-sanitized ./bindings/python
	touch $@

$(STAMPS)/venv:
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)
	touch $@

$(STAMPS)/package: $(LIBRARY) $(BINDING_FILES) | $(STAMPS)/venv
	$(PIP) --constraint requirements/test.txt ./bindings/python
	touch $@

$(STAMPS)/demo: examples/requirements.txt | $(STAMPS)/venv
	$(PIP) --requirement $<
	touch $@

$(STAMPS)/frameworks: requirements/frameworks.txt $(STAMPS)/torch $(STAMPS)/liger
	$(PIP) --requirement $<
	touch $@

# Liger's chunked losses run without the triton that the package asks for.
$(STAMPS)/liger: Makefile | $(STAMPS)/venv
	$(PIP) --no-deps liger-kernel==0.8.5
	touch $@

# Libraries of which the tests run a file each, without what they train models with.
$(STAMPS)/peers: requirements/peers.txt $(STAMPS)/torch | $(STAMPS)/venv
	$(PIP) --no-deps --requirement $<
	touch $@

$(STAMPS)/%: requirements/%.txt | $(STAMPS)/venv
	$(PIP) --requirement $<
	touch $@

# Tests and mypy need no more than the build for CPUs; where that one is not to be had, the default build does.
$(STAMPS)/torch: Makefile | $(STAMPS)/venv
	$(PIP) "$(TORCH)+cpu" || { echo "No CPU build of $(TORCH) to be had: installing the default one, which is larger"; $(PIP) "$(TORCH)"; }
	touch $@
