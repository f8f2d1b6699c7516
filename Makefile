# make run: everything, from a bare checkout to a colorizer in service. make test: the proof.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: setup data run test test-slow faults faults-killed faults-others lint images images-check k8s-check bench audit sbom clean

setup: .venv/ready

# uv installs what the lock names, by hash; pip fetches uv itself, by hash too.
.venv/ready: requirements.txt requirements-uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "error: Python 3.11 is needed; name it with make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "error: Python's venv module is missing; install it (Debian: apt install python3-venv)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.txt
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes --compile-bytecode requirements.txt requirements-uv.txt
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Brings the photographs when they are missing; leaves those alone that you changed.
data: setup
	@$(BIN)/colorize data version

run: setup
	$(BIN)/colorize run --recipe demo

# In two processes of one thread each; a file's tests stay together, for some tell one story.
test: setup data
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: setup data
	$(BIN)/python -m pytest -m slow

# A real local run, broken in every way of docs/operate/reliability.md; as root also with full disks.
faults: setup data
	@$(MAKE) --jobs 2 --output-sync faults-killed faults-others

faults-killed:
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults -s tests/faults/test_killed.py

faults-others:
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults -n 2 --dist loadfile tests/faults --ignore tests/faults/test_killed.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/colorize compile --check

# The manifests: rendered, held against the schemas of three Kubernetes minors and against rules of our own.
k8s-check: setup
	$(BIN)/python -m k8s.check

# The container images, tagged by commit; with REGISTRY=ghcr.io/acme they are pushed and their digests written down.
images: setup
	$(BIN)/colorize images build $(if $(REGISTRY),--push $(REGISTRY))
	$(BIN)/colorize compile

# The same images from a base made here, and the graph in them: as root, with podman, runc and debootstrap; 30 GB of disk.
images-check: setup data
	$(BIN)/python -m pytest -m images tests/images

# How fast, beside the figures last committed: eleven minutes on two quiet cores.
bench: setup data
	$(BIN)/python -m benchmarks speed

# The tools of the next two have a lock and an environment of their own.
AUDIT := .venv/audit

# Known vulnerabilities of all that is locked, from the package index's advisories; fails where that cannot be asked.
# docs/operate/security.md says why each ignored one does no harm here.
audit: $(AUDIT)/ready
	$(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		--ignore-vuln CVE-2025-69872 $(patsubst %,-r %,$(wildcard requirements*.txt))

# A bill of materials (CycloneDX) of the environment: names, versions, licences, and what requires what.
sbom: $(AUDIT)/ready
	mkdir -p outputs
	$(AUDIT)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file outputs/sbom.json $(BIN)/python

$(AUDIT)/ready: requirements-audit.txt .venv/ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(AUDIT)
	$(BIN)/uv pip sync --quiet --python $(AUDIT)/bin/python --require-hashes requirements-audit.txt
	@touch $@

clean:
	rm -rf workspace outputs
