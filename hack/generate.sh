#!/usr/bin/env bash
# Generates what is derived: from the API types the deep copies, the client and
# the CRDs, from the Helm chart install.yaml and docs/values.md. Run through "make generate", which
# builds helm; "make verify-generated" fails on drift.
#
# BIN is where the generators are built and found: bin/ unless it is set.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-$PWD/bin}
go -C tools build -buildvcs=false -o "$bin/" \
	sigs.k8s.io/controller-tools/cmd/controller-gen \
	k8s.io/code-generator/cmd/{client,lister,informer,applyconfiguration}-gen \
	./values

module=github.com/baliza-lb/baliza
types=$module/api/v1beta1
out=api/client
header=hack/boilerplate.go.txt
chart=deploy/helm/baliza

# A kind that is gone leaves no CRD behind.
rm -rf $out $chart/crds
"$bin/controller-gen" object:headerFile=$header crd:generateEmbeddedObjectMeta=true \
	paths=./api/v1beta1 output:crd:dir=$chart/crds output:object:dir=api/v1beta1

"$bin/applyconfiguration-gen" --go-header-file $header \
	--output-dir $out/applyconfiguration --output-pkg $module/$out/applyconfiguration $types
"$bin/client-gen" --go-header-file $header --clientset-name versioned --input-base "" --input $types \
	--apply-configuration-package $module/$out/applyconfiguration \
	--output-dir $out/clientset --output-pkg $module/$out/clientset
"$bin/lister-gen" --go-header-file $header \
	--output-dir $out/listers --output-pkg $module/$out/listers $types
"$bin/informer-gen" --go-header-file $header \
	--versioned-clientset-package $module/$out/clientset/versioned --listers-package $module/$out/listers \
	--output-dir $out/informers --output-pkg $module/$out/informers $types

# Templates cannot read values.yaml itself.
{
	echo "# A copy of values.yaml, made by \"make generate\". Do not edit."
	cat $chart/values.yaml
} >$chart/files/defaults.yaml
"$bin/values" $chart >docs/values.md

BIN=$bin hack/install-yaml.sh $chart >deploy/install.yaml
