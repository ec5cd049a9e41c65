# Two commands: `make figures` runs every section at the quick profile, `make test` runs every check.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PROFILE ?= quick
WORKERS ?= 2

.PHONY: figures test seeds variants lab site refresh bench export clean help
figures: $(READY)  ## run every section and write results/index.html
	$(BIN)/symbreak figures --profile $(PROFILE) --out results

test: $(READY)     ## every check: exported code, clean notebooks, lint, tests, each notebook once at smoke
	$(BIN)/python -m pytest tests -n $(WORKERS) --dist loadgroup

seeds: $(READY)    ## each section at fresh seeds, threads and instructions; SECTIONS="ising qcd", MORE="--count 6 --all"
	$(BIN)/python tools/seeds.py $(SECTIONS) $(MORE)

variants: $(READY) ## quick at another seed, with two threads, with AVX2: which verdicts turn; SECTIONS="ising qcd"
	$(BIN)/python tools/variants.py run $(SECTIONS)

lab: $(READY)      ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --config=tools/jupyter.py nbs/index.ipynb

site: $(READY)     ## build the site without network: build/site/html/index.html
	$(BIN)/python tools/website.py

export: $(READY)   ## notebooks -> symbreak_nb/, and clean the notebooks
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

refresh: $(READY)  ## run quick, store the outputs in nbs/ and the results in reference/
	$(BIN)/python tools/refresh.py

bench: $(READY)    ## one table of ratios, each with its baseline timed in the same run; MORE="--json FILE --against FILE"
	$(BIN)/python tools/bench.py $(MORE)

$(READY): settings.ini setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "symbreak_nb needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:             ## remove results and caches, keep the environment
	rm -rf results build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

help:
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:[^#]*##/\t/'
