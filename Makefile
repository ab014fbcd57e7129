# The verbs of this repository. Nothing needs to be installed first: each verb makes what it needs.
#   make demo    a RAG and a picture pipeline on embedded models: calls them, then leaves the server up
#   make test    everything, the examples in real servers included
# PYTHON picks the interpreter of a new environment (3.11 or later).

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

PACKAGES   := orchestrator models workflows api
FILES      ?= examples/rag/rag.yaml
PYTEST     ?= $(BIN)/python -m pytest
JOBS       ?= 2
MAX_LINES  := 400

.DEFAULT_GOAL := help
.PHONY: help install format check quick test demo serve eval bench train clean

help:  ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv with TorchLoom and its tools, at the versions of constraints.txt

# torch stands first, with its exact version: pip then takes the build that fits this machine.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "TorchLoom needs Python 3.11 or later; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { echo "No virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt \
		"$$(grep '^torch==' constraints.txt)" -e '.[dev,openvino,postgres]'
	@touch $@

format: $(STAMP)  ## let ruff lay out and mend the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

check: $(STAMP)  ## ruff, mypy strict, import directions, spelling, length of files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos
	@find $(PACKAGES) -name '*.py' -exec awk 'FNR > $(MAX_LINES) \
		{ print FILENAME ": over $(MAX_LINES) lines; split it by its nouns"; bad = 1; nextfile } \
		END { exit bad }' {} +

quick: $(STAMP)  ## tests of the core and of workflow files, with fakes, without torch
	$(PYTEST) -q -m 'not slow' tests/orchestrator tests/workflows

test: $(STAMP)  ## every test that this machine can run, in JOBS processes
	$(PYTEST) -n $(JOBS) --dist loadscope --no-loadscope-reorder

demo: $(STAMP)  ## serve the examples, ask questions and draw pictures; ONCE=1 ends after that
	$(BIN)/python -m examples.demo $(if $(ONCE),--once)

serve: $(STAMP)  ## serve FILES (the RAG example unless told otherwise)
	$(BIN)/torchloom serve $(FILES)

eval: $(STAMP)  ## score the example models and the RAG pipeline; the last line is one JSON object
	$(BIN)/python -m examples.tiny_models.evaluate

bench: $(STAMP)  ## measure; see benchmarks/README.md
	$(BIN)/python -m benchmarks

train: $(STAMP)  ## train the tiny models of the examples anew
	$(BIN)/python -m examples.tiny_models.train_llama
	$(BIN)/python -m examples.tiny_models.train_stable_diffusion

clean:  ## remove the environment, caches, kept artefacts and built indexes
	rm -rf $(VENV) .torchloom .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build
