package scenarios

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/internal/schematest"
)

func TestC04_Every_CEL_rule_accepts_and_rejects(t *testing.T) {
	ctx, p := newPlot(t, 1)
	client, err := dynamic.NewForConfig(p.Admin)
	p.must(err)
	p.ready(ctx, "bspk/n1", "True", "Announcing") // there is one to write to
	p.idleBGP(ctx)
	cases := schematest.Cases()
	if has, want := slices.Sorted(maps.Keys(cases)), p.schemaRules(ctx); !slices.Equal(has, want) {
		t.Errorf("the cases are not those of the installed schemas:\ncases   %s\nschemas %s", strings.Join(has, "\n        "), strings.Join(want, "\n        "))
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resource, rest, _ := strings.Cut(name, " ")
			path, rule, _ := strings.Cut(rest, " ")
			if err := p.dryRun(ctx, client, resource, path, c.Accepted); err != nil {
				t.Errorf("%.200v was not accepted: %.1000v", c.Accepted, err)
			}
			err := p.dryRun(ctx, client, resource, path, c.Refused)
			if !apierrors.IsInvalid(err) {
				t.Fatalf("%.200v was not refused as invalid: %v", c.Refused, err)
			}
			for _, word := range []string{strings.ReplaceAll(path, "[]", "[0]"), schematest.Refusal(rule)} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("the refusal does not say %q: %.1000v", word, err)
				}
			}
		})
	}
}

// dryRun sends an object with this value to the API server, which only checks
// it: as a new object, or as the status of one that is there.
func (p *plot) dryRun(ctx context.Context, client dynamic.Interface, resource, path string, value any) error {
	p.t.Helper()
	of := client.Resource(v1beta1.SchemeGroupVersion.WithResource(resource))
	object := schematest.Object(resource, path, value)
	if !strings.HasPrefix(path, "status.") {
		object["apiVersion"], object["kind"] = v1beta1.SchemeGroupVersion.String(), schematest.Kinds()[resource]
		object["metadata"] = map[string]any{"name": p.name + "-dry"}
		_, err := of.Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	name := p.name
	if resource == "speakers" || resource == "members" {
		name = "n1"
	}
	patch, err := json.Marshal(object)
	p.must(err)
	_, err = of.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, "status")
	return err
}

// schemaRules lists the rules of the schemas that the API server has, sorted:
// resource, field, rule. What is within a condition is Kubernetes' own.
func (p *plot) schemaRules(ctx context.Context) []string {
	p.t.Helper()
	var rules []string
	for resource := range schematest.Kinds() {
		out, err := p.Kubectl(ctx, "get", "crd", resource+"."+v1beta1.SchemeGroupVersion.Group, "-o", "jsonpath={.spec.versions[0].schema.openAPIV3Schema}")
		p.must(err)
		found, err := schematest.Rules([]byte(out))
		p.must(err)
		for _, rule := range found {
			rules = append(rules, resource+" "+rule)
		}
	}
	slices.Sort(rules)
	return rules
}
