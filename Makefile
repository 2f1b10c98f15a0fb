# The one-liners people and CI use. Everything they need is set up below the project.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.tools/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
SEED ?= 7
IN_TWO = -q -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo up test test-processes test-data test-all conformance chaos fuzz mutants check bench starter-model docs clean

demo: ## one model from data to three devices and back, ends with a table
	@.ci/setup demo
	@edgeops demo --seed $(SEED)

up: ## server, broker and three agents, until Ctrl-C
	@.ci/setup demo
	@edgeops up

# Compiled first, as by pip in an installed package: else each of the many processes of the tests compiles our modules again.
test: ## everything but what needs ../shared/data, takes minutes or starts many processes
	@.ci/setup check
	@python -m compileall -q edgeops device_agent fleet_server
	@python -m pytest $(IN_TWO) -m "not data and not long and not processes"

test-processes: ## agents, brokers and servers that are started, killed and started again; CI runs it, too
	@.ci/setup check
	@python -m compileall -q edgeops device_agent fleet_server
	@python -m pytest $(IN_TWO) -m "processes and not data and not long"

test-data: ## what needs the public research data (EDGEOPS_TEST_DATA or ../shared/data)
	@.ci/setup check
	@python -m pytest -q -m data

# The second run takes by itself those that stand on a database and do not run on both kinds anyway (tests/standing.py).
test-all: ## all tests, and once more on PostgreSQL what stands on a database
	@.ci/setup check
	@python -m pytest -q
	@EDGEOPS_TEST_DATABASE=postgresql python -m pytest -q tests/unit tests/contract tests/property

conformance: ## the public TUF conformance suite, from a checkout: TUF_CONFORMANCE=DIR
	@.ci/setup check
	@.ci/conformance

chaos: ## 300 kills of a small fleet in mid update: nothing may be lost (KILLS=, SEED=)
	@.ci/setup check
	@python -m tests.chaos --kills $(or $(KILLS),300) --seed $(SEED)

fuzz: ## every parser of what comes from outside, by coverage (SECONDS= for each, NAME= for one)
	@.ci/setup fuzz
	@python -m tests.fuzz --seconds $(or $(SECONDS),20) $(if $(NAME),--name $(NAME))

mutants: ## small faults in what decides: do the unit tests notice? goes on where it was (ROOM=, JOBS=)
	@.ci/setup check
	@python -m tests.mutants --jobs $(or $(JOBS),2) $(if $(ROOM),--room $(ROOM))

check: ## lint, types, module contracts, dependencies
	@.ci/setup check
	@ruff check . && ruff format --check .
	@mypy
	@lint-imports
	@deptry .

bench: ## figures, side by side in one run (NAME=row for one)
	@.ci/setup bench
	@python -m bench $(if $(NAME),--name $(NAME))

starter-model: ## the model that comes with the package, made again
	@.ci/setup check
	@python -m tests.ml.starter

docs: ## docs/cli.md from the commands themselves, docs/faults.md from the fault table, docs/states.md from the tables of rollouts
	@.ci/setup check
	@python docs/make_cli.py
	@python docs/make_faults.py
	@python docs/make_states.py

clean: ## forget the set-up
	rm -rf .venv .tools build *.egg-info
