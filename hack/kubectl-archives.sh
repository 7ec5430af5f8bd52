#!/usr/bin/env bash
# Makes what kubectl-baliza is released as: an archive for each platform, with its bill of
# materials, and krew.yaml, the manifest by which krew installs them.
#
# usage: kubectl-archives.sh FOLDER VERSION     such as dist v0.2.0
#
# CLI_PLATFORMS are those to build for; PLATFORMS=native is this machine's alone. BIN is
# where cyclonedx-gomod is: bin/ unless it is set. As with images.sh, two builds of one
# commit are the same.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
version=$2
bin=${BIN:-$PWD/bin}
repository=https://github.com/baliza-lb/baliza

platforms=${CLI_PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}
[[ ${PLATFORMS:-} != native ]] || platforms=linux/$(go env GOHOSTARCH)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed "s/VERSION/$version/" deploy/krew/baliza.yaml >"$work/krew.yaml"

for platform in $platforms; do
	IFS=/ read -r os arch <<<"$platform"
	program=kubectl-baliza
	[[ $os != windows ]] || program+=.exe
	mkdir -p "$work/$os-$arch"
	GOOS=$os GOARCH=$arch GOARM= GOAMD64=v1 GOARM64=v8.0 GOFLAGS= GOEXPERIMENT= CGO_ENABLED=0 \
		hack/build-with-progress.sh . ./cli -- -o "$work/$os-$arch/$program" -trimpath -ldflags "$(hack/ldflags.sh "$version")"
	cp LICENSE "$work/$os-$arch/"
	archive=kubectl-baliza-$version-$os-$arch.tar.gz
	tar --create --directory "$work/$os-$arch" --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
		--mtime="@$(hack/source-date.sh)" LICENSE "$program" | gzip --no-name --best >"$folder/$archive"
	"$bin/cyclonedx-gomod" bin -json -noserial -notimestamp -version "$version" \
		-output "$folder/kubectl-baliza-$os-$arch.cdx.json" "$work/$os-$arch/$program" 2>"$work/log" || {
		echo "kubectl-archives: no bill of materials for $os-$arch: $(cat "$work/log")" >&2
		exit 1
	}
	sum=$(sha256sum <"$folder/$archive")
	cat >>"$work/krew.yaml" <<-PLATFORM
		  - selector:
		      matchLabels: {os: $os, arch: $arch}
		    uri: $repository/releases/download/$version/$archive
		    sha256: ${sum%% *}
		    bin: $program
		    files:
		      - {from: $program, to: .}
		      - {from: LICENSE, to: .}
	PLATFORM
done
install --mode=644 "$work/krew.yaml" "$folder/krew.yaml"
