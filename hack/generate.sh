#!/usr/bin/env bash
# Generates what is derived from the API types: deep copies, the client, the
# CRDs. Run through "make generate"; "make verify-generated" fails on drift.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/bin
go -C tools build -o "$bin/" \
	sigs.k8s.io/controller-tools/cmd/controller-gen \
	k8s.io/code-generator/cmd/{client,lister,informer,applyconfiguration}-gen

module=github.com/baliza-lb/baliza
types=$module/api/v1beta1
out=api/client
header=hack/boilerplate.go.txt

"$bin/controller-gen" object:headerFile=$header crd:generateEmbeddedObjectMeta=true \
	paths=./api/v1beta1 output:crd:dir=deploy/helm/baliza/crds output:object:dir=api/v1beta1

rm -rf $out
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
