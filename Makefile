# Nightread. `make help` lists what can be made.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test parts build runtime samples lint fmt check models clean parity fuzz

PROVIDER ?= cpu
OUT ?= out
BINARY := target/release/nightread
VENV := .cache/venv

help: ## Show this list
	@echo "Nightread reads chest X-rays and resting-state fMRI on CPUs. Not a medical device."
	@echo
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: runtime samples build ## Read real chest X-rays: fetches all it needs, then prints findings
	@$(BINARY) process .cache/samples --out $(OUT) $(if $(FORCE),--force)

test: runtime samples parts ## Run all tests; installs RabbitMQ (apt) and Azurite (npm) for them when they are missing
	@worker/tools/fetch-runtime openvino >/dev/null || [ "$$(uname -m)" != x86_64 ]
	@cargo test --release --workspace --locked

parts: ## Install the real parts that the tests start: RabbitMQ by apt, Azurite by npm into .cache/
	@tests/setup

build: ## Build the release binary
	@cargo build --release --locked -p nightread

runtime: ## Fetch ONNX Runtime's library (PROVIDER=cpu or openvino), pinned and checked
	@worker/tools/fetch-runtime $(PROVIDER) >/dev/null

samples: ## Fetch real DICOM samples, pinned and checked
	@worker/tools/fetch-samples >/dev/null

check: build ## Validate settings and models
	@$(BINARY) check

models: build ## List the models
	@$(BINARY) models

lint: ## Format check, and clippy with warnings denied
	@cargo fmt --all --check
	@cargo clippy --release --workspace --all-targets --locked -- -D warnings

fmt: ## Format the code
	@cargo fmt --all

clean: ## Remove what was built and fetched
	@rm -rf target .cache out
