#!/usr/bin/env bash
# Pushes images and chart to a registry, and says how to install them from there.
#
# usage: publish.sh REGISTRY [VERSION]
#
# REGISTRY is a registry and the path under which the names shall be, such as
# registry.example.org/baliza. With a VERSION it is what "make release" left in
# dist/, and a tag that means something else already is left alone; without, what is
# in the clone is built and pushed, as often as one likes.
#
# PLAIN_HTTP=1 speaks http to the registry. PLATFORMS and BIN are those of images.sh.
# Whoever may push is who logged in with docker, podman or "bin/helm registry login".
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-$PWD/bin}

fail() {
	echo "publish: $*" >&2
	exit 1
}

[[ -n ${1:-} ]] || fail "to which registry? make publish REGISTRY=registry.example.org/baliza"
registry=$("$bin/images-tool" registry "$1") || fail "nothing was pushed"
plain=()
[[ -z ${PLAIN_HTTP:-} ]] || plain=(--plain-http)

# images-tool reads what docker has noted; Helm notes the same elsewhere.
noted=${HELM_REGISTRY_CONFIG:-${HELM_CONFIG_HOME:-${XDG_CONFIG_HOME:-$HOME/.config}/helm}/registry/config.json}
if [[ -z ${DOCKER_CONFIG:-} && ! -e $HOME/.docker/config.json && ${noted##*/} == config.json && -e $noted ]]; then
	export DOCKER_CONFIG=${noted%/*}
fi

pins=()
if [[ -n ${2:-} ]]; then
	version=$(hack/version.sh "$2") || fail "nothing was pushed"
	folder=$PWD/dist
	archives=("$folder"/baliza-{controller,speaker}-"$version".tar)
	[[ -e ${archives[0]} && -e $folder/SHA256SUMS ]] || fail "dist/ does not hold $version; make release VERSION=$version"
	(cd "$folder" && sha256sum --quiet --check SHA256SUMS) || fail "dist/ is not as \"make release\" left it"
	replace=()
else
	version=$(hack/version.sh)
	folder=$PWD/bin/images
	archives=("$folder"/{controller,speaker}.tar)
	hack/images.sh "$folder" "$version"
	hack/package-chart.sh "$folder" "$version"
	replace=(--replace)
fi

pushed=$("$bin/images-tool" push --registry "$registry" "${plain[@]}" "${replace[@]}" "${archives[@]}") || fail "not everything was pushed"
while read -r image; do
	echo "publish: $image"
	component=${image%@*}
	component=${component%:*}
	# Nodes that have an image of that tag do not ask for it again; a digest they do.
	[[ -n ${2:-} ]] || pins+=("--set ${component##*/}.image.digest=${image##*@}")
done <<<"$pushed"

log=$("$bin/helm" push "${plain[@]}" "$folder/baliza-${version#v}.tgz" "oci://$registry" 2>&1) ||
	fail "the images were pushed, the chart was not (if the registry speaks http alone: PLAIN_HTTP=1): $log"
# Helm says: Digest: sha256:…
echo "publish: $registry/baliza:${version#v}@$(sed -n 's/^Digest: *//p' <<<"$log")"

line="helm install baliza oci://$registry/baliza --version ${version#v} --namespace baliza-system --create-namespace"
for set in ${PLAIN_HTTP:+--plain-http} "--set image.registry=$registry" "${pins[@]}"; do
	line+=" \\
    $set"
done
echo "Install it with (or \"helm upgrade\", if it is installed):"
echo "  $line"
