# Baliza's commands. "make help" lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
# Go uses every core by itself; two builds at once would only compete.
.NOTPARALLEL:

# The administrator's programs (ip, nft, tcpdump) are not on every user's PATH.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

BIN := $(CURDIR)/bin
GO_BUILD := hack/build-with-progress.sh
TOOLS_MOD := tools/go.mod tools/go.sum

# The version that the Kubernetes programs report. Without it clients choke.
KUBERNETES := $(shell awk '$$1 == "k8s.io/kubernetes" { print $$2 }' e2e/go.mod)
KUBE_STAMP := -X k8s.io/component-base/version
KUBE_LDFLAGS := -s -w $(KUBE_STAMP).gitVersion=$(KUBERNETES) \
	$(KUBE_STAMP).gitMajor=$(word 1,$(subst ., ,$(KUBERNETES:v%=%))) \
	$(KUBE_STAMP).gitMinor=$(word 2,$(subst ., ,$(KUBERNETES:v%=%)))

# What the tests run, beside the programs.
LINT_NEEDS := bin/golangci-lint bin/helm bin/helm3 bin/kube
UNIT_NEEDS := bin/helm bin/cyclonedx-gomod
E2E_NEEDS := bin/helm bin/helm3

# How long each fuzz target runs, and which benchmarks do.
FUZZTIME ?= 20s
BENCH ?= .

# What an image is made for: these, or "native", this machine alone.
PLATFORMS ?= linux/amd64 linux/arm64 linux/arm/v7

# How often bench-arp measures.
ROUNDS ?= 5

##@ See it

.PHONY: demo
demo: deps build bin/helm ## start a Kubernetes in namespaces and watch Baliza serve it (KEEP=1 leaves it running)
	$(BIN)/lab demo

.PHONY: lab
lab: deps build ## start such a cluster, with Baliza's images on its nodes, and keep it until Ctrl-C
	$(BIN)/lab up

.PHONY: install
install: bin/helm ## install the chart with Helm, for example on the cluster of "make lab" (KUBECONFIG=…, HELM_ARGS=…)
	$(BIN)/helm upgrade --install baliza deploy/helm/baliza --namespace baliza-system --create-namespace --wait $(HELM_ARGS)

##@ Test it

# The labs come last and have the machine for themselves, for some scenarios are about
# how soon something happens. Two run at once (hack/test-e2e.sh), as do four packages of
# unit tests (hack/test-unit.sh): what they share, and how it is bounded, is in
# CONTRIBUTING.md.
.PHONY: test
test: deps build lint verify-generated test-unit test-e2e ## everything below, as it must pass before a change is merged
	@echo "test: ok: lint, generated files, unit tests and lab scenarios passed"

.PHONY: test-unit
test-unit: deps images-tool $(UNIT_NEEDS) ## vet, unit tests with the race detector, fuzz seeds
	@BIN=$(BIN) hack/test-unit.sh
	@$(MAKE) --no-print-directory worlds

.PHONY: worlds
worlds: deps ## random worlds of speakers on a simulated network, against the promise of one owner (N=2000, SEED=1, 0 for a new one; KIND=TestOneOwner for those in which the LAN is well, TestL19 for deaf nodes)
	@echo "worlds: $(or $(N),2000) random worlds"
	@go test -count=1 -timeout 0 -run '^$(or $(KIND),TestRandomWorlds)' ./speaker/sim -rapid.checks=$(or $(N),2000) -rapid.seed=$(or $(SEED),1)

.PHONY: test-e2e
test-e2e: deps build $(E2E_NEEDS) ## the scenarios, on a real Kubernetes in network namespaces
	@BIN=$(BIN) hack/test-e2e.sh

# axe-core is fetched and not kept; chromium is Debian's.
.PHONY: test-page
test-page: deps artifacts/axe/node_modules/axe-core/axe.min.js ## the status page in a real Chromium, with axe-core (needs chromium and npm; SCREENSHOTS is a folder for pictures)
	@AXE=$(CURDIR)/artifacts/axe/node_modules/axe-core/axe.min.js go test -count=1 -tags browser -run 'Seen|OneTypes|Accessible|Script|Screenshots' ./controller/page

artifacts/axe/node_modules/axe-core/axe.min.js:
	@mkdir -p artifacts/axe
	@npm install --prefix artifacts/axe --no-save --no-audit --no-fund axe-core@4.14.1

.PHONY: lint
lint: deps $(LINT_NEEDS) ## golangci-lint on all modules, the Helm chart, the shell scripts
	@BIN=$(BIN) hack/lint.sh

.PHONY: verify-generated
verify-generated: deps bin/helm ## fail if generated files, install.yaml or go.mod files are out of date
	@hack/verify-generated.sh

.PHONY: fuzz
fuzz: deps ## run every fuzz target for FUZZTIME (20s) each
	@hack/fuzz.sh $(FUZZTIME)

.PHONY: bench
bench: deps ## run the Go benchmarks (BENCH selects by name)
	@go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

# Each Go benchmark runs three times and the best counts: the others met
# something else on the machine.
.PHONY: bench-ipam
bench-ipam: deps build bin/helm ## what an address costs: in memory, and end to end on the lab against bare status writes
	@echo "bench-ipam: the books alone"
	@mkdir -p artifacts
	@go test -run '^$$' -bench '^BenchmarkAllocateAt' -benchtime 300000x -count 3 ./controller/ipam | tee artifacts/bench-ipam.txt
	@go test -run '^$$' -bench '^BenchmarkFill16$$' -benchtime 3x -count 3 ./controller/ipam | tee -a artifacts/bench-ipam.txt
	@go test -run '^$$' -bench '^Benchmark(Wake10k|TenantWait)$$' -benchtime 50x -count 3 ./controller/reconcile | tee -a artifacts/bench-ipam.txt
	@echo "bench-ipam: end to end on the lab"
	@cd e2e && LAB_BIN=$(BIN) go run ./bench/ipam -benchmarks ../artifacts/bench-ipam.txt

.PHONY: bench-arp
bench-arp: deps ## what answering ARP costs in a flood, with 10 and 10,000 addresses (ROUNDS=5)
	@go run ./speaker/l2/bench -rounds $(ROUNDS)

.PHONY: bench-failover
bench-failover: deps build bin/helm ## failover figures on the lab (TRIALS=20, BUSY=10m, ADDRESSES=2000, STOPS=5, BLOCKED=20s, DEAF=4m, FORGED=30s; PEER_* compares another provider)
	@CGO_ENABLED=0 $(GO_BUILD) e2e ./bench -- -o $(BIN)/
	@mkdir -p artifacts
	@cd artifacts && LAB_BIN=$(BIN) $(BIN)/bench

.PHONY: bench-bgp
bench-bgp: deps build bin/helm ## BGP figures on the lab, against FRR (TRIALS=20, ROUTES=10000)
	@CGO_ENABLED=0 $(GO_BUILD) e2e ./bench/bgp -- -o $(BIN)/bench-bgp
	@mkdir -p artifacts
	@echo "bench-bgp: a pass that dead peers bring about"
	@go test -run '^$$' -bench '^BenchmarkPass64DeadPeersAt10000$$' -benchtime 50x -count 3 ./speaker | tee artifacts/bench-bgp-pass.txt
	@cd artifacts && LAB_BIN=$(BIN) $(BIN)/bench-bgp -benchmarks bench-bgp-pass.txt

.PHONY: bench-cli
bench-cli: deps build bin/helm ## how long kubectl baliza takes with 10,000 Services, on the lab (SERVICES=10000, TRIALS=15)
	@cd e2e && LAB_BIN=$(BIN) go run ./bench/cli

.PHONY: bench-page
bench-page: deps ## what a change costs the status page with 10,000 Services and a viewer, in time and memory
	@mkdir -p artifacts
	@go test -run '^$$' -bench '^BenchmarkPageOf10k$$' -benchtime 20x -count 3 ./controller/page | tee artifacts/bench-page.txt
	@awk '/^BenchmarkPageOf10k/ { for (i = 3; i < NF; i += 2) if ($$(i+1) ~ /^page_/ && (!($$(i+1) in best) || $$i < best[$$(i+1)])) best[$$(i+1)] = $$i } \
		END { if (!("page_ms" in best)) exit 1; printf "page_ms=%s page_mb=%s\n", best["page_ms"], best["page_mb"] }' artifacts/bench-page.txt

##@ Build it

.PHONY: build
build: deps bin/kube bin/gobgpd programs native-images lab-images ## the controller, the speaker, kubectl-baliza and the lab, into bin/, and the images

.PHONY: images
images: deps-go images-tool ## images of controller and speaker, into bin/images/ (PLATFORMS="linux/amd64 linux/arm64", or native)
	@PLATFORMS="$(PLATFORMS)" hack/images.sh $(BIN)/images "$$(hack/version.sh)"

.PHONY: native-images
native-images: images-tool
	@PLATFORMS=native hack/images.sh $(BIN)/images "$$(hack/version.sh)"

.PHONY: generate
generate: deps bin/helm ## regenerate deep copies, client, CRDs, install.yaml and docs/values.md
	@hack/generate.sh

.PHONY: clean
clean: ## remove what was built (Go's own caches stay)
	rm -rf bin artifacts dist

##@ Publish it

.PHONY: release
release: deps-go images-tool bin/helm bin/cyclonedx-gomod ## everything of a release, into dist/ (VERSION=v0.2.0)
	@PLATFORMS="$(PLATFORMS)" hack/release.sh "$(VERSION)"

.PHONY: publish
publish: deps-go images-tool bin/helm ## push images and chart (REGISTRY=registry.example.org/baliza; VERSION=v0.2.0 pushes dist/)
	@PLATFORMS="$(PLATFORMS)" hack/publish.sh "$(REGISTRY)" "$(VERSION)"

##@ Help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

# What the targets above stand on.

.PHONY: deps
deps:
	@hack/deps.sh

.PHONY: deps-go
deps-go:
	@hack/deps.sh go

# Go itself knows whether these are up to date. With -trimpath, as in the images,
# nothing is compiled twice.
.PHONY: programs
programs:
	@CGO_ENABLED=0 $(GO_BUILD) . ./controller ./speaker -- -o $(BIN)/ -trimpath -ldflags "$$(hack/ldflags.sh)"
	@CGO_ENABLED=0 $(GO_BUILD) . ./cli -- -o $(BIN)/kubectl-baliza -trimpath -ldflags "$$(hack/ldflags.sh)"
	@CGO_ENABLED=0 $(GO_BUILD) e2e ./cmd/lab ./cmd/web -- -o $(BIN)/ -trimpath -ldflags "-s -w"

# Another of some thousand packages, in a module of its own because it wants
# other versions of what Kubernetes is made of.
bin/coredns: $(wildcard e2e/coredns/*)
	@CGO_ENABLED=0 $(GO_BUILD) e2e/coredns . -- -o $(BIN)/coredns -ldflags "-s -w"
	@touch -c $@

# The images of the lab itself. The product's are those of "make images".
LAB_IMAGE = $(BIN)/images-tool build -o $(BIN)/images/$(1).tar --name docker.io/lab/$(1):v1
.PHONY: lab-images
lab-images: programs images-tool bin/coredns
	@mkdir -p $(BIN)/images
	@$(call LAB_IMAGE,web) --user 0:0 --entrypoint /web --file /web=$(BIN)/web
	@$(call LAB_IMAGE,pause) --user 65535:65535 --entrypoint /web,pause --file /web=$(BIN)/web
	@$(call LAB_IMAGE,coredns) --user 0:0 --entrypoint /coredns --file /coredns=$(BIN)/coredns

.PHONY: images-tool
images-tool:
	@CGO_ENABLED=0 $(GO_BUILD) tools ./images -- -o $(BIN)/images-tool

# Kubernetes and etcd, some thousand packages: minutes when nothing is cached,
# so make decides whether it is up to date.
bin/kube: $(wildcard e2e/kube/*.go) e2e/go.mod e2e/go.sum
	@$(GO_BUILD) e2e ./kube -- -o $(BIN)/ -ldflags "$(KUBE_LDFLAGS)"
	@touch -c $@

# One of the lab's routers. It is a module of its own so that what it needs does
# not choose the versions that Kubernetes is built with.
GOBGP := github.com/osrg/gobgp/v4/cmd
bin/gobgpd: e2e/gobgp/go.mod e2e/gobgp/go.sum
	@$(GO_BUILD) e2e/gobgp $(GOBGP)/gobgpd $(GOBGP)/gobgp -- -o $(BIN)/
	@touch -c $@

.PHONY: tools
tools: bin/golangci-lint bin/helm bin/helm3 bin/cyclonedx-gomod

bin/golangci-lint: $(TOOLS_MOD)
	@$(GO_BUILD) tools github.com/golangci/golangci-lint/v2/cmd/golangci-lint -- -o $(BIN)/
	@touch -c $@

# Both majors are in use, and they install in different ways.
bin/helm3: $(TOOLS_MOD)
	@$(GO_BUILD) tools helm.sh/helm/v3/cmd/helm -- -o $(BIN)/helm3
	@touch -c $@

bin/helm: $(TOOLS_MOD)
	@$(GO_BUILD) tools helm.sh/helm/v4/cmd/helm -- -o $(BIN)/
	@touch -c $@

bin/cyclonedx-gomod: $(TOOLS_MOD)
	@$(GO_BUILD) tools github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod -- -o $(BIN)/
	@touch -c $@
