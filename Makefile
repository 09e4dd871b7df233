# Everything that people and CI do, one target each. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

VERSION := 0.1.0-dev
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
BUILT_AT := $(shell git show -s --format=%cI HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.builtAt=$(BUILT_AT)
COMMANDS := gateway gatewayctl devicesim analytics
TOOL := go tool -modfile=tools/tools.mod
BUF := clients/node_modules/.bin/buf
NODE := clients/node_modules/.installed
VENV := .tmp/venv
PYTHON := $(VENV)/.installed
MQTTJS := test/mqttjs/node_modules/.installed
export CGO_ENABLED := 0

.PHONY: help
help: ## Show every target
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Daily work

.PHONY: run
run: build ## Start a gateway in development mode with five simulated devices
	exec bin/gateway serve --dev --simulate 5

.PHONY: build
build: ## Build bin/gateway, gatewayctl, devicesim and analytics
	@mkdir -p bin
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(COMMANDS:%=./cmd/%)

.PHONY: check
check: lint unit ## Lint, architecture and unit tests, in under 2 minutes

.PHONY: test
test: peers check contracts race crash-states sim e2e ## Everything: installs what it needs, tests in every language, real processes
	@echo "make test: everything passed"

.PHONY: test-long
test-long: long-fuzz long-states long-flips long-carve long-model mutants long-sim long-crash long-outage ## The long lanes, most of a day; each can be started alone, and make -k test-long goes on after one that fails
	@echo "make test-long: everything passed"

.PHONY: bench
bench: peers ## Benchmarks with the side-by-side table, 10 to 15 minutes on a quiet machine
	@mkdir -p .tmp
	cd test && go run ./cmd/bench --raw ../.tmp/bench.txt

.PHONY: clean
clean: ## Remove what was built and installed below this folder
	rm -rf bin .tmp clients/node_modules clients/.build test/.tmp test/mqttjs/node_modules

## Parts of check and test

GO_FOLDERS := cmd proto server test third_party/vendorproto

.PHONY: lint
lint: $(NODE) ## Formatting, go vet, staticcheck, buf lint, shell syntax
	@unformatted=$$(gofmt -l $(GO_FOLDERS))
	[ -z "$$unformatted" ] || { echo "not formatted (make format): $$unformatted"; exit 1; }
	go vet ./...
	(cd test && go vet ./...)
	$(TOOL) staticcheck ./...
	$(BUF) lint
	$(BUF) format --diff --exit-code proto
	bash -n .ci/run tools/debian tools/fuzz proto/breaking.sh

.PHONY: format
format: $(NODE) ## Format Go and protobuf
	gofmt -w $(GO_FOLDERS)
	$(BUF) format --write proto

.PHONY: unit
unit: ## Unit and architecture tests
	go test ./...

# Tests that go through thousands of states one after the other: minutes with the
# race detector, and nothing runs at the same time in them that does not in others.
# Those that need no more than the queue shows are in server/queue/crashtest.
ENUMERATING := TestQueue_(Forecast|CutWhile|Volume|NoRoomAtAnyCall|DamagedCount|MaxLagAfterACrash)|TestQueue_Time/ADayLater|TestOpen_(Flips|Head|Letter|Misread|Salvage|WholeFile)|TestSalvage_|TestOperations_PowerCut

.PHONY: race
race: ## Unit tests again, with the race detector
	CGO_ENABLED=1 go test -race $$(go list ./server/... | grep -v -e /server/queue$$ -e /crashtest$$)
	CGO_ENABLED=1 go test -race ./server/queue -timeout 20m -rapid.checks 20 -skip '$(ENUMERATING)'

.PHONY: sim
SEED := 0
sim: ## Simulate one seed with a trace: make sim SEED=7 (without SEED: 1,000 seeds)
	go test -count=1 ./server/sim -run 'TestSim$$' -v -timeout 30m $(if $(filter-out 0,$(SEED)),-seed $(SEED),-seeds 1000)

.PHONY: crash-states
crash-states: ## 5,000 states that a power cut can leave, a fault at every call of the queue, flipped bits: 600 anywhere, and each in the heads of a file
	go test -count=1 ./server/queue/crashtest -v -timeout 30m -states 5000 -sweep-stride 1
	go test -count=1 ./server/queue -run 'TestOpen_(Flips|HeadFlips|LetterFlips)$$' -v -timeout 30m -flips 600

.PHONY: mutants
mutants: peers ## Plant one known fault after the other: found within 1,000 seeds of the simulation, and within 50 kills or power cuts
	go test -count=1 ./server/sim -run TestMutants -v -timeout 60m -mutants | grep -v '^=== '
	cd test && go test -count=1 ./crash -run '_Mutant$$' -v -timeout 30m | grep -v '^=== '

.PHONY: e2e
e2e: peers $(NODE) $(MQTTJS) ## End-to-end tests with real processes and real clients
	cd test && go test -p 1 -count=1 -timeout 25m ./...

## The long lanes

.PHONY: long-fuzz
long-fuzz: ## Every fuzz target for a minute
	tools/fuzz 60s

.PHONY: long-states
long-states: ## 100,000 states that a power cut can leave
	go test -count=1 ./server/queue/crashtest -run TestQueue_CrashStates -v -timeout 2h -states 100000

.PHONY: long-flips
long-flips: ## 10,000 flipped bits
	go test -count=1 ./server/queue -run 'TestOpen_(Flips|HeadFlips|LetterFlips)$$' -v -timeout 2h -flips 10000

.PHONY: long-carve
long-carve: ## A gigabyte of what devices may send, salvaged
	go test -count=1 ./server/queue -run TestSalvage_WhateverDevicesSend -v -timeout 1h -carve-bytes 1000000000

.PHONY: long-model
long-model: ## 5,000 histories of the queue against a map
	go test -count=1 ./server/queue -run TestQueue_Model -v -timeout 60m -rapid.checks 5000 -rapid.steps 100

.PHONY: long-sim
long-sim: ## 100,000 seeds of the simulation
	go test -count=1 ./server/sim -run 'TestSim$$' -v -timeout 12h -seeds 100000

.PHONY: long-crash
long-crash: peers ## 10,000 kills, 10 at each named place, 1,000 power cuts, a backlog of 72 hours
	cd test && go test -count=1 ./crash -run 'TestKill$$|TestPoint|TestPower$$|TestBacklog' -v -timeout 8h -cycles 10000 -kills-per-point 10 -cuts 1000 -backlog 26000000

.PHONY: long-outage
long-outage: peers ## A sink that is away for ten minutes
	cd test && go test -count=1 ./e2e -run TestOutage -v -timeout 30m -outage 10m

## Contracts

.PHONY: generate
generate: $(NODE) $(PYTHON) ## Generate Go, TypeScript, Python and C from proto/
	$(BUF) generate
	$(BUF) generate --template buf.gen.clients.yaml

.PHONY: contracts
contracts: peers $(NODE) $(PYTHON) ## Generated code is current, contracts are compatible, four languages agree on the vectors
	rm -rf .tmp/generated
	$(BUF) generate --output .tmp/generated
	$(BUF) generate --template buf.gen.clients.yaml --output .tmp/generated
	diff -r -x README.md -x .gitattributes -x __pycache__ gen .tmp/generated/gen
	proto/breaking.sh
	(cd third_party/vendorproto && go test ./...)
	(cd third_party/nanopb && sha256sum --check --quiet SHA256SUMS)
	clients/node_modules/.bin/tsc -p test/vectors/ts
	node --test --test-reporter=dot clients/.build/test/vectors/ts/vectors_test.js
	PYTHONPATH=gen/py $(VENV)/bin/python -B test/vectors/py/vectors_test.py
	cc -std=c11 -O1 -g -Wall -Wextra -Wpedantic -Werror -fsanitize=address,undefined -Ithird_party/nanopb -Igen/nanopb \
		third_party/nanopb/*.c gen/nanopb/gateway/telemetry/v1/*.c test/vectors/c/vectors_test.c -o .tmp/vectors_test
	.tmp/vectors_test proto/vectors/valid/*/

## Tools

.PHONY: peers
peers: ## Install the Debian packages that tests use as real peers (as root; else say which)
	@tools/debian

$(NODE): clients/package-lock.json
	cd clients && npm ci --no-audit --no-fund --loglevel=error
	touch node_modules/.installed

$(MQTTJS): test/mqttjs/package-lock.json
	cd test/mqttjs && npm ci --no-audit --no-fund --loglevel=error
	touch node_modules/.installed

$(PYTHON): clients/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r clients/requirements.txt
	touch $@
