package schema

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metadata "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// Schemas are those of some kinds.
type Schemas struct {
	kinds map[kube.GroupVersionKind]*kind
}

// kind is how an object of a kind is judged. Its rules are compiled when the first
// object comes: that takes most of the time, and a file seldom has all kinds.
type kind struct {
	document *apiextensionsv1.JSONSchemaProps
	shape    *structural.Structural
	values   validation.SchemaValidator
	rules    *cel.Validator
}

// Violation is something for which the API server would refuse an object.
type Violation struct {
	// Field is its path, as spec.addresses[0]; empty for the object as a whole.
	Field   string
	Message string
}

// New reads CustomResourceDefinitions, as YAML or JSON documents. An error is one of
// theirs, and names which.
func New(definitions [][]byte) (*Schemas, error) {
	s := &Schemas{kinds: map[kube.GroupVersionKind]*kind{}}
	for _, document := range definitions {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(document, &crd); err != nil {
			return nil, fmt.Errorf("CustomResourceDefinition: %w", err)
		}
		for i := range crd.Spec.Versions {
			version := &crd.Spec.Versions[i]
			if version.Schema == nil || version.Schema.OpenAPIV3Schema == nil {
				return nil, fmt.Errorf("CustomResourceDefinition %s: version %s has no schema", crd.Name, version.Name)
			}
			gvk := kube.GroupVersionKind{Group: crd.Spec.Group, Version: version.Name, Kind: crd.Spec.Names.Kind}
			s.kinds[gvk] = &kind{document: version.Schema.OpenAPIV3Schema}
		}
	}
	return s, nil
}

// Knows reports whether there is a schema of that kind.
func (s *Schemas) Knows(gvk kube.GroupVersionKind) bool { return s.kinds[gvk] != nil }

// Judge returns what the API server would refuse an object for if it were created, in
// the order of fields. The object is JSON, of a kind that Knows. An error is one of the
// schema, or says that the document is no object.
func (s *Schemas) Judge(gvk kube.GroupVersionKind, document []byte) ([]Violation, error) {
	k := s.kinds[gvk]
	if k == nil {
		return nil, fmt.Errorf("there is no schema of %s", gvk)
	}
	if err := k.compile(); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", gvk, err)
	}
	object := map[string]any{}
	if err := json.Unmarshal(document, &object); err != nil { // which tells integers from floating-point numbers
		return nil, err
	}
	if object == nil {
		return nil, errors.New("it is null")
	}
	return k.judge(object), nil
}

func (k *kind) compile() error {
	if k.values != nil {
		return nil
	}
	var internal apiextensions.JSONSchemaProps
	err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(k.document, &internal, nil)
	if err != nil {
		return err
	}
	if k.shape, err = structural.NewStructural(&internal); err != nil {
		return err
	}
	k.rules = cel.NewValidator(k.shape, true, celconfig.PerCallLimit)
	k.values, _, err = validation.NewSchemaValidator(&internal)
	return err
}

// judge goes the API server's way with a new object: decode, prune, default, validate.
// It may change the object.
func (k *kind) judge(object map[string]any) []Violation {
	violations := k.prune(object)
	defaulting.Default(object, k.shape)
	delete(object, "status") // what is created has none, whatever the manifest says
	meta := &unstructured.Unstructured{Object: object}
	refused := metadata.ValidateObjectMetaAccessor(meta, false, metadata.NameIsDNSSubdomain, field.NewPath("metadata"))
	refused = append(refused, validation.ValidateCustomResource(nil, object, k.values)...)
	refused = append(refused, objectmeta.Validate(nil, object, k.shape, false)...)
	refused = append(refused, listtype.ValidateListSetsAndMaps(nil, k.shape, object)...)
	refused = append(refused, k.judgeRules(object, refused)...)
	for _, err := range refused {
		violations = append(violations, violationOf(err))
	}
	// The validation of values ranges over maps.
	slices.SortStableFunc(violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(violations)
}

// prune takes out what the schema does not have, what cannot be read of the metadata, and
// nulls that stand for nothing; it returns what it took out but for the nulls.
func (k *kind) prune(object map[string]any) (violations []Violation) {
	_, _, unknown, err := objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		violations = append(violations, Violation{"metadata", err.Error()})
		object["metadata"] = map[string]any{"name": "unread"} // the rest can still be judged
	} else {
		unstructured.RemoveNestedField(object, "metadata", "namespace") // kubectl leaves it out for an object that is in none
	}
	unknown = append(unknown, pruning.PruneWithOptions(object, k.shape, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	defaulting.PruneNonNullableNullsWithoutDefaults(object, k.shape)
	for _, path := range unknown {
		violations = append(violations, Violation{path, "unknown field " + strconv.Quote(path)})
	}
	return violations
}

// judgeRules evaluates the CEL rules. They may rely on values that the rest of the
// schema has accepted, so that the API server does not evaluate them where it has not.
func (k *kind) judgeRules(object map[string]any, refused field.ErrorList) field.ErrorList {
	if k.rules == nil {
		return nil
	}
	if slices.ContainsFunc(refused, blocksRules) {
		return field.ErrorList{field.Invalid(nil, field.OmitValueType{},
			"the rules of the schema (CEL) were not evaluated: correct the other mistakes first")}
	}
	broken, _ := k.rules.Validate(context.Background(), nil, k.shape, object, nil, celconfig.RuntimeCELCostBudget)
	return broken
}

// blocksRules says which errors keep the rules from being evaluated.
func blocksRules(err *field.Error) bool {
	switch err.Type {
	case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
		return true
	default:
		return false
	}
}

// violationOf is an error in the API server's words.
func violationOf(err *field.Error) Violation {
	path := err.Field
	if path == "<nil>" { // as field.Path writes the object as a whole
		path = ""
	}
	return Violation{path, err.ErrorBody()}
}
