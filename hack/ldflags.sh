#!/usr/bin/env bash
# Prints the linker flags that stamp a program with its version and commit.
# Without git, or outside a clone, the stamp says so.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=github.com/baliza-lb/baliza/config/daemon
version=$(git describe --tags --always --dirty 2>/dev/null || echo unknown)
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
echo "-s -w -X $stamp.version=$version -X $stamp.commit=$commit"
