package compat

import (
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	crdcel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// refusals are what an API server says of an object by the schema and the rules of its
// kind.
func refusals(t *testing.T, crd *apiextensions.CustomResourceDefinition, object map[string]any) field.ErrorList {
	t.Helper()
	schema := crd.Spec.Validation
	if schema == nil {
		schema = crd.Spec.Versions[0].Schema
	}
	structure, err := structural.NewStructural(schema.OpenAPIV3Schema)
	if err != nil {
		t.Fatalf("%s: %v", crd.Name, err)
	}
	byType, _, err := crdvalidation.NewSchemaValidator(schema.OpenAPIV3Schema)
	if err != nil {
		t.Fatalf("%s: %v", crd.Name, err)
	}
	defaulting.Default(object, structure)
	found := crdvalidation.ValidateCustomResource(nil, object, byType)
	found = append(found, listtype.ValidateListSetsAndMaps(nil, structure, object)...)
	rules := crdcel.NewValidator(structure, true, celconfig.PerCallLimit)
	broken, _ := rules.Validate(t.Context(), nil, structure, object, nil, celconfig.RuntimeCELCostBudget)
	return append(found, broken...)
}

// The API server takes what kubectl baliza migrate write makes of the configurations
// that are kept.
func TestMigrateWritesWhatTheAPIServerTakes(t *testing.T) {
	kinds := map[string]*apiextensions.CustomResourceDefinition{}
	for _, crd := range crds(t) {
		kinds[crd.Spec.Names.Kind] = crd
	}
	files, err := filepath.Glob(filepath.Join(root, "cli", "command", "testdata", "migrate-*-write.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is written: %v", err)
	}
	objects := 0
	for _, file := range files {
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(read(t, name), "\n---\n") {
			document, _, _ := strings.Cut(part, "\n== ") // where the next file begins
			text, err := yaml.YAMLToJSON([]byte(document))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var object map[string]any // numbers as the API server has them
			if err := json.Unmarshal(text, &object); err != nil || object["kind"] == nil {
				continue // what is before the first object
			}
			kind, _ := object["kind"].(string)
			objects++
			for _, refused := range refusals(t, kinds[kind], object) {
				t.Errorf("%s: %s: %v", filepath.Base(file), kind, refused)
			}
		}
	}
	if objects < len(files) {
		t.Errorf("there are %d objects in %d files", objects, len(files))
	}
	wrong := map[string]any{"apiVersion": "baliza.io/v1beta1", "kind": "IPAddressPool", "spec": map[string]any{"addresses": []any{"192.0.2.1/24"}}}
	if len(refusals(t, kinds["IPAddressPool"], wrong)) == 0 {
		t.Error("a pool with host bits is not refused: nothing is shown by the others")
	}
}
