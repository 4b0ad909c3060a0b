# Needs Python >= 3.11, make and a C compiler. Every target may be run again, also after an interruption.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Compiled afterwards, on all cores; some packages have files that are no Python of this version.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
export PYTHONDONTWRITEBYTECODE=

# Without PYTHON= an environment that is already there keeps its Python.
KEPT := $(if $(filter file,$(origin PYTHON)),$(patsubst $(VENV)/.python-%,%,$(wildcard $(VENV)/.python-*)))
VERSION := $(or $(KEPT),$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null))
READY := $(VENV)/.python-$(VERSION)
# In CI the tests also compare with other libraries.
TESTS := $(VENV)/.test$(if $(filter-out 0 false,$(CI)),-peers)

# What mlpx and its extras need, and nothing of the tests: what a user gets.
RELEASE := build/release

# What the native engine is compiled from; an editable installation compiles it in place.
LIBRARY := $(wildcard src/mlpx/engines/native/c/*) src/mlpx/engines/formulas.h

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test test-quick test-slow test-oldest test-arm fuzz mutate coverage lint audit sbom bench bench-peers clean \
	check-python

help: ## show this list
	@echo "make TARGET [PYTHON=python3.12]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

run: $(VENV)/.run ## train a digit classifier; writes runs/digits/
	$(BIN)/mlpx train digits --out runs/digits

# As many processes as there are cores; what is marked with an xdist_group stays in one of them.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadgroup

test: $(TESTS) ## run the tests
	$(PYTEST) -m "not slow"

# A file or two of each package.
QUICK := backend/arrays backend/backend benchmark/statistics cli/rows data/idx engines/cuda/graphs engines/native/native \
	estimators/estimators kernels/activations kernels/batches kernels/initializers kernels/losses layers/layers \
	metrics/metrics mlp network/checkpoint optimizers/optimizers program/gradients program/gradients_crossed \
	schedules/schedules training/callbacks training/training
test-quick: $(TESTS) ## run a file or two of tests of each package
	$(PYTEST) -m "not slow" $(foreach name,$(QUICK),tests/$(dir $(name))test_$(notdir $(name)).py)

test-slow: $(TESTS) ## run the long tests
	$(PYTEST) -m slow

# The lower bounds of pyproject.toml, or the oldest that has a wheel for this Python. Old releases may use what
# today's releases of other packages deprecate. There are no peers, so some tests are skipped, in CI too.
OLDEST := .venv-oldest
test-oldest: $(OLDEST)/.test ## the tests with the oldest dependencies that pyproject.toml allows
	CI= $(subst $(BIN),$(OLDEST)/bin,$(PYTEST)) -m "not slow" -W ignore::DeprecationWarning

test-arm: $(TESTS) ## the native engine's tests on an emulated aarch64; needs Debian
	.ci/arm

# What is found ends it; its input is then in .fuzz/, and is tried again by naming it in place of the corpus.
FUZZ := model checkpoint config history npz idx
FUZZ_SECONDS := 60
fuzz: $(VENV)/.fuzz ## spoilt files for each reader, for FUZZ_SECONDS=60 each
	@mkdir -p .fuzz
	@set -e; for format in $(FUZZ); do echo "=== $$format"; $(BIN)/python tests/fuzz/target.py $$format \
		.fuzz/$$format -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=.fuzz/$$format- -print_final_stats=1; done

mutate: $(TESTS) ## how many of 300 changes to the sources the tests notice; an hour
	$(BIN)/python tests/support/mutation --sample 300 --jobs 2

coverage: $(TESTS) ## the statements and branches of the sources that no test executes
	$(BIN)/python tests/support/mutation --coverage --jobs 2

lint: $(VENV)/.dev ## style, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(RELEASE)/.ready ## known vulnerabilities of what mlpx depends on; asks the package index
	$(BIN)/python .ci/audit $(RELEASE)/lib/python*/site-packages

sbom: $(RELEASE)/.ready ## build/sbom.json: a CycloneDX bill of what mlpx depends on
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
		--output-file build/sbom.json $(RELEASE)

bench: $(TESTS) ## a short run of the benchmarks
	$(BIN)/mlpx bench --quick --workload mnist,tabular
	$(BIN)/python -m pytest bench/bench_*.py -p no:cacheprovider --benchmark-max-time=0.1 --benchmark-min-rounds=3

bench-peers: $(VENV)/.test-peers ## the speed of PyTorch, JAX, Keras, ... beside ours; writes runs/bench/
	$(BIN)/mlpx bench --workload mnist,tabular,wide --peers all --accuracy-seconds 20 --out runs/bench

clean: ## remove what make, the build and the tests made; runs/ stays
	rm -rf $(VENV) $(OLDEST) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache \
		.hypothesis .benchmarks .baseline .fuzz src/mlpx/engines/native/_native*.so
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written after its step succeeded, so an interrupted step is done again.
$(VENV)/.run: EXTRAS = sklearn,plot
$(VENV)/.test: EXTRAS = test
$(VENV)/.test-peers: EXTRAS = test,peers
$(VENV)/.dev: EXTRAS = dev
$(VENV)/.fuzz: EXTRAS = test,fuzz
$(VENV)/.run $(VENV)/.test $(VENV)/.test-peers $(VENV)/.dev $(VENV)/.fuzz: $(READY) pyproject.toml setup.py $(LIBRARY)
	@echo "Installing mlpx[$(EXTRAS)] into $(VENV); this takes about a minute."
	$(PIP) --editable '.[$(EXTRAS)]'
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

UV := $(BIN)/uv pip install --quiet
$(OLDEST)/.test: $(VENV)/.dev pyproject.toml setup.py $(LIBRARY)
	@echo "Installing the oldest dependencies of mlpx[test] into $(OLDEST); this takes about a minute."
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(OLDEST)
	$(UV) --python $(OLDEST) --resolution lowest-direct --only-binary :all: --editable '.[test]'
	@touch $@

$(RELEASE)/.ready: $(VENV)/.dev pyproject.toml
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(RELEASE)
	$(UV) --python $(RELEASE) --requirements pyproject.toml --extra all
	@touch $@

$(READY): | check-python
	@echo "Making $(VENV) with Python $(VERSION) ($(PYTHON))."
	@$(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; \
	on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

check-python:
	@[ -n "$(VERSION)" ] || { echo "there is no '$(PYTHON)'; name a Python >= 3.11: make PYTHON=python3.12" >&2; exit 1; }
	@$(if $(KEPT),:,$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))') || { echo "$(PYTHON) is \
	Python $(VERSION); mlpx needs >= 3.11: make PYTHON=python3.12" >&2; exit 1; }
