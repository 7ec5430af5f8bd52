#!/usr/bin/env bash
# Prints what CHANGELOG.md says of a version, without the heading. Links into the
# repository become links to that version's files: the notes are read elsewhere.
#
# usage: release-notes.sh VERSION     such as v0.2.0
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1
notes=$(awk -v heading="## [${version#v}]" '
	/^## / { inside = index($0, heading) == 1; next }
	/^\[[^]]+\]: / { next }
	inside' CHANGELOG.md)
if [[ ! $notes =~ [^[:space:]] ]]; then
	echo "CHANGELOG.md says nothing under \"## [${version#v}]\": give what stands under \"Unreleased\" that heading first" >&2
	exit 1
fi
sed -E "s|\]\(([^):#]+[^):]*)\)|](https://github.com/baliza-lb/baliza/blob/$version/\1)|g" <<<"$notes" |
	sed -e '/./,$!d'
