#!/usr/bin/env bash
# Runs the tests that need labs, two labs side by side. Run through "make test-e2e",
# which builds what it needs. BIN is where that is: bin/ unless it is set.
#
# Two labs share nothing but the machine: each is in namespaces of its own, and has
# its own control groups, whose programs go before all others on the machine. The
# scenarios of layer 2 and of objects take about as long as all the others.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-$PWD/bin}
mkdir -p artifacts
log=artifacts/test-e2e.txt
tests="cd e2e && LAB_BIN=$bin go test -race -count=1 -timeout 45m -p 1"

lanes=(
	"scenarios of BGP, the lab, and installation=$tests -run '^TestB' ./scenarios && cd .. && $tests ./selftest/... && cd .. && $tests ./install"
	"other scenarios=$tests -skip '^TestB' ./scenarios"
)
# What is merged is judged on a machine that does nothing else: with CI set the two
# take their turns.
run() {
	if [[ -z ${CI:-} ]]; then
		hack/side-by-side.sh "${lanes[@]}"
		return
	fi
	local failed=0
	for lane in "${lanes[@]}"; do
		hack/side-by-side.sh "$lane" || failed=1
	done
	return $failed
}

echo "test-e2e: the lab and the scenarios"
status=0
run 2>&1 | tee "$log" || status=1
if ((status)); then
	echo "test-e2e: what the failed tests said, without the logs:"
	grep -E '^ *--- FAIL|^ +[a-z0-9_]+_test\.go:[0-9]+: |^panic:|DATA RACE|^FAIL' "$log"
fi
exit $status
