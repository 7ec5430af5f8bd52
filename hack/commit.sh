#!/usr/bin/env bash
# Prints the commit that is checked out, with -dirty behind it if a file that git
# knows was changed, or "unknown" outside a clone.
set -euo pipefail
cd "$(dirname "$0")/.."
if commit=$(git rev-parse --verify --quiet HEAD 2>/dev/null); then
	git diff-index --quiet HEAD -- 2>/dev/null || commit+=-dirty
else
	commit=unknown
fi
echo "$commit"
