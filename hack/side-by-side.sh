#!/usr/bin/env bash
# Runs shell commands side by side and waits for all of them. What each prints
# appears as it comes; at the end it says which failed, and fails if any did.
#
# usage: side-by-side.sh NAME=COMMAND…
set -euo pipefail

declare -A lanes
# Each is a session of its own, so that an interrupt ends all that it started.
stop() {
	trap - EXIT INT TERM
	for pid in "${!lanes[@]}"; do
		kill -TERM -- "-$pid" 2>/dev/null || true
	done
	wait
	exit 130
}
trap stop INT TERM

for lane in "$@"; do
	setsid bash -euo pipefail -c "${lane#*=}" &
	lanes[$!]=${lane%%=*}
done

failed=()
while ((${#lanes[@]})); do
	status=0
	wait -n -p pid "${!lanes[@]}" || status=$?
	((status == 0)) || failed+=("${lanes[$pid]}")
	echo "${lanes[$pid]}: $([[ $status == 0 ]] && echo ok || echo failed) after $((SECONDS / 60)):$(printf %02d $((SECONDS % 60)))"
	unset "lanes[$pid]"
done
if ((${#failed[@]})); then
	echo "failed: ${failed[*]}" >&2
	exit 1
fi
