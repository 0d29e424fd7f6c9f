# Every target does its own set-up: a fresh machine needs Python 3.11 or newer, and make.
.DEFAULT_GOAL := help
.PHONY: help setup demo test drills check lint format docs bench chaos images up deploy-check observe-check clean
B := .venv/bin

help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1  \2/p' $(MAKEFILE_LIST) | while read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: .venv/.ready  ## make .venv with the pinned dependencies of uv.lock (fetches uv if absent)

# the stamps: scripts/setup runs again only when what it installs has changed; it takes away what the group has not
.venv/.ready: uv.lock scripts/setup $(wildcard pyproject.toml */pyproject.toml */*/pyproject.toml)
	@sh scripts/setup
	@touch $@
.venv/.bench: .venv/.ready
	@sh scripts/setup --group bench
	@rm -f .venv/.deploy
	@touch $@
.venv/.deploy: .venv/.ready
	@sh scripts/setup --group deploy
	@rm -f .venv/.bench
	@touch $@

demo: .venv/.ready  ## real images, three models and a crowd in three stages, and how good the answers are: out/digits/
	$(B)/manyhands run examples/digits/cascade.yaml --out out/digits
	@$(B)/python examples/digits/compare.py out/digits/answers.csv

# three at a time: half of their time is waiting for processes
test: .venv/.ready  ## every test but the drills: unit, contract, broker, fault, e2e (finds or installs RabbitMQ, PostgreSQL)
	$(B)/pytest -n 3 --dist loadfile

# what make test has no time for: most faults by their names, poison, restores, upgrades, rotations
drills: .venv/.ready  ## the tests that take minutes: faults by their names, poison, restores, upgrades, rotations (10 min)
	$(B)/pytest -n 3 --dist loadfile -m drill

check: lint  ## what lint looks at, unit and contract tests: what you run before each commit
	$(B)/pytest -q -n 3 --dist loadfile tests/unit tests/contract

lint: .venv/.ready  ## format, style, types, import contracts, docs and manifests in sync with the code
	$(B)/ruff format --check
	$(B)/ruff check
	$(B)/mypy
	$(B)/lint-imports
	$(B)/python scripts/docs.py --check
	$(B)/python scripts/k8s.py users --check
	$(B)/python -m scripts.dashboards --check

format: .venv/.ready  ## format the code and mend what the linter can
	$(B)/ruff check --fix-only
	$(B)/ruff format

docs: .venv/.ready  ## write what is generated: pages of docs/, the broker's users in deploy/k8s, dashboards
	$(B)/python scripts/docs.py
	$(B)/python scripts/k8s.py users
	$(B)/python -m scripts.dashboards

bench: .venv/.bench  ## measure: benchmarks/results.json and docs/performance.md
	$(B)/python -m benchmarks

# for instance: make chaos CHAOS_SECONDS=600 CHAOS_TASKS=1000000 CHAOS_SEED=7
CHAOS_SECONDS ?= 60
CHAOS_TASKS ?= 20000
CHAOS_SEED ?= 1
chaos: .venv/.ready  ## a job while everything is killed, stopped and cut at random: one line of JSON; CHAOS_SECONDS, _TASKS, _SEED
	@$(B)/python -m tests.fault.chaos --seconds $(CHAOS_SECONDS) --tasks $(CHAOS_TASKS) --seed $(CHAOS_SEED)

deploy-check: .venv/.deploy  ## render deploy/k8s in every combination; schemas, policies, alert rules (needs kubectl or kustomize)
	$(B)/pytest -q $(wildcard tests/deploy/test_manifests.py tests/deploy/test_rules.py)
	@sh scripts/policies

images:  ## the container images: producer, worker, aggregator, cli (needs Docker)
	@sh scripts/images

up:  ## a whole installation in Docker: passwords, images, docker compose up; docs/compose.md
	@sh scripts/up

observe-check: .venv/.deploy  ## every query of dashboards and alerts, on live services and a real Prometheus (3 min)
	$(B)/python -m scripts.dashboards --check
	$(B)/pytest -q tests/observe

clean:  ## remove what these targets made
	rm -rf .venv .venv-uv .venv-checkov out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
