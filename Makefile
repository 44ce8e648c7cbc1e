# Weft. `make run` shows it, `make test` checks all that CI checks; both do their own set-up on a machine with Go and make.

SHELL       := /bin/bash
GO          ?= go
GOFLAGS_OWN := -ldflags='-s -w'
BINARIES    := weft gateway mesh agent collector demo
# Packages with concurrency of our own: racing Prometheus and the OpenTelemetry Collector costs a second cold compile.
RACED       := ./internal/... ./gateway/... ./mesh/... ./weft/... ./collector/correlate/... ./collector/health/... \
               ./collector/store/segment/... ./collector/signal/...
FUZZTIME    ?= 20s
SPANS       ?= 100000000
KILLS       ?= 100
# Compiling it takes four minutes of processor time, so CI does without; whoever changes code should not.
LINTER      := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOLANGCI    ?= $(firstword $(wildcard bin/tools/golangci-lint) $(shell command -v golangci-lint))

.DEFAULT_GOAL := help
.PHONY: help build run test unit e2e race lint lint-tool bench bench-micro bench-compare bench-large soak fuzz check packages console console-check

help: ## this text
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: ## put weft, gateway, mesh, agent, collector and the demo in bin/
	@mkdir -p bin
	$(GO) build $(GOFLAGS_OWN) -o bin/ $(BINARIES:%=./cmd/%)

run: build ## build, start everything with the demo, and say what to open
	@exec bin/weft up $(ARGS)

test: packages lint build console-check unit race e2e ## everything that CI checks
	@echo "make test: all of it passed"

packages: ## install the Debian packages that the tests use, where that is allowed
	@.ci/packages

lint: ## gofmt, go vet, and golangci-lint where it is installed (make lint-tool)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	@if [ -n "$(GOLANGCI)" ]; then "$(GOLANGCI)" run; else echo "lint: gofmt and go vet only; make lint-tool installs golangci-lint"; fi

lint-tool: ## install golangci-lint into bin/tools, through the Go module proxy
	GOBIN=$(CURDIR)/bin/tools $(GO) install $(LINTER)

unit: ## unit tests of every package
	$(GO) test $$($(GO) list ./... | grep -v '/e2e')

race: ## the race detector, where our own concurrency lives
	$(GO) test -race $(RACED)

e2e: build ## the whole system as real processes, the console in a real browser
	$(GO) test -count=1 -timeout 25m ./e2e/...

bench: bench-micro bench-compare ## what everything costs: every hot path, then real processes under load, as tables in Markdown

bench-micro: ## benchmarks of every hot path
	$(GO) test -run '^$$' -bench . -benchmem ./internal/... ./gateway/... ./mesh/... ./collector/... ./bench/...

bench-compare: build ## CPU, memory, disk and look-ups of real processes; PEERS='-jaeger PATH …' adds theirs
	$(GO) build -o bin/tools/ ./bench/cmd/weft-bench
	@echo; bin/tools/weft-bench compare -for 20s $(PEERS)
	@echo; bin/tools/weft-bench lookup -size 400000 -under 5000 -questions 250

bench-large: build ## look-ups over SPANS sealed spans, after a restart, under load; DATA keeps them where you say
	$(GO) build -o bin/tools/ ./bench/cmd/weft-bench
	@echo; bin/tools/weft-bench lookup -size $(SPANS) -under 20000 -questions 2000 $(DATA:%=-data % -keep -ledger %/sent.list)

soak: build ## KILLS times kill -9 of agent or collector under load, and an account of everything acknowledged
	WEFT_KILLS=$(KILLS) $(GO) test -count=1 -v -timeout 4h -run TestNothingAcknowledgedIsLostToKills ./e2e

fuzz: ## fuzz every decoder for FUZZTIME
	@for package in $$(grep -rlE '^func Fuzz' --include=*_test.go . | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$package/*_test.go | sed 's/func //'); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package || exit 1; done; done

check: lint unit ## the quick half of make test

console: ## rebuild the console's committed files from their source
	cd console && npm ci --no-audit --no-fund --silent && npm run --silent build

console-check: ## the console's own checks, and that its committed files are what its source builds
	@if command -v npm >/dev/null; then cd console && npm ci --no-audit --no-fund --silent && npm run --silent check \
	  && npm test --silent && npm run --silent verify; \
	else echo "console-check: skipped, npm is not installed"; fi
