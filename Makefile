# ecglib: `make help` lists what there is. Everything made goes to work/ and book/_build; nothing needs activating.

PRESET ?= quick
COHORT ?= virtual
DATA   ?=
SEED   ?= 0
N      ?=
DRY    ?=
FORMS  ?=
KEY    ?=
PYTHON ?= python3
export PRESET COHORT DATA SEED N DRY FORMS KEY
unexport ECGLIB_WORK

PY        := .venv/bin/python
INSTALLED := .venv/.installed
# the same order of sets and dicts in every process
export PYTHONHASHSEED := 0

.DEFAULT_GOAL := help
.PHONY: help setup data book cohort blinded unblind reproduce ablations test lint format lab bench clean distclean FORCE
.DELETE_ON_ERROR:

help: ## show this help
	@echo "make <target> [PRESET=smoke|quick|small|paper] [COHORT=virtual|ludb|ptb-xl|…] [DATA=folder] [SEED=0]"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  PRESET   smoke: every step once, in minutes, to see that all runs. quick: the default, 2 cores, about half an hour."
	@echo "           small: more of the same, perhaps an hour. paper: SSSD-ECG's size, wants a GPU."
	@echo "  COHORT   virtual needs no data. ludb, ptb-xl, mimic-iv-ecg and challenge-2021 are fetched by make data, or lie"
	@echo "           below DATA, which may hold blanks; folder: your own records below DATA, with a records.csv."
	@echo "  SEED     seed of everything random."
	@echo "  N        make data, make reproduce: at most so many records, patients whole, kinds in proportion; only these are fetched."
	@echo "           make blinded: different ECGs shown, an even number, by default 100."
	@echo "  FORMS    make unblind: folder of the readers' answers (CSV). KEY: the key's file, if it is not in work/."

setup: $(INSTALLED) ## make .venv and install ecglib with everything the book and tests need

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -m ecglib check
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { echo "error: $(PYTHON) -m venv failed; on Debian: apt install python3-venv" >&2; exit 2; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[book,dp,parquet,second-paper,test,utility,web,lint]'
	@touch $@

# What is to be fetched need not be there yet: set up as for virtual patients.
data: ## fetch a cohort from PhysioNet, all of it or N records; stopped, it goes on
	@$(PYTHON) -m ecglib data --check
	@$(MAKE) --no-print-directory COHORT=virtual DATA= setup
	@$(PY) -m ecglib data

# PRESET, COHORT, DATA and SEED are checked first, by the system's Python, before anything is installed or made.
# Only then are they part of file names, in the second half of this file.
book: ## execute the notebooks and render the book; prints the path of its first page last
cohort: ## only read or make the cohort
book cohort: $(INSTALLED)
	@$(PYTHON) -m ecglib check
	@$(MAKE) --no-print-directory CHECKED=1 $@-checked

# as for make data, the records need not be there yet
reproduce: ## COHORT=ptb-xl PRESET=paper: say what it takes on this machine, then fetch, train and judge; DRY=1: only say
	@$(PYTHON) -m ecglib check --cohort virtual --data ''
	@if [ "$$COHORT" != virtual ] && [ -z "$$DATA" ]; then $(PYTHON) -m ecglib data --check; else $(PYTHON) -m ecglib check; fi
	@$(MAKE) --no-print-directory COHORT=virtual DATA= setup
	@$(PY) -m ecglib plan
	@if [ -z "$$DRY" ] && [ "$$COHORT" != virtual ] && [ -z "$$DATA" ]; then $(MAKE) --no-print-directory data; fi
	@if [ -z "$$DRY" ]; then $(MAKE) --no-print-directory book; fi

ablations: $(INSTALLED) ## train and measure the cells of book/ablations.csv that have no committed row (hours; resumes; -j)
	@$(MAKE) --no-print-directory CHECKED=1 ablations-checked

# A kit in readers' hands is never replaced: this is checked before anything else.
blinded: ## write a blinded reading of N ECGs: a folder for physicians, and the sealed key
	@$(PYTHON) -m ecglib blinded --check
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory CHECKED=1 blinded-checked

unblind: ## analyse the readers' FORMS of a blinded reading
	@$(PYTHON) -m ecglib unblind --check
	@$(MAKE) --no-print-directory COHORT=virtual DATA= setup
	@$(PY) -m ecglib unblind

test: $(INSTALLED) ## run the test suite
	$(PY) -m pytest

lint: $(INSTALLED) ## check style and types
	$(PY) -m ruff check .
	$(PY) -m mypy

format: $(INSTALLED) ## mend what the linter can mend
	$(PY) -m ruff check --fix .

lab: $(INSTALLED) cohort ## open the notebooks in JupyterLab
	$(PY) -m jupyter lab --notebook-dir=. notebooks/00_map.ipynb

bench: $(INSTALLED) ## measure speed and memory, as ratios within one run
	$(PY) -m tests.bench

clean: ## remove the rendered book and executed chapters; cohorts, runs and .venv stay
	rm -rf book/_build book/chapters work/*/chapters

distclean: clean ## remove everything that was made, .venv too; not downloads, nor a study that holds a blinded key
	[ ! -d work ] || find work/ -mindepth 1 -maxdepth 1 ! -name data $(patsubst work/%/blinded/key,! -name '%',$(wildcard work/*/blinded/key)) -exec rm -rf {} +
	rm -rf .venv book/_static/mathjax

FORCE:

ifdef CHECKED
STUDY    := work/$(COHORT)-$(PRESET)-s$(SEED)
SOURCES  := $(shell find ecglib -path ecglib/web -prune -o -name '*.py' -print -o -name '*.csv' -print -o -name '*.md' -print -o -path '*/pages/*' -print)
CHAPTERS := $(patsubst notebooks/%,$(STUDY)/chapters/%,$(wildcard notebooks/[0-9][0-9]_*.ipynb))
PAGES    := $(wildcard ecglib/shipped/* book/*.md book/*.yml book/*.bib book/_static/* book/results/* ecglib/web/*.py ecglib/web/page/*)
HTML     := book/_build/html/index.html

.PHONY: book-checked cohort-checked blinded-checked
cohort-checked: $(STUDY)/cohort/manifest.json
blinded-checked: $(STUDY)/chapters/08_sample.ipynb
	@$(PY) -m ecglib blinded
book-checked: $(HTML)
	@echo "$(HTML)"

# Rewritten only where its text changes: another DATA folder makes a new cohort, what `make data` added, an edited table.
# A ~ that no shell has expanded is read as the home folder by Python, so it is here, too.
$(STUDY)/request: FORCE
	@mkdir -p $(@D) && { printf '%s\n' "$$DATA"; d="$${DATA:-work/data/$(COHORT)}"; case "$$d" in "~"|"~/"*) d="$$HOME$${d#"~"}";; esac; cd "$$d" 2>/dev/null && { cat download.json */download.json; cksum *.csv */*.csv; } 2>/dev/null; true; } > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(STUDY)/cohort/manifest.json: $(STUDY)/request $(addprefix ecglib/,config.py presets.py study.py) $(filter ecglib/signals/%,$(SOURCES)) | $(INSTALLED)
	$(PY) -m ecglib prepare

$(STUDY)/chapters/%.ipynb: notebooks/%.ipynb $(STUDY)/cohort/manifest.json $(SOURCES) | $(INSTALLED)
	@$(PY) -m ecglib execute $< $@ -p cohort $(COHORT) -p preset $(PRESET) -p seed $(SEED)

# which chapter reads what another one made
$(STUDY)/chapters/08_sample.ipynb $(STUDY)/chapters/14_sr_vs_af.ipynb: $(STUDY)/chapters/07_train.ipynb
$(foreach name,10_fidelity 11_clinical 12_privacy 13_utility 15_blinded_reading 17_other_datasets,$(STUDY)/chapters/$(name).ipynb): $(STUDY)/chapters/08_sample.ipynb
$(STUDY)/chapters/16_rare_and_plausible.ipynb: $(STUDY)/chapters/13_utility.ipynb
# and which committed table; 00 and 19 read them all
$(STUDY)/chapters/00_map.ipynb $(STUDY)/chapters/19_results.ipynb: $(wildcard book/results/*.csv)
readers = $(patsubst notebooks/%,$(STUDY)/chapters/%,$(shell grep -l '$(notdir $(1))' notebooks/*.ipynb))
$(foreach table,$(wildcard book/results/*.csv),$(eval $(or $(call readers,$(table)),FORCE): $(table)))

# a target a cell of the grid; baselines come first: the presets' without a mel loss, then those that have one themselves
ifneq ($(filter ablations-checked,$(MAKECMDGOALS)),)
page      = $(patsubst %,work/ablations/%/09_ablations.ipynb,$(1))
BASELINES := $(call page,$(shell $(PY) -m ecglib ablations --baselines))
CELLS     := $(call page,$(shell $(PY) -m ecglib ablations))
.PHONY: ablations-checked
ablations-checked: $(CELLS)
	@$(PY) -m ecglib ablations --collect
FIRST     := $(filter %-mel-none/09_ablations.ipynb,$(BASELINES))
$(filter-out $(FIRST),$(BASELINES)): | $(FIRST)
$(filter-out $(BASELINES),$(CELLS)): | $(BASELINES)
$(CELLS): work/ablations/%/09_ablations.ipynb: | $(INSTALLED)
	@$(PY) -m ecglib execute notebooks/09_ablations.ipynb $@ -p cell $*
endif

# the book shows one study at a time
book/chapters/.study: FORCE
	@mkdir -p $(@D) && echo $(STUDY) | cmp -s - $@ || echo $(STUDY) > $@

$(HTML): $(CHAPTERS) $(PAGES) book/chapters/.study | $(INSTALLED)
	@$(PY) -c 'from ecglib.book import vendor_mathjax; vendor_mathjax()'
	@echo "rendering the book"
	@$(PY) -m ecglib render >/dev/null
	@touch $@
endif
