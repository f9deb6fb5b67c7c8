# keruta. `make` alone lists the targets.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
COMPILE := $(BIN)/python -m compileall -q keruta functions agent admin
PYTEST := $(BIN)/python -m pytest
SIDE_BY_SIDE := --dist=worksteal --numprocesses

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.PHONY: install
install: $(STAMP) ## everything that running and testing needs, into .venv

$(STAMP): requirements-dev.lock pyproject.toml keruta/local/prepare.sh
	keruta/local/prepare.sh $(VENV) $(PYTHON)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(COMPILE)
	@touch $@

.PHONY: run
run: $(STAMP) ## the whole system on this machine, with a first task on this repository; ONCE=1 ends after it
	@$(BIN)/keruta up --first-task $(if $(ONCE),--once)

.PHONY: lint
lint: $(STAMP) ## style, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

.PHONY: types
types: $(STAMP) ## strict types
	$(BIN)/mypy

# Tests and the many processes that they start read compiled code, whatever the surroundings say.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: check
check: $(STAMP) ## lint, types and unit tests, side by side: for every commit
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint types test-unit

.PHONY: test test-unit test-integration test-e2e test-faults test-browser test-cluster test-identity test-release
test: $(STAMP) ## every check and test, and what each part took beside its budget
	@tests/prepare.sh
	@$(BIN)/python -m tests.support.coding_agents || echo "SKIPPED LOUDLY: coding agents could not be installed" >&2
	@$(COMPILE) tests
	@$(BIN)/python -m tests.parts
test-unit: $(STAMP) ## pure parts
	$(PYTEST) tests/unit
test-integration: $(STAMP) ## each part on real servers: mongod, git, functions-framework
	$(PYTEST) $(SIDE_BY_SIDE)=3 tests/integration
test-e2e: $(STAMP) ## the whole system on one machine
	$(PYTEST) $(SIDE_BY_SIDE)=2 tests/e2e
test-faults: $(STAMP) ## the whole system, while parts of it are killed
	$(PYTEST) $(SIDE_BY_SIDE)=2 tests/faults
test-browser: $(STAMP) ## the web admin in a real browser, on the whole system on one machine
	$(PYTEST) $(SIDE_BY_SIDE)=2 tests/browser
test-cluster: $(STAMP) ## the whole system on a real cluster, where the lab is
	$(PYTEST) tests/cluster

test-identity: $(STAMP) ## the whole system with a real Keycloak, where the lab is
	$(PYTEST) tests/identity

test-release: $(STAMP) ## what takes too long for each change: long histories of tasks, README's trial on a cluster, a lost node, three members of MongoDB, a large file
	$(PYTEST) -m release tests/integration tests/faults tests/cluster

.PHONY: mutants
mutants: $(STAMP) ## guards that no test misses: each is changed, and the tests concerned must notice
	$(BIN)/python -m tests.mutants

.PHONY: mutants-unit
mutants-unit: $(STAMP) ## how many mutants of keruta/domain and keruta/services the unit tests alone notice; SAMPLE=30 of each module
	$(BIN)/python -m tests.mutants --unit $(if $(SAMPLE),--sample $(SAMPLE))

.PHONY: images
images: ## the images keruta-functions and keruta-agent, by buildah, podman or docker; TAG=… for their tag, PREFIX=… for their names; CODING_AGENTS="claude-code codex aider" for theirs, too
	PREFIX=$(or $(PREFIX),dev.local/) knative/images.sh $(or $(TAG),$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml))

.PHONY: release
release: sbom ## into build/release: wheel, images, what they hold, manifests; PREFIX=… PUSH=1 pushes the images and pins their digests
	PREFIX=$(or $(PREFIX),dev.local/) TAG=$(TAG) PUSH=$(PUSH) $(BIN)/python knative/release.py

.PHONY: cluster-trial
cluster-trial: $(STAMP) ## keruta on the cluster that kubectl speaks to, for trying out, with a first task; see knative/trial.sh
	KERUTA=$(BIN)/keruta knative/trial.sh

.PHONY: sbom
sbom: $(STAMP) ## what the lock holds, and IMAGES="ARCHIVE…", as CycloneDX documents: build/sbom.json, build/sbom-images.json
	@mkdir -p build
	$(if $(IMAGES),$(BIN)/python knative/sbom.py $(IMAGES) > build/sbom-images.json)
	$(BIN)/python -W ignore::UserWarning $(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml \
	  --output-reproducible --of JSON -o build/sbom.json

.PHONY: bench
bench: $(STAMP) ## the figures, each beside its baseline, as a table and as bench/out.json
	$(COMPILE)
	$(BIN)/python -m bench

.PHONY: bench-check
bench-check: $(STAMP) ## the ratios of `make bench` beside those in bench/history/; OUT=FILE compares figures that are measured already
	$(if $(OUT),,@$(MAKE) --no-print-directory bench)
	@$(BIN)/python -m bench.gate $(OUT)

.PHONY: bench-paths
bench-paths: $(STAMP) ## a checkout of some directories of a large repository beside a full shallow clone
	$(BIN)/python -m bench.paths

.PHONY: bench-big-repository
bench-big-repository: $(STAMP) ## from submit to first line in a repository of 20,000 files, beside a shallow clone
	$(COMPILE)
	$(BIN)/python -m bench.big_repository

.PHONY: bench-scale
bench-scale: $(STAMP) ## simulated agents: 1,000 workers of ten slots, and 100,000 queued tasks in 1,000 lanes
	$(COMPILE)
	$(BIN)/python -m bench.scale

.PHONY: bench-cluster
bench-cluster: $(STAMP) ## the figures of a real cluster, where the lab is
	$(BIN)/python -m bench.cluster

.PHONY: screenshots
screenshots: $(STAMP) ## a picture of each page in both languages, into docs/pictures
	$(BIN)/python -m docs.screenshots

.PHONY: texts
texts: $(STAMP) ## every text, collected into keruta/locale for its Japanese
	$(BIN)/python -m docs.texts

.PHONY: docs
docs: $(STAMP) ## docs that are made from the code
	$(BIN)/python -m docs.generate

.PHONY: docs-site
docs-site: $(STAMP) ## the documentation as a site, into build/site; needs no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

.PHONY: lock
lock: ## the lock files anew, from pyproject.toml (needs uv)
	uv pip compile pyproject.toml -q --universal --no-header --no-annotate --no-emit-index-url --generate-hashes -o requirements.lock
	uv pip compile pyproject.toml -q --universal --no-header --no-annotate --no-emit-index-url --generate-hashes --extra mongod --extra mcp --extra dev -o requirements-dev.lock

.PHONY: clean
clean: ## what was made here goes, but for .keruta
	rm -rf $(VENV) build *.egg-info bench/out*.json
