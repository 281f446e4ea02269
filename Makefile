# Everything runs in .venv, which any target makes first where it is missing or older than what it is made from.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.made
WORKERS ?= auto
SEEDS ?= 300
FIRST ?= 1

# Where install-systemd puts things, below DESTDIR; COMMAND is what the units run.
DESTDIR ?=
PREFIX ?= /usr/local
COMMAND ?= /opt/tracewatchd/bin/tracewatchd

.PHONY: help run test demo-archive campaign check format docs screenshots bench lock clean install-systemd

help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | column -t -s "$$(printf '\t')"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tracewatchd needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: $(STAMP) ## Start the daemon on an embedded Postgres; it watches ./data (a small sample is written where that is empty)
	@$(BIN)/python -m tracewatchd.cli.main sample --if-empty --runs 200 --seed 1 ./data
	@exec $(BIN)/tracewatchd run ./data

check: $(STAMP) ## Static checks: style, types, import contracts
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache

format: $(STAMP) ## Put the source into its one format
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

test: $(STAMP) ## Run every test, with branch coverage of subprocesses too
	@tests/system-packages
	@tests/alert-tools
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest --numprocesses=$(WORKERS)
	@$(BIN)/coverage combine --quiet && $(BIN)/coverage report

demo-archive: $(STAMP) ## Fetch, zip, upload, load and certify three days, with stand-ins for LangSmith and Drive
	@$(BIN)/python tests/demo_archive.py

campaign: $(STAMP) ## Do random damage to a loaded set, find it, repair it, undo it: SEEDS=300 seeds from FIRST=1
	CAMPAIGN_SEEDS=$(SEEDS) CAMPAIGN_FIRST=$(FIRST) CAMPAIGN_CHUNK=$(SEEDS) $(BIN)/python -m pytest -s -m campaign

bench: $(STAMP) ## Measure throughput, memory and latency against stated peers; writes docs/benchmarks.md
	@tests/system-packages
	$(BIN)/python benchmarks/bench.py

docs: $(STAMP) ## Write the pages that are made from the code
	@$(BIN)/python docs/make_events.py
	@$(BIN)/python docs/make_weather.py
	@$(BIN)/python docs/make_doctor.py
	@$(BIN)/python alerts/make_alerts.py

screenshots: $(STAMP) ## Draw the pictures of reports in the docs
	@tests/system-packages
	@$(BIN)/python docs/make_screenshots.py
	@$(BIN)/python docs/make_page_screenshots.py

lock: $(STAMP) ## Write constraints.txt from the newest versions that pyproject.toml allows
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev]'
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

install-systemd: ## Install the units of systemd/ below DESTDIR; nothing is enabled, and what stands in /etc stays
	@install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system" "$(DESTDIR)/etc/tracewatchd"
	@install -d -m 0700 "$(DESTDIR)/etc/tracewatchd/credentials"
	@for unit in systemd/*.service systemd/*.timer; do \
	  sed 's|/opt/tracewatchd/bin/tracewatchd|$(COMMAND)|' "$$unit" \
	    | install -m 0644 /dev/stdin "$(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit#systemd/}" || exit 1; \
	done
	@install -D -m 0644 systemd/sysusers.conf "$(DESTDIR)$(PREFIX)/lib/sysusers.d/tracewatchd.conf"
	@install -D -m 0644 systemd/tmpfiles.conf "$(DESTDIR)$(PREFIX)/lib/tmpfiles.d/tracewatchd.conf"
	@[ -e "$(DESTDIR)/etc/tracewatchd/config.toml" ] || \
	  install -m 0640 config.example.toml "$(DESTDIR)/etc/tracewatchd/config.toml"

clean: ## Remove what the targets made (not ./data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
