# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# `make help` lists what there is. Whatever is downloaded or built once lies in the cache, FAIRLEAD_CACHE.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export FAIRLEAD_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fairlead
export GOLANGCI_LINT_CACHE ?= $(FAIRLEAD_CACHE)/golangci-lint

# What test, lint and fmt look at: make lint PKG=./runtime/config/...
PKG ?= ./...
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The names of the images: $(IMAGE_PREFIX)/fairlead-runtime:$(IMAGE_TAG).
IMAGE_PREFIX ?= fairlead.invalid
IMAGE_TAG ?= dev
# Where make demo runs: local, or current for the current context of kubectl.
CLUSTER ?= local

GO_BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'

##@ Build

.PHONY: build
build: ## Build bin/fairlead-operator, bin/fairlead-runtime and bin/kubectl-fairlead, static.
	$(GO_BUILD) -o bin/fairlead-operator .
	$(GO_BUILD) -o bin/fairlead-runtime ./runtime
	$(GO_BUILD) -o bin/kubectl-fairlead ./kubectl-fairlead

.PHONY: images
images: build ## Build the images without Docker, as bin/images/*.tar (IMAGE_PREFIX, IMAGE_TAG).
	go -C hack/images run . -binaries '$(CURDIR)/bin' -output '$(CURDIR)/bin/images' \
	  -prefix '$(IMAGE_PREFIX)' -tag '$(IMAGE_TAG)' -version '$(VERSION)'

.PHONY: generate
generate: ## Generate deep copies, the CRD and the operator's RBAC from the Go types and markers.
	hack/generate.sh

##@ Check

.PHONY: test
test: ## Run all tests but the cluster's: unit, golden, API server, protocol, conformance, clients, tools.
	hack/test.sh $(PKG)

.PHONY: e2e
e2e: prepare ## Run the tests of a real cluster, which stays up: the local one, built the first time (FLAGS=-test.run=TestX).
	test/e2e/run.sh $(FLAGS)

.PHONY: e2e-long
e2e-long: prepare ## Run the chaos on the local cluster for 10 minutes and the soak for 30 (FLAGS=-chaos-seed=N).
	test/e2e/run.sh --soak 30m -test.run=TestSessionsSurvive -chaos-for=10m $(FLAGS)

.PHONY: lint
lint: ## Lint all modules, or only PKG=./some/package/... of the product's.
	hack/lint.sh $(if $(filter-out ./...,$(PKG)),$(PKG))

.PHONY: fmt
fmt: ## Format all Go files of all modules.
	hack/lint.sh --fmt

.PHONY: verify
verify: ## Check that generated files and go.mod files are current, then vet, lint and the rules of the repository.
	hack/verify.sh

.PHONY: bench-operator
bench-operator: ## Measure the operator on a real API server, with 1,000 servers (FLAGS=-servers=200): one table.
	KUBEBUILDER_ASSETS="$$(go -C hack/cluster run . assets)" go run ./bench/operator $(FLAGS)

.PHONY: bench
bench: ## Measure the runtime beside other servers, a quarter of an hour (FLAGS='-only idle,call', BRIDGES=1): one table.
	go -C bench/runtime run . $(if $(BRIDGES),-bridges) $(FLAGS)

##@ Try

.PHONY: prepare
prepare: ## Install the Debian packages that a local cluster needs (as root; nothing when they are there).
	hack/prepare.sh

.PHONY: demo
demo: ## Fairlead on a local cluster: a sample, a tool call over each transport, a URL (CLUSTER=current: on yours).
	CLUSTER='$(CLUSTER)' IMAGE_PREFIX='$(IMAGE_PREFIX)' IMAGE_TAG='$(IMAGE_TAG)' hack/demo/demo.sh up

.PHONY: demo-down
demo-down: ## Remove all that make demo made; the cache stays.
	CLUSTER='$(CLUSTER)' hack/demo/demo.sh down

.PHONY: cluster-up
cluster-up: prepare ## Start a local cluster in namespaces of its own; the first time builds Kubernetes, about ten minutes.
	go -C hack/cluster run . up

.PHONY: cluster-down
cluster-down: ## Stop the local cluster and remove all that it made; the cache stays.
	go -C hack/cluster run . down

##@ Help

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make TARGET [NAME=value]\n"} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-zA-Z0-9_-]+:.*##/ {printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
