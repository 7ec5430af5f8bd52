#!/usr/bin/env bash
# Packs the Helm chart for a version into FOLDER: baliza-VERSION.tgz, and beside it
# what does not need Helm: install.yaml and crds.yaml.
#
# usage: package-chart.sh FOLDER VERSION     such as dist v0.2.0
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
version=$2
helm=${BIN:-$PWD/bin}/helm
chart=deploy/helm/baliza

# The chart writes its appVersion with or without a "v".
app=${version#v}
! grep -q '^appVersion: *"\?v' $chart/Chart.yaml || app=$version

# Helm packs each file with the date of its last change, which in a clone is when
# it was cloned.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R $chart "$work/baliza"
find "$work/baliza" -exec touch --date "@$(hack/source-date.sh)" {} +
"$helm" package "$work/baliza" --version "${version#v}" --app-version "$app" --destination "$folder" >/dev/null

hack/install-yaml.sh "$folder/baliza-${version#v}.tgz" >"$folder/install.yaml"
# The documents of one kind, however the chart brings them.
awk 'BEGIN { RS = "---\n"; ORS = "" } /(^|\n)kind: CustomResourceDefinition\n/ { print "---\n" $0 }' \
	"$folder/install.yaml" >"$folder/crds.yaml"
