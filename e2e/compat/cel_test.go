package compat

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	crdcel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// promised is the oldest Kubernetes that the chart accepts.
func promised(t *testing.T) *version.Version {
	t.Helper()
	chart := read(t, "deploy/helm/baliza/Chart.yaml")
	found := regexp.MustCompile(`(?m)^kubeVersion: ">=(\d+\.\d+)\.0-0"$`).FindStringSubmatch(chart)
	if found == nil {
		t.Fatal("deploy/helm/baliza/Chart.yaml promises no version of Kubernetes")
	}
	return version.MustParseGeneric(found[1])
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// environmentOf is what an API server of that version compiles new rules with:
// as it must be able to go back, what the version before it knew.
func environmentOf(v *version.Version) *environment.EnvSet {
	return environment.MustBaseEnvSet(v.SubtractMinor(1))
}

func crds(t *testing.T) []*apiextensions.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy", "helm", "baliza", "crds", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	var all []*apiextensions.CustomResourceDefinition
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v1 apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &v1); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		crd := &apiextensions.CustomResourceDefinition{}
		if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&v1, crd, nil); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, crd)
	}
	return all
}

func TestI04_The_oldest_Kubernetes_promised_accepts_the_CRDs(t *testing.T) {
	oldest := promised(t)
	for _, crd := range crds(t) {
		rules, err := compileCRD(crd, environmentOf(oldest))
		if err != nil {
			t.Errorf("Kubernetes %s refuses CRD %s: %v", oldest, crd.Name, err)
		}
		t.Logf("%s: %d rules", crd.Name, rules)
	}
}

// Were it not so, the test above would show nothing.
func TestI04_An_older_Kubernetes_refuses_a_CRD(t *testing.T) {
	older := version.MajorMinor(1, 30)
	for _, crd := range crds(t) {
		if _, err := compileCRD(crd, environmentOf(older)); err != nil {
			t.Logf("Kubernetes %s refuses CRD %s: %v", older, crd.Name, err)
			return
		}
	}
	t.Errorf("Kubernetes %s accepts all CRDs: the test compiles with what it does not have, or the chart promises too little", older)
}

func TestI04_The_oldest_Kubernetes_promised_accepts_the_policy(t *testing.T) {
	oldest := promised(t)
	found := 0
	for document := range strings.SplitSeq(read(t, "deploy/install.yaml"), "\n---\n") {
		var policy admissionv1.ValidatingAdmissionPolicy
		if err := yaml.Unmarshal([]byte(document), &policy); err != nil || policy.Kind != "ValidatingAdmissionPolicy" {
			continue
		}
		found++
		if err := compilePolicy(&policy, environmentOf(oldest)); err != nil {
			t.Errorf("Kubernetes %s refuses policy %s: %v", oldest, policy.Name, err)
		}
	}
	if found == 0 {
		t.Error("deploy/install.yaml has no ValidatingAdmissionPolicy")
	}
}

// What is promised in one place is promised in all.
func TestI04_The_same_Kubernetes_is_promised_everywhere(t *testing.T) {
	want := fmt.Sprintf("%d.%d", promised(t).Major(), promised(t).Minor())
	for _, file := range []string{"README.md", "docs/installation.md", "docs/operations.md"} {
		said := regexp.MustCompile(`Kubernetes\W+(?:must\W+be\W+)?(\d+\.\d+)\W+or\W+newer`).FindStringSubmatch(read(t, file))
		if len(said) < 2 || said[1] != want {
			t.Errorf("%s promises %v, the chart %s", file, said, want)
		}
	}
}

// compileCRD compiles every rule, and counts them.
func compileCRD(crd *apiextensions.CustomResourceDefinition, env *environment.EnvSet) (int, error) {
	schema := crd.Spec.Validation
	if schema == nil { // one version's schema is kept there by the conversion
		return 0, errors.New("no schema")
	}
	w := walk{env: env}
	context := validation.RootCELContext(schema.OpenAPIV3Schema)
	w.node(schema.OpenAPIV3Schema, context, field.NewPath(crd.Name))
	if context.TotalCost.Total > validation.StaticEstimatedCRDCostLimit {
		w.fail(field.NewPath(crd.Name), "all rules together cost %d, more than %d", context.TotalCost.Total, validation.StaticEstimatedCRDCostLimit)
	}
	return w.rules, w.failed
}

// walk goes through a schema as the validation of CRDs does.
type walk struct {
	env    *environment.EnvSet
	rules  int
	failed error
}

func (w *walk) fail(at *field.Path, format string, args ...any) {
	w.failed = errors.Join(w.failed, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

func (w *walk) node(schema *apiextensions.JSONSchemaProps, context *validation.CELSchemaContext, at *field.Path) {
	for name := range schema.Properties {
		child := schema.Properties[name]
		w.node(&child, context.ChildPropertyContext(&child, name), at.Child(name))
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		w.node(schema.Items.Schema, context.ChildItemsContext(schema.Items.Schema), at.Key("*"))
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		child := schema.AdditionalProperties.Schema
		w.node(child, context.ChildAdditionalPropertiesContext(child), at.Key("*"))
	}
	if len(schema.XValidations) == 0 {
		return
	}
	types, err := context.TypeInfo()
	if err != nil || types == nil {
		w.fail(at, "no types for CEL: %v", err)
		return
	}
	results, err := crdcel.Compile(types.Schema, types.DeclType, celconfig.PerCallLimit, w.env, crdcel.NewExpressionsEnvLoader())
	if err != nil {
		w.fail(at, "%v", err)
	}
	for i, result := range results {
		w.rules++
		rule := schema.XValidations[i].Rule
		if result.Error != nil {
			w.fail(at, "%s: %v", rule, result.Error)
		}
		if result.MessageExpressionError != nil {
			w.fail(at, "message of %s: %v", rule, result.MessageExpressionError)
		}
		times := result.MaxCardinality
		if context.MaxCardinality != nil {
			times = *context.MaxCardinality
		}
		cost := product(result.MaxCost, times)
		context.TotalCost.ObserveExpressionCost(at, cost)
		if cost > validation.StaticEstimatedCostLimit {
			w.fail(at, "%s: costs %d, more than %d", rule, cost, validation.StaticEstimatedCostLimit)
		}
	}
}

func product(a, b uint64) uint64 {
	if a != 0 && b > math.MaxUint64/a {
		return math.MaxUint64
	}
	return a * b
}

func compilePolicy(policy *admissionv1.ValidatingAdmissionPolicy, env *environment.EnvSet) error {
	compiler, err := cel.NewCompositedCompiler(env)
	if err != nil {
		return err
	}
	options := cel.OptionalVariableDeclarations{HasAuthorizer: true}
	var failed error
	note := func(what string, result cel.CompilationResult) {
		if result.Error != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", what, result.Error))
		}
	}
	for _, v := range policy.Spec.Variables {
		note(v.Name, compiler.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression}, options, environment.NewExpressions))
	}
	for _, c := range policy.Spec.MatchConditions {
		note(c.Name, compiler.CompileCELExpression(&validating.ValidationCondition{Expression: c.Expression}, options, environment.NewExpressions))
	}
	for _, v := range policy.Spec.Validations {
		note(v.Expression, compiler.CompileCELExpression(&validating.ValidationCondition{Expression: v.Expression}, options, environment.NewExpressions))
		message := &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression}
		note(v.MessageExpression, compiler.CompileCELExpression(message, options, environment.NewExpressions))
	}
	return failed
}
