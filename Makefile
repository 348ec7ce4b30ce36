# Sallyport. `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
export PATH := $(PATH):/usr/sbin:/sbin
# Tests start agents and command lines a thousand times, also where programs may not keep what they compiled: it is compiled before.
COMPILE := $(PY) -m compileall -q -j 0 agent chalicelib cli infra app.py

.PHONY: help setup demo test crash check check-fast lint unit fuzz stress package bench regress golden clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## play the tour on this machine: embedded cloud, agent, real ssh (DEMO_ONCE=1 ends after it)
	@infra/steps/setup.sh demo
	@$(PY) -m infra.demo

test: ## run the tests (installs what they drive)
	@infra/steps/setup.sh test
	@$(COMPILE)
	$(PY) -m pytest -n 3 --maxschedchunk 1 -q -m "not crash"

crash: ## kill agents fifty times while people work, and take away their disk, cloud and network (two minutes, more for a soak)
	@infra/steps/setup.sh test
	$(PY) -m pytest -q -m crash tests/crash

fuzz: ## run the fuzzers for longer (a quarter of an hour; SEED=7 for other shell lines), and every property with new examples
	@infra/steps/setup.sh test
	SHELL_ORACLE_SEED=$${SEED:-20} SHELL_ORACLE_LINES=20000 GUARD_CUTS=5000 SSH_CUTS=5000 SSH_FUZZ=400 SFTP_FUZZ=200 FILES_FUZZ=3000 \
		$(PY) -m pytest -q tests/oracle/test_shell_against_bash.py tests/oracle/test_wider_shell_against_bash.py tests/oracle/test_launchers_against_bash.py \
		tests/unit/agent/core/shell/guard/test_cuts.py tests/unit/agent/protocols/ssh/test_files.py \
		tests/integration/ssh/test_cuts.py tests/integration/ssh/test_fuzz.py tests/integration/ssh/test_sftp_fuzz.py
	$(PY) -m pytest -n 3 -q --hypothesis-profile=explore -m "not servers" tests/unit

stress: ## type 3000 forbidden lines into every kind of guarded and locked shell, and count what ran (ten minutes; SEED=7 for others)
	@infra/steps/setup.sh test
	DENIED_LINES=3000 DENIED_SEED=$${SEED:-1} $(PY) -m pytest -q -s tests/integration/ssh/test_denied_often.py

check: lint test crash ## what CI runs: lint, types, import contracts, the tests (the package is one of them), and killed agents

check-fast: ## the part of check without servers, for while you work
	@infra/steps/setup.sh python
	@$(MAKE) --no-print-directory lint
	$(PY) -m pytest -n 3 -q -m "not servers"

lint: ## format, ruff, mypy --strict, import contracts
	@infra/steps/setup.sh python
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	PYTHONPATH=. .venv/bin/lint-imports

package: ## build the Lambda package with chalice and prove that it is whole
	@infra/steps/setup.sh python
	$(PY) -m infra.steps.package

bench: ## measure against direct ssh on this machine (bench/README.md says how to read it)
	@infra/steps/setup.sh demo
	$(PY) -m bench

regress: ## run PostgreSQL's own regression files, of the installed version, directly and through the gateway (20 minutes)
	@infra/steps/setup.sh test
	SALLYPORT_REGRESS=$$(infra/steps/regression-files.sh build/regress) \
		$(PY) -m pytest -q -o junit_family=xunit1 --junit-xml=build/regress/report.xml tests/integration/postgres/test_regression.py

golden: ## write the golden files again; review the diff
	@infra/steps/setup.sh test
	SALLYPORT_REGEN=1 $(PY) -m pytest -q -m "not servers" -k golden

clean: ## remove everything that was built
	rm -rf .venv build dist .demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
