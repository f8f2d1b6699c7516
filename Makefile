# Commands of this repository; `make help` lists them. `make run` needs nothing but Python, 3.11 to 3.14.
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUITS)' 2> /dev/null && echo $$python && exit; done; echo python3)
BIN := .venv/bin
# Two processes of one thread each; the tests of a file stay together, for some share a server.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup data run fix lint lock compile step test test-fast test-slow test-all test-exhaustive anywhere docs habits same \
	faults faults-killed faults-others images images-check k8s-check cluster-check bench audit sbom clean

help:  ## lists these commands
	@sed -nE 's/^([a-z0-9-]+):[^#]*## (.*)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-20s%s\n", $$1, $$2}'

setup: .venv/ready  ## makes .venv, the environment, from the lock

# An environment holds its own path, which it notes in `ready`: one that was moved or copied is made anew.
MOVED := $(shell if [ -s .venv/ready ]; then pwd -P | cmp -s - .venv/ready; \
	elif [ -e $(BIN)/activate ]; then grep -qF "$$(pwd -P)/.venv" $(BIN)/activate; fi || echo moved)
$(if $(MOVED),$(eval .venv/ready: FORCE))
FORCE:

# uv installs what the lock names, by hash; pip fetches uv itself, by hash too.
.venv/ready: requirements.txt requirements-uv.txt pyproject.toml
	@"$(PYTHON)" -c '$(SUITS)' || \
		{ echo "error: Python 3.11 to 3.14 is needed; name it with make PYTHON=/path/to/python3.13"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || \
		{ echo "error: Python's venv module is missing; install it (Debian: apt install python3-venv)"; exit 1; }
	$(if $(MOVED),rm -rf .venv)
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.txt
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes --compile-bytecode requirements.txt requirements-uv.txt
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation -e .
	@pwd -P > $@

data: setup  ## brings the photographs if they are missing; keeps your changes
	@$(BIN)/colorize data version

run: setup  ## retrains on this machine with recipe demo (5 minutes)
	$(BIN)/colorize run --recipe demo

fix: setup  ## formats, mends what ruff can mend, writes the generated files anew
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/colorize compile

lint: setup  ## checks style, types, import contracts and generated files (1 minute)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/colorize compile --check

# What each group holds, of the files in requirements/. All locks name the same versions: each follows the whole one.
serve := base serve
cluster := base cluster
run := base serve cluster run
RESOLVE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-annotate --no-header

lock: .venv/ready  ## renews the locks from requirements/*.in; UPGRADE=NAME moves a package to its newest release
	$(RESOLVE) $(addprefix --upgrade-package ,$(UPGRADE)) $(sort $(wildcard requirements/*.in)) --output-file requirements.txt
	$(RESOLVE) $(addprefix --upgrade-package ,$(UPGRADE)) requirements-audit.in --output-file requirements-audit.txt
	$(foreach group,serve cluster run,$(RESOLVE) $($(group):%=requirements/%.in) --constraints requirements.txt \
		--output-file requirements/$(group).txt && ) true

compile: setup  ## writes the generated files: the compiled pipeline, dvc.yaml, the table of steps
	$(BIN)/colorize compile

step: setup  ## makes the folder of a new step from a template: make step NAME=toy
	@case "$(NAME)" in ""|*[!a-z]*) echo "error: write the name in small letters: make step NAME=toy"; exit 2;; esac
	@mkdir components/$(NAME)
	@class=$$($(BIN)/python -c 'print("$(NAME)".title())'); for file in pipeline/new_step/*.py.in; do \
		sed -e "s/@name@/$(NAME)/g" -e "s/@Name@/$$class/g" $$file > components/$(NAME)/$$(basename $$file .in); done
	@echo "components/$(NAME) is made. Call it in pipeline/graph.py, give it a section in params.yaml: 'at_least: 1';"
	@echo "then run colorize compile."

test: setup data  ## runs the tests of every day (10 minutes)
	$(PYTEST) $(PARALLEL)

test-fast: setup data  ## runs the tests of the model and the cheapest of the steps (2 minutes)
	$(PYTEST) $(PARALLEL) tests/model tests/components/preprocess tests/components/choose tests/components/inspect

test-slow: setup data  ## runs the tests that make test leaves out: killed processes, servers, DVC (20 minutes)
	$(PYTEST) $(PARALLEL) -m slow

test-all: test test-slow  ## runs what CI runs

test-exhaustive: setup data  ## runs the long matrices: every request of a promotion, 20,000 mutated files (1 hour)
	$(PYTEST) $(PARALLEL) -m exhaustive

anywhere: setup data  ## runs the tests of odd places: paths, moved folders, links, read-only checkouts (8 minutes)
	$(PYTEST) $(PARALLEL) -m "slow or not slow" tests/pipeline/local/test_odd_places.py tests/pipeline/data/test_odd_folders.py tests/pipeline/data/test_pull.py \
		tests/components/shared/mlflow/test_sqlite.py tests/components/shared/machine/test_code.py tests/test_moved_environment.py

docs: setup data  ## runs the commands of the docs and checks their links and names
	$(PYTEST) -m "slow or not slow" tests/test_docs.py

habits: setup  ## checks the repository's files: sizes, trailing spaces, keys, commands that the habits name
	$(PYTEST) tests/test_habits.py

same: setup  ## trains with the working tree and with BASE (default: the last commit), compares the results bit by bit
	$(BIN)/python -m tests.support.same $(BASE)

# As root also with full disks.
faults: setup data  ## breaks a real local run in every way of docs/operate/reliability.md
	@$(MAKE) --jobs 2 --output-sync faults-killed faults-others

faults-killed:
	$(PYTEST) -m faults -s tests/faults/test_killed.py

faults-others:
	$(PYTEST) -m faults -n 2 --dist loadfile tests/faults --ignore tests/faults/test_killed.py

k8s-check: setup  ## renders the manifests and checks them against schemas and our rules
	$(BIN)/python -m k8s.check

# The cluster of KUBECONFIG needs Kubeflow Pipelines 2.17 and the images; ARGS=--collect-only lists the tests without one.
cluster-check: setup data  ## follows docs/operate/cluster.md on a cluster, breaks runs, removes everything (45 minutes)
	$(PYTEST) -vv -m cluster --durations=0 tests/cluster $(ARGS)

# With REGISTRY=ghcr.io/acme the images are pushed and their digests written to k8s/images. With TARGETS="cpu serving" only
# these are built, with NO_CACHE=1 without layers of earlier builds.
images: setup  ## builds the container images, tagged by commit
	$(BIN)/colorize images build $(if $(REGISTRY),--push $(REGISTRY)) $(addprefix --target ,$(TARGETS)) $(if $(NO_CACHE),--no-cache)
	$(BIN)/colorize compile

# Builds on a base made here, with podman, runc and debootstrap.
images-check: setup data  ## builds the images and runs the graph in them (as root; 30 GB of disk)
	$(PYTEST) -m images tests/images

bench: setup data  ## runs the speed benchmarks beside the figures last committed (11 minutes)
	$(BIN)/python -m benchmarks speed

# The tools of the next two have their own lock and environment.
AUDIT := .venv/audit

# Fails where the package index serves no advisories. docs/operate/security.md explains the ignored advisory.
audit: $(AUDIT)/ready  ## asks the package index for known vulnerabilities of the locked packages
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		--ignore-vuln CVE-2025-69872 $(patsubst %,-r %,$(wildcard requirements*.txt))

sbom: $(AUDIT)/ready  ## writes outputs/sbom.json: packages, versions and licences of .venv (CycloneDX)
	mkdir -p outputs
	$(AUDIT)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file outputs/sbom.json $(BIN)/python

$(AUDIT)/ready: requirements-audit.txt .venv/ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(AUDIT)
	$(BIN)/uv pip sync --quiet --python $(AUDIT)/bin/python --require-hashes requirements-audit.txt
	@touch $@

clean:  ## deletes workspace/ and outputs/, with all trained models in them
	rm -rf workspace outputs
