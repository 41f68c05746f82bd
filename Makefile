# Entry points for people and CI. `make demo` and `make test` set up everything they need. PACK,
# FEATURES, CARGO, CARGO_TARGET_DIR and VISAVIS_MODEL_MIRROR can be set.

SHELL := /bin/bash
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
RELEASE := $(CARGO_TARGET_DIR)/release
# The program of demo and run, built with almost no optimisation.
TRIAL := $(CARGO_TARGET_DIR)/trial
# Tests record missing tools in this file.
export LEFT_OUT_FILE := $(abspath $(CARGO_TARGET_DIR))/left-out
export CARGO_TARGET_DIR
# A complete build is faster without incremental data.
export CARGO_INCREMENTAL ?= 0

# ARCH=aarch64 builds for that machine on another one: docs/CONTRIBUTING.md. The kernel runs its
# programs by QEMU, which finds their libraries in the last folder.
ifneq ($(filter-out $(shell uname -m),$(ARCH)),)
export ARCH
CROSS := --target $(ARCH)-unknown-linux-gnu
RELEASE := $(CARGO_TARGET_DIR)/$(ARCH)-unknown-linux-gnu/release
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER ?= aarch64-linux-gnu-gcc
export QEMU_LD_PREFIX ?= /usr/$(ARCH)-linux-gnu
OPENVINO := no
endif

# A copy of the public model sources beside the checkout is used as mirror if it exists.
ifndef VISAVIS_MODEL_MIRROR
ifneq ($(wildcard ../shared/models/upstream),)
export VISAVIS_MODEL_MIRROR := $(abspath ../shared/models/upstream)
endif
endif

# These targets need tools and a model pack, or every tool and pack. scripts/setup runs first and
# prints the packs; then make runs again, with the packs in PACKS and the new tools detected.
NEEDS_TRIAL := trial demo run
NEEDS_PACK := build models bench bench-check rival timing torture accuracy calibrate-pack deploy-check compose-check pods-check bundle bundle-check units-check inventory-check release
NEEDS_ALL := test unit console-test console-shots board-shot mutations
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

.PHONY: help build trial tests-built runtime runtime-gpu runtime-openvino models demo run test lint unit console-test console-shots board-shot venv client-types bench bench-check rival timing fuzz torture chaos accuracy calibrate-pack mutations \
    docs deploy-check image-check compose-check pods-check bundle bundle-check units-check deny inventory-check release clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'

# Processors that are faster in bfloat16 need a library of their own. OPENVINO=no declines it.
OPENVINO ?= $(shell scripts/bfloat16)
# They deliver or check what does without it.
deploy-check compose-check pods-check bundle bundle-check units-check release: OPENVINO := no

build: runtime ## Build the release program, with runtime and models
	@if [ "$(OPENVINO)" = yes ]; then scripts/fetch-bfloat16; fi
	$(CARGO) build --release --locked $(CROSS) $(FEATURES)
	scripts/place $(RELEASE) $(PACK)
	scripts/fetch-models $(PACK) $(RELEASE)/visavis
	@echo "model pack: $(PACK), see models/$(PACK).md"

runtime: ## Fetch ONNX Runtime into runtime/
	@scripts/fetch-runtime

runtime-gpu: ## Fetch ONNX Runtime with CUDA into runtime-gpu/ (x86-64; docs/GPU.md)
	@scripts/fetch-runtime gpu

runtime-openvino: ## Fetch ONNX Runtime with OpenVINO for "cpu-bf16" (x86-64; docs/PERFORMANCE.md)
	@scripts/fetch-runtime openvino

models: runtime ## Fetch the model pack into models/; for tests every pack that can be fetched
	@for pack in $(PACKS); do scripts/fetch-models $$pack || exit 1; done

trial: runtime
	$(CARGO) build --profile trial --locked $(FEATURES)
	@scripts/place $(TRIAL) $(PACK)
	@scripts/fetch-models $(PACK) $(TRIAL)/visavis
	@echo "model pack: $(PACK), see models/$(PACK).md"

demo: trial ## Compare two pairs of photos through the signed API of a new service
	@scripts/demo $(TRIAL)/visavis

run: trial ## Serve on 127.0.0.1:8080 until Ctrl-C, with a registered client
	@scripts/run $(TRIAL)/visavis

# All features are tested.
test lint unit console-test: FEATURES := $(FEATURES) --features otlp

test: lint unit console-test ## Every check that must pass before a change lands
	@scripts/left-out $(LEFT_OUT_FILE)

# The second run is without features. A test in it gives dependencies the features of the first
# run, or most of them would be compiled once more.
lint: ## Check format, lints and the lock of the fuzz targets
	$(CARGO) fmt --check
	$(CARGO) metadata --locked --format-version 1 --filter-platform "$$(uname -m)-unknown-linux-gnu" --manifest-path fuzz/Cargo.toml > /dev/null
	$(CARGO) clippy --locked --all-targets $(FEATURES) -- -D warnings
	$(CARGO) clippy --locked --lib --bins --test documents -- -D warnings

venv: .venv/done

.venv/done: tests/requirements.txt
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	touch $@

# TypeScript and openapi-typescript check the types of clients/node and of the API document. Without
# npm these tests are left out.
tests/clients/node_modules/.package-lock.json: tests/clients/package-lock.json
	@if command -v npm > /dev/null; then npm ci --prefix tests/clients --no-audit --no-fund --ignore-scripts --loglevel=error; fi

client-types: tests/clients/node_modules/.package-lock.json ## Make clients/node/types from its sources
	node tests/clients/node_modules/typescript/bin/tsc --project tests/clients

# The tests of "cpu-bf16" need its library, which exists for x86-64 only; elsewhere they test the
# refusal.
ifeq ($(shell uname -m),x86_64)
unit: runtime-openvino
endif

# `cargo build` would compile half of the dependencies again, without the features that only tests
# need; so everything here uses the program that is built for the tests.
tests-built: runtime
	$(CARGO) test --locked $(FEATURES) --no-run
	@for pack in $(PACKS); do scripts/fetch-models $$pack $(CARGO_TARGET_DIR)/debug/visavis || exit 1; done

# Most tests wait: for processes, leases and timeouts.
unit: export RUST_TEST_THREADS ?= $(shell cores=$$(nproc); echo $$((cores > 4 ? cores : 4)))

unit: tests-built venv tests/clients/node_modules/.package-lock.json ## Run unit and integration tests on the real nets
	@mkdir -p $(CARGO_TARGET_DIR) && rm -f $(LEFT_OUT_FILE)
	$(CARGO) test --locked $(FEATURES)

console-test: tests-built ## Test the console in headless Chromium; needs Node and Chromium
	VISAVIS_MODEL_PACK=$(PACK) scripts/console-test $(CARGO_TARGET_DIR)/debug/visavis

console-shots: models ## Make the screenshots of docs/CONSOLE.md
	$(CARGO) build --locked $(FEATURES)
	VISAVIS_MODEL_PACK=$(PACK) scripts/console-test $(CARGO_TARGET_DIR)/debug/visavis shots.mjs

board-shot: models ## Draw the Grafana board of docs/METRICS.md; needs prometheus
	$(CARGO) build --locked $(FEATURES)
	VISAVIS_MODEL_PACK=$(PACK) scripts/console-test $(CARGO_TARGET_DIR)/debug/visavis board.mjs

bench: models ## Measure the service against the bare pipeline, the stages and the queue
	@scripts/bench

bench-check: build ## Compare the instructions of one comparison with the committed number; needs valgrind
	@scripts/bench-check $(RELEASE)/visavis

rival: build ## Compare with a plain service in Python on the same nets; PHOTOS as for bench
	@scripts/rival $(RELEASE)/visavis

timing: models ## Test that response times do not reveal whether a wrapped key is well-formed
	$(CARGO) bench --locked $(FEATURES) --bench oracle

fuzz: ## Run every fuzz target for FUZZ_SECONDS (60); needs a C++ compiler
	@scripts/fuzz

torture: models ## Send TORTURE (100000) malformed requests and photos through the whole server
	TORTURE=$${TORTURE:-100000} $(CARGO) test --locked $(FEATURES) --test it -- torture:: --nocapture

chaos: ## Kill, stop and disconnect processes for CHAOS_MINUTES (30) and CHAOS_KILLS (10000)
	CHAOS_MINUTES=$${CHAOS_MINUTES:-30} CHAOS_KILLS=$${CHAOS_KILLS:-10000} $(CARGO) test --locked $(FEATURES) --test chaos

accuracy: build ## Measure the tables of docs/lab/accuracy.md, on the photos in FACES (../shared/faces)
	@scripts/accuracy $(RELEASE)/visavis

calibrate-pack: runtime ## Fetch PACK, measure its table on FACES (a folder of photos per person), and print it
	@scripts/calibrate-pack $(PACK) "$(FACES)"

mutations: models venv tests/clients/node_modules/.package-lock.json ## Break the program on purpose; every break must fail a test
	@scripts/mutations

docs: .tools/mdbook/bin/mdbook ## Build the site of docs/ into dist/docs and check its links
	@scripts/docs .tools/mdbook/bin/mdbook

.tools/mdbook/bin/mdbook:
	$(CARGO) install mdbook --version 0.4.52 --locked --no-default-features --features search --root .tools/mdbook

deploy-check: build .tools/deploy/done ## Validate deploy/ and run it without containers; as root
	.tools/deploy/bin/python tests/deploy/check.py
	.tools/deploy/bin/python tests/deploy/together.py $(RELEASE)/visavis

.tools/deploy/done: tests/deploy/requirements.txt
	python3 -m venv .tools/deploy
	.tools/deploy/bin/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: --require-hashes -r tests/deploy/requirements.txt
	touch $@

image-check: ## Build the image and run it hardened; as root, with buildah, podman, runc, debootstrap
	@scripts/image-check

compose-check: build .tools/deploy/done ## Run, break and maintain deploy/compose.yaml; as root, with Docker
	.tools/deploy/bin/python tests/deploy/composed.py $(RELEASE)/visavis

pods-check: build .tools/deploy/done ## Run the chart's pods, with ROUNDS (1) of maintenance; as root, with Docker
	.tools/deploy/bin/python tests/deploy/pods.py $(RELEASE)/visavis $(or $(ROUNDS),1)

bundle: build venv ## Make the archive for machines without a network in dist/
	@scripts/bundle $(RELEASE)/visavis

bundle-check: build venv ## Rebuild the archive and install it on a bare Debian; as root, with debootstrap
	@scripts/bundle-check $(RELEASE)/visavis

units-check: bundle ## Run the systemd units in a container; as root, with debootstrap and systemd-container
	@scripts/units-check

deny: ## Check licences, advisories, bans and sources of dependencies; needs cargo-deny
	$(CARGO) deny --locked check $(DENY)

inventory-check: models .tools/inventory/done ## Validate the bill of materials against the CycloneDX schema
	python3 scripts/inventory.py .tools/inventory/made $(PACK)
	.tools/inventory/bin/python tests/deploy/inventory.py .tools/inventory/made

.tools/inventory/done: tests/deploy/inventory.txt
	python3 -m venv .tools/inventory
	.tools/inventory/bin/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: --require-hashes -r tests/deploy/inventory.txt
	touch $@

release: deny inventory-check bundle-check units-check ## Make and check everything that is delivered, into dist/

clean: ## Remove build results; runtime and models stay
	$(CARGO) clean

endif
