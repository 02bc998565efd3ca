# `make lab DEST=folder` makes a lab, `make test` checks the template. Each sets itself up: Python, Git and make are enough.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: lab
lab: $(VENV)/run ## Make a lab: DEST=folder [ANSWERS=file.yml] [PLAIN=1]. The wizard in a terminal, the defaults without one
	@PLAIN="$(PLAIN)" $(BIN)/python hooks/make_lab.py "$(DEST)" "$(ANSWERS)"

.PHONY: test
# Each worker compiles all tests again where Python may not remember them.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/test ## Run the tests but for the slow ones; LONG=1 runs all
	$(BIN)/python -m pytest

.PHONY: cluster-test
cluster-test: $(VENV)/test ## Run labs on a real Kubernetes API with the real Flux: Linux, root and Go 1.26; LONG=1 runs every world
	@$(BIN)/python -m tests.cluster.run

.PHONY: checkov
checkov: $(VENV)/test $(VENV)/checkov/bin/checkov ## Let checkov look over every lab's objects; tests/checkov.yml lists what it finds
	CHECKOV=1 $(BIN)/python -m pytest tests/test_checkov.py -n 0

$(VENV)/checkov/bin/checkov: requirements/checkov.txt $(VENV)/test
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/checkov
	@$(BIN)/uv pip install --quiet --python $(VENV)/checkov/bin/python --requirement $<
	@touch $@

LINTED_YAML := copier.yml .pre-commit-config.yaml .yamllint.yaml questions hooks tests
LINTED_SHELL := .ci/run .ci/install-tools $(wildcard template/*.sh template/.gitlab/*.sh template/scripts/*.sh example/runner/*.sh example/scripts/*.sh)
LINTED_SHELL += tests/bootstrap/support/stand_in_client.sh

.PHONY: lint
lint: lint-python lint-types lint-yaml lint-shell ## Check format, rules and types of Python, and YAML and shell scripts

.PHONY: lint-python
lint-python: $(VENV)/test
	$(BIN)/ruff format --check . template/lab
	$(BIN)/ruff check . template/lab

.PHONY: lint-types
lint-types: $(VENV)/test
	$(BIN)/mypy template/lab_program hooks extensions docs/tools template/apps/*alerts*/lab_alerts template/apps/*backups*/lab_backups

.PHONY: lint-yaml
lint-yaml: $(VENV)/test
	$(BIN)/yamllint --strict $(LINTED_YAML)

.PHONY: lint-shell
lint-shell: $(VENV)/test
	$(BIN)/shellcheck $(LINTED_SHELL)
	$(BIN)/shfmt --indent 2 --case-indent --diff $(LINTED_SHELL)

.PHONY: example
example: $(VENV)/run ## Render example/ again from tests/answers/valid/article.yml
	$(BIN)/python tests/render_example.py

.PHONY: answers
answers: $(VENV)/test ## Make again what follows from questions/: answers.example.yml, its schema, docs/questions.md, types, pairs
	$(BIN)/python docs/tools/answers_type.py
	$(BIN)/python docs/tools/answers_example.py
	$(BIN)/python tests/answers/generate_pairs.py

.PHONY: bench
bench: $(VENV)/test ## Compare `copier copy` and `copier update` with a plain template of as many files
	$(BIN)/python tests/bench.py

.PHONY: release
release: $(VENV)/test ## Check and tag a version: VERSION=x.y.z
	@$(BIN)/python hooks/release.py "$(VERSION)"

.PHONY: lock
lock: $(VENV)/test ## Pin the newest versions of what requirements/*.in name
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-header --no-annotate --upgrade requirements/run.in -o requirements/run.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-header --no-annotate --upgrade requirements/test.in -o requirements/test.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url --no-header --no-annotate --upgrade requirements/checkov.in -o requirements/checkov.txt
	$(BIN)/uv pip compile --quiet --python-version 3.13 --python-platform linux --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements/test.txt requirements/pipeline.in -o template/.gitlab/requirements.txt

.PHONY: clean
clean: ## Remove what make made here
	rm -rf $(VENV) .cluster .pytest_cache .hypothesis

# The two levels share one environment: `test` holds all of `run`. A stamp is newer than the pins that it installed.
$(VENV)/run: requirements/run.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed; $(PYTHON) is older. Try: make PYTHON=python3.12 …" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 -m venv failed: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	@echo "Installing Copier into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --requirement $<
	@touch $@

$(VENV)/test: requirements/test.txt requirements/package-lock.json $(VENV)/run
	@echo "Installing the test tools into $(VENV) …"
	@$(BIN)/python -m pip install --quiet "$$(grep '^uv==' $<)"
	@# uv is ten times as fast, but does not read the settings of pip, such as another index.
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement $< \
		|| $(BIN)/python -m pip install --quiet --requirement $<
	@mkdir -p $(VENV)/node
	@cp requirements/package.json requirements/package-lock.json $(VENV)/node/
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm ci --prefix $(VENV)/node --loglevel=error --no-audit --no-fund --ignore-scripts
	@touch $@
