#!/usr/bin/env bash
# Prints the version that the chart in the repository installs, such as v0.1.0; with
# an argument, that one, if it is written as versions are
# (https://semver.org, with a "v", and no "+", which no image tag can have).
#
# usage: version.sh [VERSION]
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:-v$(sed -n 's/^appVersion: *"\?v\?\([^" ]*\)"\? *$/\1/p' deploy/helm/baliza/Chart.yaml)}
number='(0|[1-9][0-9]*)'
part='(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)'
if [[ ! $version =~ ^v$number\.$number\.$number(-$part(\.$part)*)?$ ]]; then
	echo "version \"$version\" must be like v0.2.0 or v0.2.0-rc.1" >&2
	exit 1
fi
echo "$version"
