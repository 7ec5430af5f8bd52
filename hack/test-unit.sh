#!/usr/bin/env bash
# Runs vet and the tests that need no lab, with the race detector. Run through
# "make test-unit", which builds what it needs. BIN is where that is: bin/ unless it
# is set.
set -euo pipefail
cd "$(dirname "$0")/.."
export BIN=${BIN:-$PWD/bin}

echo "test-unit: vet"
go vet ./...
# Packages that have tests; go test would name the others one by one.
mapfile -t packages < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)

# Most tests wait, for a time-out or for another process: four packages at once
# take no longer than the slowest. They bound what they share (CONTRIBUTING.md).
# The time-out catches a hang: beside labs some wait for the processors.
echo "test-unit: tests of the main module"
go test -race -p 4 -timeout 30m "${packages[@]}"
echo "test-unit: tests of the lab and the benchmarks that need no privilege"
(cd e2e && go test -race -short ./lab ./cluster ./probe ./bench/bgp ./compat)
echo "test-unit: tests of images, release and registry"
(cd tools && go test -race -count=1 ./images/...)
