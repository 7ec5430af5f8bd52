#!/usr/bin/env bash
# Makes the images of the controller and the speaker, archives of the OCI layout
# with one index each, and leaves the programs beside them in a folder for each
# platform.
#
# usage: images.sh FOLDER VERSION     such as bin/images v0.1.0
#
# PLATFORMS are those to build for; "native" is this machine's alone. BIN is where
# images-tool is: bin/ unless it is set.
#
# Two builds of one commit with one version of Go make the same bytes: nothing but
# the commit, its date and the version given goes in, no tag of git, no path and
# none of the builder's settings of Go that change code.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
version=$2
bin=${BIN:-$PWD/bin}
repository=https://github.com/baliza-lb/baliza

platforms=${PLATFORMS:-linux/amd64 linux/arm64 linux/arm/v7}
if [[ $platforms == native ]]; then
	platforms=linux/$(go env GOHOSTARCH)
	[[ $platforms != linux/arm ]] || platforms+=/v7
fi

SOURCE_DATE_EPOCH=$(hack/source-date.sh)
export SOURCE_DATE_EPOCH
commit=$(hack/commit.sh)

build_programs() { # PLATFORM
	local os arch variant
	IFS=/ read -r os arch variant <<<"$1"
	GOOS=$os GOARCH=$arch GOARM=${variant#v} GOAMD64=v1 GOARM64=v8.0 GOFLAGS= GOEXPERIMENT= CGO_ENABLED=0 \
		hack/build-with-progress.sh . ./controller ./speaker -- \
		-o "$folder/${1//\//-}/" -trimpath -ldflags "$(hack/ldflags.sh "$version")"
}

build_image() { # NAME USER DESCRIPTION
	local label=org.opencontainers.image arguments=()
	for platform in $platforms; do
		arguments+=(--platform "$platform")
	done
	"$bin/images-tool" build --name "ghcr.io/baliza-lb/$1:$version" "${arguments[@]}" \
		--user "$2" --entrypoint "/$1" --file "/$1=$folder/{platform}/$1" \
		--label "$label.title=baliza-$1" \
		--label "$label.description=$3" \
		--label "$label.version=$version" \
		--label "$label.revision=$commit" \
		--label "$label.created=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" \
		--label "$label.source=$repository" \
		--label "$label.url=$repository" \
		--label "$label.documentation=$repository/tree/main/docs" \
		--label "$label.licenses=Apache-2.0" \
		-o "$folder/$1.tar"
	echo "images: $folder/$1.tar: ghcr.io/baliza-lb/$1:$version for ${platforms// /, }"
}

mkdir -p "$folder"
for platform in $platforms; do
	build_programs "$platform"
done
build_image controller 65532:65532 "Gives addresses to Services of type LoadBalancer"
# The speaker opens raw sockets and the ports of BGP. The pod says which of root's
# capabilities it has.
build_image speaker 0:0 "Makes the network deliver the addresses of Services to this node"
