#!/usr/bin/env bash
# Makes dist/: everything of a release but the act of publishing it.
#
# usage: release.sh VERSION     such as v0.2.0
#
# PLATFORMS and BIN are those of images.sh. What is in dist/ is the same whoever
# makes it from the same commit with the same version of Go.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
	echo "release: $*" >&2
	exit 1
}

[[ -n ${1:-} ]] || fail "which version? make release VERSION=v0.2.0"
version=$(hack/version.sh "$1") || fail "nothing was made"
bin=${BIN:-$PWD/bin}

git rev-parse --verify --quiet HEAD >/dev/null || fail "this is no clone of the repository: a release is made of a commit"
changes=$(git status --porcelain)
[[ -z $changes ]] || fail "there are changes that no commit has:
$changes"
if tagged=$(git rev-parse --verify --quiet "refs/tags/$version^{commit}") && [[ $tagged != "$(git rev-parse HEAD)" ]]; then
	fail "$version is the tag of another commit, $tagged"
fi
notes=$(hack/release-notes.sh "$version") || fail "nothing was made"

mkdir -p dist
# dist/ changes only when all of it is there.
work=$(mktemp -d "$PWD/dist/.release-XXXXXX")
trap 'rm -rf "$work"' EXIT
out=$work/out
mkdir "$out"

echo "$notes" >"$out/RELEASE_NOTES.md"
hack/package-chart.sh "$out" "$version"
hack/images.sh "$work/images" "$version"
for program in controller speaker; do
	mv "$work/images/$program.tar" "$out/baliza-$program-$version.tar"
	# One bill for each program and platform: what was compiled in may differ.
	for platform in "$work/images"/*/; do
		platform=$(basename "$platform")
		"$bin/cyclonedx-gomod" bin -json -noserial -notimestamp -version "$version" \
			-output "$out/baliza-$program-$platform.cdx.json" "$work/images/$platform/$program" 2>"$work/log" ||
			fail "no bill of materials for $program ($platform): $(cat "$work/log")"
	done
done
hack/kubectl-archives.sh "$out" "$version"
(cd "$out" && sha256sum -- * >"$work/SHA256SUMS")
mv "$work/SHA256SUMS" "$out/"

find dist -mindepth 1 -maxdepth 1 ! -path "dist/${work##*/}" -exec rm -rf {} +
mv "$out"/* dist/
echo "release: dist/ is $version:"
ls dist
