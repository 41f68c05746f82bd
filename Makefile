# What people and machines call. `make demo` and `make test` set up everything they need. PACK, FEATURES, CARGO,
# CARGO_TARGET_DIR and VISAVIS_MODEL_MIRROR can be given.

SHELL := /bin/bash
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
RELEASE := $(CARGO_TARGET_DIR)/release
# The program that demo and run take, built with next to no optimisation.
TRIAL := $(CARGO_TARGET_DIR)/trial
# Where tests note what they lack.
export LEFT_OUT_FILE := $(abspath $(CARGO_TARGET_DIR))/left-out
export CARGO_TARGET_DIR
# A whole build is faster without what makes the next one faster.
export CARGO_INCREMENTAL ?= 0

# A copy of the public model sources beside the checkout is used as mirror when it is there.
ifndef VISAVIS_MODEL_MIRROR
ifneq ($(wildcard ../shared/models/upstream),)
export VISAVIS_MODEL_MIRROR := $(abspath ../shared/models/upstream)
endif
endif

# These targets need tools and a model pack, or every tool and pack. scripts/setup runs first and prints the packs; then make
# runs again, with the packs in PACKS and the new tools detected.
NEEDS_TRIAL := trial demo run
NEEDS_PACK := build models bench bench-check rival timing torture accuracy deploy-check bundle bundle-check units-check inventory-check release
NEEDS_ALL := test unit console-test console-shots mutations
ifndef PACKS
needed_by = $(filter $(1),$(MAKECMDGOALS))
SET_UP := $(if $(call needed_by,$(NEEDS_ALL)),test,$(if $(call needed_by,$(NEEDS_PACK)),build,$(if $(call needed_by,$(NEEDS_TRIAL)),demo)))
endif
ifneq ($(SET_UP),)

.PHONY: $(MAKECMDGOALS) set-up
$(MAKECMDGOALS): set-up ;
set-up:
	@packs=$$(scripts/setup $(SET_UP)) && PACKS="$$packs" $(MAKE) --no-print-directory $(MAKECMDGOALS)

else

override PACK := $(firstword $(PACKS))
ifeq ($(origin FEATURES),undefined)
FEATURES := $(shell scripts/features)
# libjpeg-turbo takes as long to build as everything else in C; two small photos do not need it.
trial: FEATURES :=
endif
export FEATURES

.PHONY: help build trial tests-built runtime runtime-gpu runtime-openvino models demo run test lint unit console-test console-shots venv bench bench-check rival timing fuzz torture chaos accuracy mutations \
    docs deploy-check bundle bundle-check units-check deny inventory-check release clean

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'

build: runtime ## The release program, with runtime and models in place
	$(CARGO) build --release --locked $(FEATURES)
	scripts/place $(RELEASE) $(PACK)
	scripts/fetch-models $(PACK) $(RELEASE)/visavis
	@echo "model pack: $(PACK), see models/$(PACK).md"

runtime: ## ONNX Runtime into runtime/
	@scripts/fetch-runtime

runtime-gpu: ## ONNX Runtime with CUDA into runtime-gpu/, for a GPU (x86-64; docs/GPU.md)
	@scripts/fetch-runtime gpu

runtime-openvino: ## ONNX Runtime with OpenVINO into runtime-openvino/, for "cpu-bf16" (x86-64; docs/PERFORMANCE.md)
	@scripts/fetch-runtime openvino

models: runtime ## The model pack into models/; for tests every pack that can be fetched
	@for pack in $(PACKS); do scripts/fetch-models $$pack || exit 1; done

trial: runtime
	$(CARGO) build --profile trial --locked $(FEATURES)
	@scripts/place $(TRIAL) $(PACK)
	@scripts/fetch-models $(PACK) $(TRIAL)/visavis
	@echo "model pack: $(PACK), see models/$(PACK).md"

demo: trial ## Two photos in over the signed API, a verdict out
	@scripts/demo $(TRIAL)/visavis

run: trial ## Serve on 127.0.0.1:8080 until Ctrl-C, with a client ready to call; `make build` makes the faster release
	@scripts/run $(TRIAL)/visavis

# Whatever can be built in is tested.
test lint unit console-test: FEATURES := $(FEATURES) --features otlp

test: lint unit console-test ## Everything that must hold before a change lands
	@scripts/left-out $(LEFT_OUT_FILE)

lint: ## Format and lints
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets $(FEATURES) -- -D warnings

venv: .venv/done

.venv/done: tests/requirements.txt
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	touch $@

# The tests of "cpu-bf16" want its library, which there is for x86-64 only; elsewhere they see it refused.
ifeq ($(shell uname -m),x86_64)
unit: runtime-openvino
endif

# `cargo build` would compile half of the dependencies once more, without the features that only tests ask for; so everything here
# takes the program that is built for the tests.
tests-built: runtime
	$(CARGO) test --locked $(FEATURES) --no-run
	@for pack in $(PACKS); do scripts/fetch-models $$pack $(CARGO_TARGET_DIR)/debug/visavis || exit 1; done

# Most tests wait: for processes, leases and time-outs.
unit: export RUST_TEST_THREADS ?= $(shell cores=$$(nproc); echo $$((cores > 4 ? cores : 4)))

unit: tests-built venv ## Unit and integration tests, on real nets
	@mkdir -p $(CARGO_TARGET_DIR) && rm -f $(LEFT_OUT_FILE)
	$(CARGO) test --locked $(FEATURES)

console-test: tests-built ## The operators' console in headless Chromium; needs Node and Chromium
	VISAVIS_MODEL_PACK=$(PACK) scripts/console-test $(CARGO_TARGET_DIR)/debug/visavis

console-shots: models ## The pictures of docs/CONSOLE.md
	$(CARGO) build --locked $(FEATURES)
	VISAVIS_MODEL_PACK=$(PACK) scripts/console-test $(CARGO_TARGET_DIR)/debug/visavis shots.mjs

bench: models ## The service under load against the bare pipeline, time per stage, and what the queue costs
	@scripts/bench

bench-check: build ## Instructions of one comparison against the committed figure; needs valgrind
	@scripts/bench-check $(RELEASE)/visavis

rival: build ## What a pair costs a plain service in Python on the same nets, and this one; PHOTOS as for bench
	@scripts/rival $(RELEASE)/visavis

timing: models ## Does the time of an answer tell whether a wrapped key was well-formed?
	$(CARGO) bench --locked $(FEATURES) --bench oracle

fuzz: ## Every fuzz target for FUZZ_SECONDS (60); needs a C++ compiler
	@scripts/fuzz

torture: models ## Broken requests and pictures through the whole server, TORTURE (100000) of them
	TORTURE=$${TORTURE:-100000} $(CARGO) test --locked $(FEATURES) --test it -- torture:: --nocapture

chaos: ## Kills, stops, restarts and a bad network for CHAOS_MINUTES (30) and CHAOS_KILLS (10000)
	CHAOS_MINUTES=$${CHAOS_MINUTES:-30} CHAOS_KILLS=$${CHAOS_KILLS:-10000} $(CARGO) test --locked $(FEATURES) --test chaos

accuracy: build ## The tables of docs/ACCURACY.md, on the photos in FACES (../shared/faces)
	@scripts/accuracy $(RELEASE)/visavis

mutations: models ## Break the program on purpose; every break must fail a test
	@scripts/mutations

docs: .tools/mdbook/bin/mdbook ## The site of docs/ into dist/docs, every link of it followed
	@scripts/docs .tools/mdbook/bin/mdbook

.tools/mdbook/bin/mdbook:
	$(CARGO) install mdbook --version 0.4.52 --locked --no-default-features --features search --root .tools/mdbook

deploy-check: build .tools/deploy/done ## deploy/ read by Compose, Helm, Prometheus, HAProxy and systemd, and run without containers; as root
	.tools/deploy/bin/python tests/deploy/check.py
	.tools/deploy/bin/python tests/deploy/together.py $(RELEASE)/visavis

.tools/deploy/done: tests/deploy/requirements.txt
	python3 -m venv .tools/deploy
	.tools/deploy/bin/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: --require-hashes -r tests/deploy/requirements.txt
	touch $@

bundle: build ## One archive for machines without a network, into dist/, with licences, bill of materials and checksums
	@scripts/bundle $(RELEASE)/visavis

bundle-check: build ## The archive is made again the same, and installed on a bare Debian; as root, with debootstrap
	@scripts/bundle-check $(RELEASE)/visavis

units-check: bundle ## The systemd units under systemd itself, in a container; as root, with debootstrap and systemd-container
	@scripts/units-check

deny: ## Licences, advisories, bans and sources of all dependencies; needs cargo-deny and its database of advisories
	$(CARGO) deny --locked check $(DENY)

inventory-check: models .tools/inventory/done ## The bill of materials against CycloneDX's own schema
	python3 scripts/inventory.py .tools/inventory/made $(PACK)
	.tools/inventory/bin/python tests/deploy/inventory.py .tools/inventory/made

.tools/inventory/done: tests/deploy/inventory.txt
	python3 -m venv .tools/inventory
	.tools/inventory/bin/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: --require-hashes -r tests/deploy/inventory.txt
	touch $@

release: deny inventory-check bundle-check units-check ## Everything that is given away, checked; dist/ has it

clean: ## Remove what was built; runtime and models stay
	$(CARGO) clean

endif
