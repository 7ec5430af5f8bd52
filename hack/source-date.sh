#!/usr/bin/env bash
# Prints when the commit that is checked out was made, in seconds since 1970; that
# is the time in everything that is packed. SOURCE_DATE_EPOCH says otherwise
# (https://reproducible-builds.org/specs/source-date-epoch/). Outside a clone it is
# 1970.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
