# Cuptime: every command of the project. Each sets up what it needs and remembers it, so a second run takes seconds.
#
# What is built, and what builds it again:
#   .venv                              requirements/*.txt           (hashed; `make lock` compiles them from the .in files)
#   python/cuptime/_gen/               proto/**/*.proto             (build_backend/protos.py; not committed)
#   python/cuptime/_core.abi3.so       rust_core/**, Cargo.lock, proto (scripts/build_ext.sh; not committed)
# Generated messages are imported by proto folder:  from cuptime._gen.cuptime.v1 import task_service_pb2
# The package is used where it stands (a .pth file in .venv); nothing is copied and nothing needs a re-install.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

# Arguments for the program behind a command:  make test ARGS="-k wheel"
ARGS ?=
# The interpreter that .venv is made from.
PYTHON ?= python3

VENV := .venv
PY := $(VENV)/bin/python
STAMPS := $(VENV)/.stamps
PIP := $(PY) -m pip --disable-pip-version-check --quiet install --no-input
GEN := python/cuptime/_gen/__init__.py
SO := python/cuptime/_core.abi3.so
PROTO_SOURCES := $(shell find proto -name '*.proto' 2>/dev/null)
RUST_SOURCES := $(shell find rust_core -name '*.rs' -not -path '*/tests/*' -not -path '*/benches/*') \
                $(wildcard rust_core/*/Cargo.toml rust_core/*/build.rs) Cargo.toml Cargo.lock

# ---- for people -----------------------------------------------------------------------------------------------------

.PHONY: help
help: ## This text.
	@printf '%s\n' 'Cuptime. Start with:' \
	  '' \
	  '  make run      a seeded campus morning against the real service, with an audit at the end' \
	  '  make test     every test, against real servers; the first run also sets everything up (minutes)' \
	  '' 'All commands:'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'
	@printf '%s\n' '' 'Arguments go through ARGS:  make test ARGS="-k wheel -x"   make serve ARGS="--help"' \
	  'Needs: Python 3.11+, a Rust toolchain (1.83+) with a C linker, make, git. Everything else is fetched into .venv and target.'

.PHONY: run
run: setup ## A whole morning against the real service (ARGS="--help" shows what can be varied).
	@$(PY) -m cuptime.app.morning $(ARGS)

.PHONY: serve
serve: setup ## The server, in the foreground, with its data in ./var.
	@$(PY) -m cuptime.app.start serve $(ARGS)

.PHONY: test
test: setup $(STAMPS)/test ## Rust and Python tests, with real servers. ARGS goes to pytest.
	@echo '== cargo test'
	@cargo test --workspace --exclude cuptime-binding --profile thorough --quiet $(if $(CI),--locked)
	@echo '== pytest'
	@$(PY) -m pytest $(ARGS)

.PHONY: torture
torture: setup $(STAMPS)/test ## Hundreds of kills under load, and one audit after each campaign; minutes (CUPTIME_KILLS=200).
	@$(PY) -m pytest -m torture -s --timeout 1800 tests/torture $(ARGS)

.PHONY: bench-cron
bench-cron: setup $(STAMPS)/test $(STAMPS)/bench ## Cron beside its peers in Python and Rust; the first run builds the peers. ARGS="--help" says what can be left out.
	@PYTHONPATH=. $(PY) benches/cron.py $(ARGS)

.PHONY: check-calendar
check-calendar: $(STAMPS)/venv ## The legal calendar of China, day by day, against two packages in an environment of their own.
	@test -x build/calendars/bin/python || $(PYTHON) -m venv build/calendars
	@build/calendars/bin/pip --disable-pip-version-check install --quiet --require-hashes -r requirements/calendars.txt
	@build/calendars/bin/python scripts/check_calendar.py

.PHONY: torture-cron
torture-cron: setup $(STAMPS)/test ## 10,000 random cron expressions against the minute-by-minute oracle (CUPTIME_CRON_EXPRESSIONS, _SEED).
	@$(PY) -m pytest -m torture --timeout 3600 -s tests/unit/schedules/test_cron_oracle.py $(ARGS)

.PHONY: rules-campaign
rules-campaign: setup $(STAMPS)/test ## A million pairs of rule and order: index = scan = Google's CEL; the parser against any text.
	@PROPTEST_CASES=40000 cargo test -p cuptime-rules --profile thorough --test properties --test index
	@CUPTIME_RULE_PAIRS=1000000 $(PY) -m pytest -s --timeout 1800 tests/conformance/test_rules_against_google.py

.PHONY: bench-rules
bench-rules: setup $(STAMPS)/test $(STAMPS)/bench ## What an order costs against 1 to 100,000 rules, native and from Python, beside peers.
	@PYTHONPATH=. $(PY) benches/rules.py $(ARGS)

.PHONY: bench
bench: setup $(STAMPS)/test $(STAMPS)/bench ## All benches, ours beside the peers; figures as JSON in benches/out.
	@scripts/run_benches.sh $(ARGS)

.PHONY: bench-wheel
bench-wheel: setup ## The timing wheel beside its peers, in one table; the first run builds the peers. ARGS="--help" says what can be left out.
	@$(PY) benches/wheel.py $(ARGS)

.PHONY: torture-wheel
torture-wheel: ## The wheel against its oracles: ten million operations, then a billion (WHEEL_OPERATIONS=, WHEEL_SEED= for more).
	@cargo test -p cuptime-wheel --profile thorough $(if $(CI),--locked) -- --ignored --nocapture

.PHONY: lint
lint: setup $(STAMPS)/test $(STAMPS)/lint ## Style, types, contracts and layers, of Python, Rust and protos.
	@scripts/lint.sh $(ARGS)

.PHONY: format
format: $(STAMPS)/lint ## Formats Python and Rust in place.
	@$(VENV)/bin/ruff check --fix --quiet . || true
	@$(VENV)/bin/ruff format .
	@cargo fmt --all

# ---- set-up ---------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(STAMPS)/runtime $(STAMPS)/importable proto ext ## Everything needed to run: .venv, generated code, the Rust core.

.PHONY: proto
proto: $(GEN) ## The generated messages and stubs (only when a .proto changed).

.PHONY: ext
ext: $(SO) ## The Rust core, release build, in place (only when a Rust source changed).

$(STAMPS)/venv:
	@scripts/check_tools.sh $(PYTHON)
	@echo '== creating $(VENV)'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# One lock for all installs: two terminals must not install into one .venv at the same time.
define install
	@echo '== installing requirements/$(1).txt'
	@flock $(STAMPS)/.lock $(PIP) --require-hashes -r requirements/$(1).txt
	@touch $@
endef

$(STAMPS)/build: requirements/build.txt | $(STAMPS)/venv
	$(call install,build)
$(STAMPS)/runtime: requirements/runtime.txt $(STAMPS)/build
	$(call install,runtime)
$(STAMPS)/test: requirements/test.txt $(STAMPS)/runtime
	$(call install,test)
$(STAMPS)/lint: requirements/lint.txt $(STAMPS)/test
	$(call install,lint)
$(STAMPS)/bench: requirements/bench.txt $(STAMPS)/test
	$(call install,bench)

$(STAMPS)/importable: scripts/make_importable.py | $(STAMPS)/venv
	@$(PY) $<
	@touch $@

$(GEN): $(PROTO_SOURCES) build_backend/protos.py $(STAMPS)/build
	@flock $(STAMPS)/.proto $(PY) build_backend/protos.py
	@touch $@

$(SO): $(RUST_SOURCES) $(PROTO_SOURCES) scripts/build_ext.sh | $(STAMPS)/venv
	@scripts/build_ext.sh $(PY)

# ---- for maintainers ------------------------------------------------------------------------------------------------

.PHONY: wheel
wheel: setup ## sdist and wheel into dist/.
	@$(PY) scripts/build_wheel.py

.PHONY: lock
lock: $(STAMPS)/lint ## Compiles requirements/*.in to hashed lock files for Linux, Python 3.11 and later.
	@scripts/lock.sh

.PHONY: clean
clean: ## Removes all that these commands made, except ./var (your data).
	rm -rf $(VENV) target build dist python/cuptime/_gen python/cuptime/_core.abi3.so benches/out
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find python tests benches build_backend scripts -name __pycache__ -type d -prune -exec rm -rf {} +
