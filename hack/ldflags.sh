#!/usr/bin/env bash
# Prints the linker flags that stamp a program with its version and commit.
# Without git, or outside a clone, the stamp says so.
#
# usage: ldflags.sh [VERSION]     without it, what git calls this commit
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=github.com/baliza-lb/baliza/config/daemon
version=${1:-$(git describe --tags --always --dirty 2>/dev/null || echo unknown)}
echo "-s -w -X $stamp.version=$version -X $stamp.commit=$(hack/commit.sh)"
