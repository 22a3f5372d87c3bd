# Nightread. `make help` lists what can be made.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test setup parts build runtime samples check models docs reference lint fmt clean \
	notebooks saturation demo-cloud demo-archive soak parity parity-labels cases bench bench-fmri bench-table bench-volumes deny fuzz test-models test-fiftyone test-traces infra-check infra-test package deb package-test test-rabbitmq-4

PROVIDER ?= cpu
OUT ?= out
SCAN := .cache/simulated/simulated-scan.nii.gz
VOLUME := models/ct-organs-demo/sample.zip
BINARY := target/release/nightread
TEST_DATA ?= $(or $(NIGHTREAD_TEST_DATA),../shared/data)
SECONDS_EACH ?= 60
COUNT ?= 1000000
# Which soak: chaos, cluster, mixed (with the path of an earlier binary), stopped, clock, oom, descriptors, memory, disk, lies, outage, fairness, beside, overhead, throughput, backpressure, announce, relabel, relay or simulate, with its numbers.
SOAK ?= chaos
# Measures as on a processor without AVX-512, VNNI and AMX.
HIDING := $(if $(filter avx2,$(ISA)),.cache/hiding/avx2_only.so)
HIDDEN := $(if $(HIDING),LD_PRELOAD=$(CURDIR)/$(HIDING))
# Builds the documentation; the workflow of the documentation names the same.
MDBOOK := 0.5.4
# Holds the lock file against .cargo/deny.toml.
CARGO_DENY := 0.20.2
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

PACKAGED = --binary $(BINARY) --runtime $$(dirname $$(worker/tools/fetch-runtime)) \
	--models models --version $(VERSION) --out dist

# venv(name, requirements): a virtual environment under .cache, made again when its requirements change.
define venv
	cmp -s $(2) .cache/venv-$(1)/requirements.installed || { \
		python3 -m venv --clear .cache/venv-$(1) && \
		.cache/venv-$(1)/bin/pip install -q --disable-pip-version-check -r $(2) && \
		cp $(2) .cache/venv-$(1)/requirements.installed; }
endef

help: ## Show this list
	@echo "Nightread reads chest X-rays, resting-state fMRI and abdominal CT on CPUs. Not a medical device."
	@echo
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: setup runtime samples build $(SCAN) ## Read real chest X-rays, a CT series and a simulated scan: fetches all it needs, prints findings, writes a report
	@NIGHTREAD_IMAGES_WRITE_HEATMAPS=true NIGHTREAD_SCANS_WRITE_MAPS=true NIGHTREAD_SCANS_WRITE_TIME_COURSES=true \
		$(BINARY) process .cache/samples $(VOLUME) $(SCAN) --out $(OUT) --report $(OUT)/report.html $(if $(FORCE),--force)

# No public scan is small and free enough to be fetched: one is simulated from the group maps of the demonstration model.
$(SCAN): models/fmri-networks-demo/maps.nii.gz | build
	@mkdir -p $(@D)
	@$(BINARY) simulate-scan --networks $< --seed 1 --out $@

test: setup runtime samples parts ## Run all tests; installs RabbitMQ (apt) and Azurite (npm) for them when they are missing
	@worker/tools/fetch-runtime openvino >/dev/null || [ "$$(uname -m)" != x86_64 ]
	@cargo test --release --workspace --locked
	@NIGHTREAD_TEST_RABBITMQ=4 cargo test --release --workspace --locked --test broker --test quarantine --test publishing --test cluster

test-rabbitmq-4: setup runtime parts ## The tests of the broker alone, on RabbitMQ 4; `make test` has them too
	@NIGHTREAD_TEST_RABBITMQ=4 cargo test --release --workspace --locked --test broker --test quarantine --test publishing --test cluster

setup: ## Install what the build needs and this machine lacks (compiler, CMake, venv; apt)
	@worker/tools/setup-build

parts: ## Install the real parts that the tests start: RabbitMQ by apt, Azurite by npm into .cache/
	@tests/setup

build: setup ## Build the release binary
	@cargo build --release --locked -p nightread

runtime: setup ## Fetch ONNX Runtime's library (PROVIDER=cpu or openvino), pinned and checked
	@worker/tools/fetch-runtime $(PROVIDER) >/dev/null

samples: setup ## Fetch real DICOM samples, pinned and checked
	@worker/tools/fetch-samples >/dev/null

check: build ## Validate settings and models
	@$(BINARY) check

models: build ## List the models
	@$(BINARY) models

notebooks: setup runtime samples build $(SCAN) ## Open the notebooks in Jupyter: from files to findings, with the samples and the simulated scan
	@$(call venv,notebooks,models/notebooks/requirements.txt)
	@.cache/venv-notebooks/bin/jupyter lab --notebook-dir models/notebooks

test-fiftyone: setup runtime parts build ## Hold exports against FiftyOne's own importer, which it installs, 1 GB
	@$(call venv,fiftyone,tests/readers/requirements-fiftyone.txt)
	@cargo test --release --locked -p nightread-tests --test tables readers_agree -- --nocapture

test-traces: setup parts ## Test the export of traces: builds the worker anew with the feature otlp
	@cargo build --release --workspace --locked --features nightread/otlp,nightread-tests/otlp --bin nightread --test traces
	@cargo test --release --workspace --locked --features nightread/otlp,nightread-tests/otlp --test traces

lint: setup ## Format check, and clippy with warnings denied
	@cargo fmt --all --check
	@cargo clippy --release --workspace --all-targets --locked -- -D warnings

docs: ## Build the documentation as a book into target/book; builds mdBook once, into .cache/mdbook
	@.cache/mdbook/bin/mdbook --version 2>/dev/null | grep -qx "mdbook v$(MDBOOK)" || \
		cargo install --locked --root .cache/mdbook --no-default-features --features search mdbook@$(MDBOOK)
	@.cache/mdbook/bin/mdbook build worker/docs
	@echo target/book/index.html

reference: build ## Write the reference pages that are made from the code
	@$(BINARY) reference worker/docs/reference
	@$(BINARY) contract > worker/contract.json

deny: ## Hold the lock file against the licences, bans and sources of .cargo/deny.toml; builds cargo-deny once, into .cache/deny
	@.cache/deny/bin/cargo-deny --version 2>/dev/null | grep -qx "cargo-deny $(CARGO_DENY)" || \
		cargo install --locked --root .cache/deny cargo-deny@$(CARGO_DENY)
	@.cache/deny/bin/cargo-deny --config .cargo/deny.toml check licenses bans sources

fmt: ## Format the code
	@cargo fmt --all

demo-cloud: setup runtime samples ## The service against a private RabbitMQ and Azurite: announce, read with two workers, show results
	@tests/demo-cloud

demo-archive: setup runtime samples build ## An X-ray and a CT series into a private Orthanc, read, and their results back in the same studies; installs Orthanc (apt)
	@BINARY=$(BINARY) tests/demo-archive

soak: setup runtime samples parts ## Long storms: kills, broker restarts, storage faults; prints the account of every message
	@cargo build --release --locked -p nightread
	@cargo run --release --locked -q -p nightread-tests --bin soak -- $(SOAK)

parity: setup samples runtime ## Hold tensors against TorchXRayVision's and mutated files against other readers; PARITY=tensors, mutated, volumes or steps for one; steps go on to more images for MINUTES
	@cargo build --release --locked -p nightread -p nightread-tools --bins
	@$(call venv,parity,worker/crates/radiograph/parity/requirements.txt)
	@[[ "$(PARITY)" =~ ^(mutated|steps)$$ ]] || .cache/venv-parity/bin/python worker/crates/radiograph/parity/parity.py --data $(TEST_DATA) \
		--pydicom-data .cache/pydicom-data --dump target/release/dump_tensor
	@[[ "$(PARITY)" =~ ^(tensors|steps)$$ ]] || .cache/venv-parity/bin/python worker/crates/radiograph/parity/mutated.py \
		--dump target/release/dump_samples --scan target/release/dump_scan
	@$(call venv,parity-ct,worker/crates/ct/parity/requirements.txt)
	@[[ "$(PARITY)" =~ ^(tensors|mutated|steps)$$ ]] || .cache/venv-parity-ct/bin/python worker/crates/ct/parity/parity.py \
		--data $(TEST_DATA) --dump target/release/dump_volume
	@$(call venv,parity-steps,worker/crates/steps/parity/requirements.txt)
	@[[ "$(PARITY)" =~ ^(tensors|mutated|volumes)$$ ]] || .cache/venv-parity-steps/bin/python worker/crates/steps/parity/golden.py \
		worker/crates/steps/tests/golden --check
	@[[ "$(PARITY)" =~ ^(tensors|mutated|volumes)$$ ]] || .cache/venv-parity-steps/bin/python models/tools/parity.py \
		--binary $(BINARY) --data $(TEST_DATA)/xray --work .cache/parity --every 100 --minutes $(or $(MINUTES),20)

parity-labels: setup runtime ## Hold grids and labels of a real CT against nnU-Net's, TotalSegmentator's and MONAI's own code, which it installs, 6 GB; PARITY=grids or monai for one
	@cargo build --release --locked -p nightread -p nightread-tools --bins
	@$(call venv,parity-labels,worker/crates/segmentation/parity/requirements.txt)
	@[[ "$(PARITY)" && "$(PARITY)" != grids ]] || .cache/venv-parity-labels/bin/python worker/crates/segmentation/parity/parity.py volumes \
		--data $(TEST_DATA) --dump target/release/dump_grid
	@[[ "$(PARITY)" == grids ]] || .cache/venv-parity-labels/bin/python worker/crates/segmentation/parity/labels.py --binary $(BINARY) \
		--data $(TEST_DATA) --work .cache/parity-labels $(PARITY)

cases: setup runtime ## Hold files that went wrong once, beside the checkout, against their right outcomes; prints every row
	@cargo test --release --workspace --locked -q --test radiograph cases:: -- --nocapture
	@cargo test --release --workspace --locked -q --test scan cases:: -- --nocapture --test-threads 1

bench: runtime samples parts $(HIDING) ## Against PyTorch, IPEX and OpenVINO, and the notebooks in full; BENCH=quick is short, ISA=avx2 hides newer instructions
	@worker/tools/fetch-runtime openvino >/dev/null
	@cargo build --release --locked -p nightread -p nightread-tools -p nightread-tests --bins
	@$(call venv,bench,worker/benches/requirements.txt)
	@( $(call venv,bench-ipex,worker/benches/requirements-ipex.txt) ) || echo "no wheel of IPEX for this Python"
	@$(HIDDEN) .cache/venv-bench/bin/python worker/benches/inference.py --work .cache/bench \
		--ipex-python .cache/venv-bench-ipex/bin/python $(if $(filter quick,$(BENCH)),--pairs 3)
	@$(HIDDEN) .cache/venv-bench/bin/python worker/benches/end_to_end.py --work .cache/bench --data $(TEST_DATA) \
		$(if $(filter quick,$(BENCH)),--images 8 --rounds 3)
	@$(call venv,notebooks,models/notebooks/requirements.txt)
	@$(HIDDEN) .cache/venv-notebooks/bin/python models/tools/render_notebooks.py --out .cache/bench/notebooks

saturation: runtime $(HIDING) ## One core against all: rate, use of the cores, overhead, memory; N images, ROUNDS times
	@cargo build --release --locked -p nightread
	@$(HIDDEN) worker/tools/saturation

.cache/hiding/avx2_only.so: worker/benches/avx2_only.c
	@mkdir -p $(@D)
	@cc -O2 -Wall -Wextra -shared -fPIC -o $@ $<

bench-fmri: setup ## Group ICA and dual regression against nilearn, nibabel and NumPy, in one run
	@cargo build --release --locked -p nightread-tools --bins
	@$(call venv,bench-fmri,worker/benches/fmri/requirements.txt)
	@.cache/venv-bench-fmri/bin/python worker/benches/fmri/compare.py --bin target/release \
		--data $(TEST_DATA) --work .cache/bench-fmri

bench-table: setup ## Tables of COUNT synthetic documents against a plain loop of json and pandas, in one run
	@cargo build --release --locked -p nightread -p nightread-tools --bin nightread --bin table_speed
	@$(call venv,readers,tests/readers/requirements.txt)
	@.cache/venv-readers/bin/python worker/benches/table.py --work .cache/bench-table --count $(COUNT) \
		--speed target/release/table_speed --binary $(BINARY)

bench-volumes: setup runtime ## CT volumes against nnU-Net's, TotalSegmentator's and MONAI's own code, and INT8; VOLUMES="trunk --runs 1" for one case; up to 12 GiB of memory; brings PyTorch
	@worker/tools/fetch-runtime openvino >/dev/null
	@cargo build --release --locked -p nightread
	@$(call venv,peers,models/requirements-peers.txt)
	@.cache/venv-peers/bin/python worker/benches/volumes/compare.py --data $(TEST_DATA) --work .cache/bench-volumes $(or $(VOLUMES),abdomen)
	@$(if $(VOLUMES),,.cache/venv-peers/bin/python worker/benches/volumes/compare.py --data $(TEST_DATA) --work .cache/bench-volumes body --slices 96)
	@$(if $(VOLUMES),,.cache/venv-peers/bin/python worker/benches/volumes/int8.py models/ct-organs-demo --data $(TEST_DATA) --work .cache/bench-volumes/int8)
	@$(if $(VOLUMES),,.cache/venv-peers/bin/python worker/benches/volumes/int8.py .cache/bench-volumes/models/seeded-nnunet --data $(TEST_DATA) --work .cache/bench-volumes/int8)
	@$(if $(VOLUMES),,.cache/venv-peers/bin/python worker/benches/volumes/compare.py --data $(TEST_DATA) --work .cache/bench-volumes trunk body)

fuzz: ## Fuzz every decoder with coverage guidance, SECONDS_EACH seconds a target; needs nightly Rust and cargo-fuzz
	@for crate in radiograph ct; do cd $(CURDIR)/worker/crates/$$crate; for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run --release $$target -- -max_total_time=$(SECONDS_EACH) -rss_limit_mb=2048; done; done
	@for crate in volume fmri; do cd $(CURDIR)/worker/crates/$$crate; for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run $$target -- -max_total_time=$(SECONDS_EACH) -rss_limit_mb=2048; done; done

test-models: ## Test the training and export scripts (Python; brings PyTorch, several GB)
	@$(call venv,models,models/requirements-dev.txt)
	@.cache/venv-models/bin/python -m pytest -q models

infra-check: ## Check Bicep and Terraform offline; what is not installed is SKIPPED by name
	@infra/checks/run

infra-test: ## The checks of infra/ that need only Python: contract with the worker, Bicep, units, packaging, broker
	@infra/checks/run --quick

package: runtime build ## Build the self-contained archive of binary, runtime, models and units
	@infra/package/build-archive $(PACKAGED)

deb: runtime build ## Build the Debian package
	@infra/package/build-deb $(PACKAGED)

package-test: package samples ## Install the archive into a bare root and read an X-ray and a scan there; as root
	@infra/package/test-package dist/nightread-$(VERSION)-*.tar.gz .cache/samples/RG1_UNCR.dcm

clean: ## Remove what was built and fetched
	@rm -rf target .cache out dist
