#!/usr/bin/env bash
# Runs every fuzz target of both modules for a while each.
#
# usage: fuzz.sh DURATION
set -euo pipefail
cd "$(dirname "$0")/.."
duration=$1
found=0
while IFS=: read -r file line; do
	name=$(grep -o 'Fuzz[A-Za-z0-9_]*' <<<"$line" | head -n 1)
	folder=$(dirname "$file")
	echo "fuzz: $name in $folder for $duration"
	(cd "$folder" && go test -run '^$' -fuzz "^$name\$" -fuzztime "$duration" .)
	found=$((found + 1))
done < <(grep -r --include='*_test.go' '^func Fuzz' api config controller speaker cli e2e 2>/dev/null)
echo "fuzz: ok, $found targets"
