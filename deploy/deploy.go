// Package deploy is what programs of Baliza need of the manifests: the
// CustomResourceDefinitions that belong to this version, and what its programs may do. It may be imported by
// the main packages; it does nothing by itself.
package deploy

import (
	"embed"
	"fmt"
	"path"
)

const crdFolder = "helm/baliza/crds"

//go:embed helm/baliza/crds/*.yaml
var files embed.FS

//go:embed install.yaml
var install string

// CRDs are the CustomResourceDefinitions of this version, as YAML documents in
// the order of their names.
func CRDs() ([][]byte, error) {
	entries, err := files.ReadDir(crdFolder)
	if err != nil {
		return nil, fmt.Errorf("embedded CRDs: %w", err)
	}
	documents := make([][]byte, 0, len(entries))
	for _, entry := range entries {
		document, err := files.ReadFile(path.Join(crdFolder, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("embedded CRDs: %w", err)
		}
		documents = append(documents, document)
	}
	return documents, nil
}

// Install is install.yaml: everything that the chart installs by its own values,
// documents of YAML, in the namespace baliza-system.
func Install() string { return install }
