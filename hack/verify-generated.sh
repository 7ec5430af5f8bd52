#!/usr/bin/env bash
# Fails if a generated file is not what would be generated now, or if a go.mod
# is not what "go mod tidy" would write. It works on a copy, so that it neither
# needs a clean tree nor changes it.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "verify-generated: deep copies, client, CRDs, install.yaml, docs/values.md, go.mod files"
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
failed=0

tar -c api deploy docs hack tools go.mod go.sum | tar -x -C "$copy"
BIN=$PWD/bin "$copy/hack/generate.sh"
for folder in api deploy docs; do
	# Its left side is what is there, its right side what should be.
	diff -ru "$folder" "$copy/$folder" || failed=1
done
if ((failed)); then
	echo 'verify-generated: out of date, see above; run "make generate"' >&2
fi

for folder in . e2e e2e/coredns e2e/gobgp tools; do
	if ! go -C "$folder" mod tidy -diff; then
		echo "verify-generated: $folder/go.mod is not tidy; run \"go -C $folder mod tidy\"" >&2
		failed=1
	fi
done

# Kubernetes v1.N.P is built with its staging modules at v0.N.P, and the
# product is compiled against the same.
kubernetes=$(awk '$1 == "k8s.io/kubernetes" { print $2 }' e2e/go.mod)
staging=v0.${kubernetes#v1.}
strays=$(awk -v want="$staging" '$2 == "=>" && $1 ~ /^k8s\.io\// && ($3 != $1 || $4 != want)' e2e/go.mod)
strays+=$(awk -v want="$staging" '$1 ~ /^k8s\.io\/(api|apiextensions-apiserver|apimachinery|apiserver|cli-runtime|client-go|component-base|streaming)$/ && $2 != want' go.mod)
if [[ -n $strays ]]; then
	printf 'verify-generated: k8s.io/kubernetes is %s, so these must be %s:\n%s\n' "$kubernetes" "$staging" "$strays" >&2
	failed=1
fi
exit $failed
