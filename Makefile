SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUF := go tool -modfile=tools/go.mod buf
GOLANGCI_LINT := go tool -modfile=tools/go.mod golangci-lint

.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Build, then run a demo: a server with a simulated company that streams into it.
	bin/insights demo

.PHONY: build
build: ## Build bin/insights.
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/insights ./cmd/insights

.PHONY: test
test: ## Run all tests, on SQLite and on a Postgres that the tests start.
	scripts/test-deps.sh
	go test -race ./...

.PHONY: lint
lint: ## Check code and contract without running them.
	$(BUF) lint
	$(BUF) format --diff --exit-code
	go vet ./...
	$(GOLANGCI_LINT) run

.PHONY: generate
generate: ## Generate gen/ from api/.
	$(BUF) generate

.PHONY: verify-generated
verify-generated: generate ## Fail if gen/ is not what api/ says.
	@git diff --exit-code -- gen
	@untracked=$$(git ls-files --others --exclude-standard -- gen); \
	if [[ -n $$untracked ]]; then echo "not committed:" $$untracked >&2; exit 1; fi

.PHONY: breaking
breaking: ## Fail if the contract breaks what the branch main promises.
	@if git cat-file -e main:buf.yaml 2>/dev/null; then $(BUF) breaking --against '.git#branch=main'; \
	else echo "no contract on a branch main to compare with"; fi

.PHONY: bench
bench: ## Measure ingest and queries on this machine, beside the goals.
	go run ./test/bench

.PHONY: clean
clean: ## Remove what was built.
	rm -rf bin
