#!/usr/bin/env bash
# Runs one "go build" and shows how far it is: on a terminal one line that is
# rewritten, elsewhere a line every twenty seconds. A build that is short says
# nothing but that it is done.
#
# usage: build-with-progress.sh FOLDER PACKAGE… -- ARGUMENT…
#
# FOLDER is the module to build in; the arguments are those of "go build".
set -euo pipefail

folder=$1
shift
packages=()
while [[ $1 != -- ]]; do
	packages+=("$1")
	shift
done
shift
what=${packages[*]##*/}

work=$(mktemp -d)
build=
total=
# On an interrupt the shell stops the build before it leaves.
trap 'kill $build $total 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

start=$SECONDS
# With -v Go names each package that it has to compile, one a line.
go -C "$folder" build -buildvcs=false -v "$@" "${packages[@]}" 2>"$work/log" &
build=$!

# All packages that the program consists of; those in the cache included, so
# that the count below may end before it.
count_packages() {
	go -C "$folder" list -deps "${packages[@]}" 2>/dev/null | wc -l >"$work/count.new"
	mv "$work/count.new" "$work/count"
}

progress() {
	local compiled downloaded
	compiled=$(grep -c '^[^ #:]*$' "$work/log" || true)
	downloaded=$(grep -c '^go: downloading ' "$work/log" || true)
	if ((compiled == 0 && downloaded > 0)); then
		printf 'downloading modules (%d so far)' "$downloaded"
	elif [[ -s $work/count ]]; then
		printf 'compiled %d of at most %d packages' "$compiled" "$(cat "$work/count")"
	else
		printf 'compiled %d packages' "$compiled"
	fi
}

elapsed() { printf '%d:%02d' $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)); }

next=$((start + 3))
while kill -0 $build 2>/dev/null; do
	sleep 0.2
	((SECONDS < next)) && continue
	if [[ -z $total ]]; then
		count_packages &
		total=$!
	fi
	if [[ -t 1 ]]; then
		printf '\r\033[Kbuilding %s: %s, %s' "$what" "$(progress)" "$(elapsed)"
		next=$((SECONDS + 1))
	else
		printf 'building %s: %s, %s\n' "$what" "$(progress)" "$(elapsed)"
		next=$((SECONDS + 20))
	fi
done

[[ -t 1 ]] && printf '\r\033[K'
if ! wait $build; then
	grep -v -e '^[^ #:]*$' -e '^go: downloading ' "$work/log" >&2 || true
	echo "building $what: failed after $(elapsed)" >&2
	exit 1
fi
if [[ -n $total || -s $work/log ]]; then
	echo "built $what in $(elapsed)"
fi
