package schema_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	kube "k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/schema"
	"github.com/baliza-lb/baliza/deploy"
	"github.com/baliza-lb/baliza/internal/schematest"
)

func ours(t testing.TB) *schema.Schemas {
	t.Helper()
	documents, err := deploy.CRDs()
	if err != nil {
		t.Fatal(err)
	}
	all, err := schema.New(documents)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func of(kind string) kube.GroupVersionKind { return v1beta1.SchemeGroupVersion.WithKind(kind) }

// K01, C04: each rule on a spec accepts and refuses what an API server does, in its
// words: e2e/scenarios asks one about the same cases.
func TestEveryRuleIsThatOfTheAPIServer(t *testing.T) {
	all := ours(t)
	for name, c := range schematest.Cases() {
		resource, rest, _ := strings.Cut(name, " ")
		path, rule, _ := strings.Cut(rest, " ")
		if strings.HasPrefix(path, "status.") {
			continue // a manifest has none
		}
		t.Run(name, func(t *testing.T) {
			if found := judge(t, all, resource, path, c.Accepted); len(found) > 0 {
				t.Errorf("%.200v was not accepted: %v", c.Accepted, found)
			}
			at, says := strings.ReplaceAll(path, "[]", "[0]"), schematest.Refusal(rule)
			found := judge(t, all, resource, path, c.Refused)
			if !slices.ContainsFunc(found, func(v schema.Violation) bool { return v.Field == at && strings.Contains(v.Message, says) }) {
				t.Errorf("%.200v: %v, want %s: %s", c.Refused, found, at, says)
			}
		})
	}
}

func judge(t *testing.T, all *schema.Schemas, resource, path string, value any) []schema.Violation {
	t.Helper()
	kind := schematest.Kinds()[resource]
	object := schematest.Object(resource, path, value)
	object["apiVersion"], object["kind"], object["metadata"] = v1beta1.SchemeGroupVersion.String(), kind, map[string]any{"name": "a"}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	found, err := all.Judge(of(kind), text)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Each rule of the CRDs has a case, so that the test above leaves none out.
func TestEveryRuleHasACase(t *testing.T) {
	documents, err := deploy.CRDs()
	if err != nil {
		t.Fatal(err)
	}
	cases := schematest.Cases()
	for _, document := range documents {
		var crd struct {
			Spec struct {
				Names    struct{ Plural string }
				Versions []struct{ Schema struct{ OpenAPIV3Schema any } }
			}
		}
		if err := yaml.Unmarshal(document, &crd); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(crd.Spec.Versions[0].Schema.OpenAPIV3Schema)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := schematest.Rules(text)
		if err != nil || len(rules) == 0 {
			t.Fatalf("%s: %v", crd.Spec.Names.Plural, err)
		}
		for _, rule := range rules {
			if _, has := cases[crd.Spec.Names.Plural+" "+rule]; !has {
				t.Errorf("%s %s has no case", crd.Spec.Names.Plural, rule)
			}
		}
	}
}

// What the API server refuses beside the rules of the schema.
func TestWhatIsRefused(t *testing.T) {
	const pool = `{"apiVersion":"baliza.io/v1beta1","kind":"IPAddressPool","metadata":{"name":"lan"%s},"spec":{"addresses":["192.0.2.0/24"]%s}%s}`
	all := ours(t)
	for sentence, test := range map[string]struct {
		text string
		want []string // field: message
	}{
		"a pool":                       {fmt.Sprintf(pool, "", "", ""), nil},
		"a namespace is left out":      {fmt.Sprintf(pool, `,"namespace":"shop"`, "", ""), nil},
		"a null is left out":           {fmt.Sprintf(pool, "", `,"quota":null`, ""), nil},
		"a status is left out":         {fmt.Sprintf(pool, "", "", `,"status":{"assignedIPv4":"many"}`), nil},
		"an unknown field":             {fmt.Sprintf(pool, "", `,"adresses":[]`, ""), []string{`spec.adresses: unknown field "spec.adresses"`}},
		"an unknown field in a list":   {fmt.Sprintf(pool, "", `,"reservations":[{"addresses":["192.0.2.1"],"for":"x"}]`, ""), []string{`spec.reservations[0].for: unknown field "spec.reservations[0].for"`}},
		"an unknown field beside":      {fmt.Sprintf(pool, "", "", `,"sepc":{}`), []string{`sepc: unknown field "sepc"`}},
		"an unknown field of the meta": {fmt.Sprintf(pool, `,"lables":{}`, "", ""), []string{`metadata.lables: unknown field "metadata.lables"`}},
		"a label that is a number":     {fmt.Sprintf(pool, `,"labels":{"a":1}`, "", ""), []string{"metadata: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"}},
		"a label that is none":         {fmt.Sprintf(pool, `,"labels":{"a b":"1"}`, "", ""), []string{`metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`}},
		"a name that is none":          {strings.Replace(fmt.Sprintf(pool, "", "", ""), `"lan"`, `"Lan"`, 1), []string{`metadata.name: Invalid value: "Lan": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`}},
		"a field that must be there": {
			`{"apiVersion":"baliza.io/v1beta1","kind":"IPAddressPool","metadata":{"name":"lan"},"spec":{}}`,
			[]string{": Invalid value: the rules of the schema (CEL) were not evaluated: correct the other mistakes first", "spec.addresses: Required value"},
		},
		"another type": {
			fmt.Sprintf(pool, "", `,"autoAssign":"no"`, ""),
			[]string{
				": Invalid value: the rules of the schema (CEL) were not evaluated: correct the other mistakes first",
				`spec.autoAssign: Invalid value: "string": spec.autoAssign in body must be of type boolean: "string"`,
			},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			found, err := all.Judge(of("IPAddressPool"), []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range found {
				got = append(got, v.Field+": "+v.Message)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%q, want\n%q", got, test.want)
			}
		})
	}
}

func TestWhatIsNoSchema(t *testing.T) {
	if _, err := ours(t).Judge(of("Nonsense"), []byte("{}")); err == nil {
		t.Error("an object of no kind was judged")
	}
	for _, text := range []string{"[]", "null", "{", ""} {
		if _, err := ours(t).Judge(of("IPAddressPool"), []byte(text)); err == nil {
			t.Errorf("%q, which is no object, was judged", text)
		}
	}
	for _, document := range []string{"a: [", "metadata: {name: a}\nspec: {versions: [{name: v1}]}"} {
		if _, err := schema.New([][]byte{[]byte(document)}); err == nil {
			t.Errorf("%q was taken for a CustomResourceDefinition", document)
		}
	}
}

func FuzzJudge(f *testing.F) {
	all := ours(f)
	f.Add("IPAddressPool", []byte(`{"metadata":{"name":"lan"},"spec":{"addresses":["192.0.2.0/24"]}}`))
	f.Add("BGPPeer", []byte(`{"metadata":{"labels":1},"spec":{"myASN":1e3,"peerAddress":[null]}}`))
	f.Fuzz(func(_ *testing.T, kind string, data []byte) {
		_, _ = all.Judge(of(kind), data)
	})
}
