#!/usr/bin/env bash
# Prints the manifests of a chart with its default values, and the namespace.
#
# usage: install-yaml.sh CHART     a folder or a packed chart
set -euo pipefail
cd "$(dirname "$0")/.."
echo "# Baliza with the default values of its Helm chart, in one file:"
echo "#   kubectl apply --server-side -f install.yaml"
echo "# Generated from deploy/helm by \"make generate\". Do not edit."
echo "---"
cat deploy/namespace.yaml
# Without the hooks: kubectl applies the CRDs like everything else, and knows
# neither "before" nor "after".
"${BIN:-$PWD/bin}/helm" template baliza "$1" --namespace baliza-system --include-crds --no-hooks
