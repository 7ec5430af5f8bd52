#!/usr/bin/env bash
# Checks the Helm chart: it lints and renders with the default values and with
# those in ci/, and it refuses values that mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
helm=$PWD/bin/helm
chart=deploy/helm/baliza

render() {
	"$helm" lint --quiet --strict $chart "$@"
	"$helm" template baliza $chart --namespace elsewhere --include-crds "$@"
}

fail() {
	echo "verify-chart: $*" >&2
	exit 1
}

for values in "" $chart/ci/*-values.yaml; do
	rendered=$(render ${values:+--values "$values"}) || fail "does not render with ${values:-the default values}"
	for kind in CustomResourceDefinition ClusterRole Deployment DaemonSet ValidatingAdmissionPolicy; do
		grep -q "^kind: $kind$" <<<"$rendered" || fail "no $kind with ${values:-the default values}"
	done
	! grep -q 'namespace: baliza-system' <<<"$rendered" || fail "a template does not use the release's namespace"
done

for bad in controller.replicas=0 speaker.memberPort=80 logLevel=loud controler.replicas=2 \
	speaker.image.repository= speaker.terminationGracePeriodSeconds=9 metrics.podMonitor.interval=often 'speaker.extraArgs={log-level}'; do
	! "$helm" template baliza $chart --set "$bad" >/dev/null 2>&1 || fail "accepts --set $bad"
done
