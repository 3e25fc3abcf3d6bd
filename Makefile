# What one can do in a clone. Needs make and Python 3.11 or newer with pip and venv; everything else goes into .venv.
# Another Python: make PYTHON=python3.13 demo

PYTHON ?= python3

.PHONY: help demo test test-slurm test-plugins lint docs generate clean

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile

demo: .venv/.base ## simulate a small survey, run the pipeline on it, say where the report is
	@.venv/bin/astrosurvey demo

test: .venv/.dev ## run all tests, those of plugins/ too, installed as a stranger would; ARGS="-k merge" runs some of them
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n auto --maxprocesses 4 $(ARGS)

test-slurm: .venv/.dev ## run the tests on a Slurm of one node that they bring up themselves; as root, with Debian's slurm-wlm and munge
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -m slurm -n 4 --timeout 600 tests/slurm $(ARGS)

test-plugins: .venv-plugins/.done ## run the tests of plugins/ where all that they ask for is installed, sbi too, in .venv-plugins
	for plugin in plugins/*; do (cd $$plugin && ../../.venv-plugins/bin/python -m pytest -q $(ARGS)) || exit 1; done

lint: .venv/.dev ## check style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

docs: .venv/.docs ## build the documentation into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
	@echo "documentation: site/index.html"

generate: .venv/.dev ## make again every file that is generated and committed
	.venv/bin/python -m astrosurvey.catalog.generate
	.venv/bin/python tools/kernel_figures.py tools/kernel_figures.json
	.venv/bin/python tools/generate_docs.py
	ASTROSURVEY_PLUGINS= .venv/bin/astrosurvey stages --schema > schemas/pipeline.v1.json

clean: ## remove .venv and everything that was made
	rm -rf .venv .venv-plugins site build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp a set of packages: installed again only when what is asked for has changed.
.venv/.%: pyproject.toml constraints.txt tools/install.py
	@$(PYTHON) tools/install.py $*
	@touch $@

.venv-plugins/.done: constraints.txt $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -m venv --clear .venv-plugins
	.venv-plugins/bin/python -m pip install -q -c constraints.txt torch
	.venv-plugins/bin/python -m pip install -q -c constraints.txt -e . $(foreach plugin,$(wildcard plugins/*),-e "./$(plugin)[test]")
	@touch $@
