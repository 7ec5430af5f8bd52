#!/usr/bin/env bash
# Looks at all modules, the Helm chart and the shell scripts. Run through "make
# lint", which builds what it needs. BIN is where that is: bin/ unless it is set.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-$PWD/bin}

for module in . e2e tools; do
	echo "lint: module $module"
	(cd $module && "$bin/golangci-lint" run --allow-parallel-runners -c "$OLDPWD/.golangci.yml" ./...)
done
echo "lint: Helm chart"
go -C tools test -count=1 ./chart
echo "lint: alerts"
promtool check rules deploy/helm/baliza/files/alerts.yaml
promtool test rules deploy/prometheus/alerts_test.yaml
echo "lint: shell scripts"
for script in hack/*.sh .ci/run; do
	bash -n "$script"
done
