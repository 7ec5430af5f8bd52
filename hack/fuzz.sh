#!/usr/bin/env bash
# Runs every fuzz target of both modules for a while each.
#
# usage: fuzz.sh DURATION     such as 20s or 5m
#
# Go is told a number of inputs, again and again until the time is over, and not
# the time: a run that ends by the clock now and then fails with "context deadline
# exceeded" though nothing was found, because the coordinator of internal/fuzz
# compares the error of a context with that of its child, which may be cancelled
# a moment later. What was found interesting is kept from one run to the next.
set -euo pipefail
cd "$(dirname "$0")/.."
inputs=50000x
case $1 in
*[0-9]s) seconds=${1%s} ;;
*[0-9]m) seconds=$((${1%m} * 60)) ;;
*)
	echo "fuzz: $1: must be a number of seconds or minutes, such as 20s or 5m" >&2
	exit 2
	;;
esac
found=0
while IFS=: read -r file line; do
	name=$(grep -o 'Fuzz[A-Za-z0-9_]*' <<<"$line" | head -n 1)
	folder=$(dirname "$file")
	echo "fuzz: $name in $folder for $1"
	end=$((SECONDS + seconds))
	while :; do
		(cd "$folder" && go test -run '^$' -fuzz "^$name\$" -fuzztime $inputs . </dev/null)
		if ((SECONDS >= end)); then break; fi
	done
	found=$((found + 1))
done < <(grep -r --include='*_test.go' '^func Fuzz' api config controller speaker cli e2e 2>/dev/null)
((found > 0)) || { echo "fuzz: no target was found" >&2; exit 1; }
echo "fuzz: ok, $found targets"
