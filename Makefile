# Every target does its own set-up: Python 3.11, make and git are all that is needed first.
SHELL := /bin/bash
UV := .tools/bin/uv
PROMTOOL := .tools/bin/promtool
HELM := .tools/helm/helm-4.2
HELM3 := .tools/helm/helm-3.17
KINDS := .tools/kinds/pins
RUN := $(UV) run --frozen --extra dev
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help setup format check lint types layers drift chart images unit test programs integration embedded e2e chaos test-vllm demo demo-down generate peers bench profile simulate clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

$(UV): uv.lock tools/install_uv.py
	@$(PYTHON) tools/install_uv.py >/dev/null && touch $(UV)

$(PROMTOOL): tools/install_prometheus.py
	@$(PYTHON) tools/install_prometheus.py >/dev/null && touch $(PROMTOOL)

$(HELM): tools/install_helm.py
	@$(PYTHON) tools/install_helm.py >/dev/null && touch $(HELM)

$(KINDS): tools/install_kinds.py
	@$(PYTHON) tools/install_kinds.py >/dev/null && touch $(KINDS)

setup: $(UV) ## Install everything into .venv
	@$(UV) sync --quiet --frozen --extra dev

format: setup ## Format the code and fix what ruff can fix
	@$(RUN) ruff format . && $(RUN) ruff check --fix .

lint: setup
	@$(RUN) ruff format --check . && $(RUN) ruff check .

types: setup
	@$(RUN) mypy && $(RUN) mypy tests tools charts

layers: setup
	@$(RUN) lint-imports

chart: setup $(HELM) ## Lint charts and Dockerfiles, and check what is rendered from the charts
	@for helm in $(HELM) $(HELM3); do \
	  $$helm lint --strict --quiet charts/llmjobs --set valkey.enabled=true && \
	  $$helm lint --strict --quiet charts/llmjobs-pool --set preset=vllm || exit 1; done
	@$(RUN) hadolint --failure-threshold warning Dockerfile.*
	@$(RUN) python tools/render_manifests.py --check

unit: setup $(HELM) $(PROMTOOL) ## Run the unit tests
	@$(RUN) pytest tests/unit -q

programs: setup ## Download or build the Kubernetes programs that tests and the stack run
	@$(RUN) python -m llmjobs_dev.binaries

integration: programs $(HELM) $(PROMTOOL) $(KINDS) ## Run the tests on real parts: API server, Valkey, Celery, scripted engine
	@$(RUN) pytest tests/integration -q

test: programs $(HELM) $(PROMTOOL) $(KINDS) ## Run every test, the embedded stack with the real model included
	@$(RUN) pytest tests -q

test-vllm: setup ## Run the tests on a real vLLM (installs it: 5 GB); not part of `make test`
	@$(RUN) python tools/install_vllm.py >/dev/null
	@$(RUN) pytest tests/vllm -q

demo: setup ## Start the whole stack on this machine and run the examples; leaves it running
	@$(RUN) llmjobs dev up --detach

demo-down: setup ## Stop the stack of `make demo`; its data stays
	@$(RUN) llmjobs dev down

embedded: programs ## Run the embedded stack end to end with the real model
	@$(RUN) pytest tests/e2e -q

e2e: setup $(HELM) $(KINDS) ## Run the scenarios on a cluster with real pods; as root (E2E="tests/cluster/test_upgrade.py")
	@PYTHONPATH=e2e $(RUN) python -m llmjobs_e2e build
	@$(RUN) pytest -q $(or $(E2E),tests/cluster)

peers: $(UV)
	@$(UV) sync --quiet --frozen --project bench/peers

bench: programs peers ## Measure everything, and write docs/benchmarks.md (BENCH="--only NAME --runs N")
	@PYTHONPATH=bench:tests/support $(RUN) python -m llmjobs_bench $(BENCH)

simulate: setup ## Simulate a day of a large pool, and write docs/simulation.md and its pictures
	@PYTHONPATH=bench $(RUN) python -m llmjobs_bench.simulation $(SIMULATE)

profile: setup ## Draw a flame graph of each role under load (PROFILE="--role worker --seconds 20")
	@PYTHONPATH=bench:tests/support $(RUN) python -m llmjobs_bench.profiling $(PROFILE)

chaos: programs ## Break everything, on purpose, and write docs/reliability.md (CHAOS="--only NAME --seed N")
	@PYTHONPATH=chaos:tests/support $(RUN) python -m llmjobs_chaos $(CHAOS)

images: $(UV) ## Build the images with docker, podman or buildah (IMAGES="api --base ...")
	@$(PYTHON) tools/build_images.py $(IMAGES)

generate: setup $(HELM) ## Write the CRDs, charts, dashboards, alerts, manifests and references from the code
	@PYTHONPATH=monitoring $(RUN) python tools/generate.py && $(RUN) python tools/render_manifests.py

drift: setup
	@PYTHONPATH=monitoring $(RUN) python tools/generate.py --check

check: lint types layers drift chart unit ## Everything that needs no server: format, lint, types, layers, charts, unit tests

clean: ## Remove what the build made (not the stack's data: make demo-down)
	@rm -rf .venv .tools dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
