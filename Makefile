# Everything a person types. Environments live in .venv, state in var; `make clean` removes the second.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Whose loop `make demo` runs: a name, or all for one after another; by default the first project. `make proof` proves all by default.
PROJECT ?=
PYTHON ?= $(shell command -v python3.11 || command -v python3)
export TIDEMILL_HOME ?= $(CURDIR)/var
# Without compiled bytecode every process of every stage would compile its imports anew.
unexport PYTHONDONTWRITEBYTECODE
export UV_PYTHON_DOWNLOADS := never
# Trust whom this machine trusts, as a proxy with a certificate of its own needs.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),true,false)

UV := .venv/tools/bin/uv
RUNNING := orchestrate jobs serve
ALL := $(RUNNING) test dev checkov
ready = $(1:%=.venv/%/.ready)
CODE := jobs dags bentos demo infra tests requirements

.PHONY: help demo test test-fast test-services test-slow test-lake test-images images faults simulate proof bench up down clean lint format environments lock

help:  ## Say what there is to make
	@grep -hE '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*##/\t/' | awk -F'\t' '{printf "  make %-14s%s\n", $$1, $$2}'

demo: .began  ## Set everything up, run the whole loop, print what happened; PROJECT=<name> or PROJECT=all
	@$(MAKE) .running
	@mkdir -p "$(TIDEMILL_HOME)/demo"
	@$(PYTHON) requirements/installed.py $$(($$(date +%s) - $$(cat .venv/began))) $(RUNNING) > "$(TIDEMILL_HOME)/demo/environments.json"
	@.venv/jobs/bin/python -m demo $(PROJECT)

test: environments lint test-fast test-services  ## Set everything up, run every check and test

test-fast: $(call ready,$(ALL))
	.venv/test/bin/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder -m "not services and not slow and not images"

test-slow: $(call ready,$(RUNNING) test)  ## Run the whole demo from nothing, twice, and beside it what takes minutes
	.venv/test/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m slow

faults: $(call ready,$(ALL))  ## Inject every fault of the registry: var/faults/faults.json, docs/faults.md
	.venv/test/bin/python -m tests.faults

test-services: $(call ready,$(ALL))
	.venv/test/bin/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m services

test-lake: $(call ready,$(ALL))  ## Run the stages' own tests with the lake on S3's API
	.venv/test/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --lake s3 -m "not slow" tests/data tests/monitoring tests/release tests/experiment/test_experiment.py tests/rollout/test_rollout.py tests/rollout/test_policies.py tests/rollout/test_promotion.py tests/test_stages_on_s3.py

test-images: $(call ready,test)  ## Build the container images as root and start every service in them
	.venv/test/bin/python -m pytest -q -m images

bench: $(call ready,jobs serve test bench bench_serving)  ## Measure side by side with the peers: var/bench/results.json, docs/performance.md
	.venv/test/bin/python -m tests.bench

simulate: $(call ready,test)  ## Count what the release decisions get wrong: docs/decisions.md
	.venv/test/bin/python -m tests.simulation
	.venv/test/bin/python -m tests.simulation.drift

proof: $(call ready,jobs serve test)  ## Run every bad candidate and good ones, of every project or PROJECT=<name>: docs/proof.md
	.venv/test/bin/python -m tests.proof $(addprefix --project ,$(filter-out all,$(PROJECT)))

images: $(call ready,test)  ## Build the container images without Docker, as root: buildah, debootstrap; var/images
	.venv/test/bin/python -m tests.containers.build "$(TIDEMILL_HOME)/images"

up: .running  ## Start every service, without the demo's data
	@.venv/jobs/bin/tidemill up

down:  ## Stop every service, and leave no process behind
	@if [ -x .venv/jobs/bin/tidemill ]; then .venv/jobs/bin/tidemill down; else echo "nothing runs: there are no environments yet"; fi

clean: down  ## Stop every service and remove all state; environments stay
	@[ "$(TIDEMILL_HOME)" = "$(CURDIR)/var" ] || [ ! -e "$(TIDEMILL_HOME)" ] || [ -e "$(TIDEMILL_HOME)/credentials.json" ] \
		|| { echo "$(TIDEMILL_HOME) does not look like a home of Tidemill; nothing was removed"; exit 1; }
	@rm -rf "$(TIDEMILL_HOME)" && echo "removed $(TIDEMILL_HOME)"

lint: $(call ready,orchestrate serve test dev)  ## Check style, types, SQL and Terraform
	.venv/dev/bin/ruff check $(CODE)
	.venv/dev/bin/ruff format --check $(CODE)
	.venv/dev/bin/mypy --python-executable .venv/test/bin/python
	.venv/dev/bin/mypy --python-executable .venv/serve/bin/python bentos
	MYPYPATH=dags .venv/dev/bin/mypy --python-executable .venv/orchestrate/bin/python dags
	.venv/dev/bin/sqlfluff lint -q dbt/models
	.venv/test/bin/python -m tests.infra.lint

format: $(call ready,dev)  ## Rewrite the code in the one style
	.venv/dev/bin/ruff check --fix $(CODE)
	.venv/dev/bin/ruff format $(CODE)

environments: $(call ready,$(ALL))  ## Make or refresh every environment from its pins

lock: .venv/tools/.ready  ## Resolve the pins of every environment anew
	@for group in orchestrate jobs serve dev checkov bench bench_serving; do echo "requirements/$$group.txt"; $(COMPILE) --group $$group -o requirements/$$group.txt; done
	@echo requirements/test.txt; $(COMPILE) --group jobs --group test -c requirements/jobs.txt -o requirements/test.txt
	@echo requirements/uv.txt; $(COMPILE) --group tools -o requirements/uv.txt

# No index address and no path of this machine goes into a pin file.
COMPILE = $(UV) pip compile -q --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: .began .running
.began:
	@mkdir -p .venv && date +%s > .venv/began

.running: $(call ready,$(RUNNING))
	@:

.venv/tools/.ready: requirements/uv.txt requirements/get_uv.py
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Tidemill needs Python 3.11 or newer as python3: apt-get install python3"; exit 1; }
	@$(PYTHON) requirements/get_uv.py .venv/tools
	@touch $@

# `jobs` and `test` have the package itself, installed in place, and with it the `tidemill` command.
.venv/%/.ready: requirements/%.txt requirements/openmp.py .venv/tools/.ready
	@echo "environment $*"
	@[ -x .venv/$*/bin/python ] || $(UV) venv -q -p $(PYTHON) .venv/$*
	@$(UV) pip sync -q --require-hashes -p .venv/$*/bin/python requirements/$*.txt
	@case $* in jobs|test) $(UV) pip install -q --no-deps -p .venv/$*/bin/python -e . ;; esac
	@case $* in jobs|serve|test|bench_serving) .venv/$*/bin/python requirements/openmp.py ;; esac
	@touch $@
