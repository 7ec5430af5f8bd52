package manifests_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/baliza-lb/baliza/cli/manifests"
	"github.com/baliza-lb/baliza/cli/schema"
	"github.com/baliza-lb/baliza/deploy"
)

const lan = `apiVersion: baliza.io/v1beta1
kind: IPAddressPool
metadata: {name: lan}
spec:
  addresses: [192.0.2.10-192.0.2.20]
`

const service = `apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  annotations: {%s}
spec:
  type: LoadBalancer
  ports: [{port: 80}]
`

// K01: each mistake is found where it is, and what is right is not complained about.
func TestMistakesAreFound(t *testing.T) {
	advertisement := "apiVersion: baliza.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: a}\nspec: {ipAddressPools: [%s]}\n"
	for sentence, test := range map[string]struct {
		text string
		want []string // kind name field reason
	}{
		"nothing":                           {"", nil},
		"a pool":                            {lan, nil},
		"a pool in a list":                  {"apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(lan, "\n", "\n  "), nil},
		"a pool in JSON":                    {`{"apiVersion":"baliza.io/v1beta1","kind":"IPAddressPool","metadata":{"name":"lan"},"spec":{"addresses":["192.0.2.0/24"]}}`, nil},
		"a pool and what advertises it":     {lan + "---\n" + fmt.Sprintf(advertisement, "lan"), nil},
		"others' objects":                   {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {nonsense: 1}\n", nil},
		"a Service that asks for nothing":   {lan + "---\n" + fmt.Sprintf(service, ""), nil},
		"a Service that asks for a pool":    {lan + "---\n" + fmt.Sprintf(service, "baliza.io/pool: lan"), nil},
		"a Service, and pools are not here": {fmt.Sprintf(service, "baliza.io/pool: lan"), nil},
		"a typo in a field":                 {strings.Replace(lan, "addresses", "adresses", 1), []string{"IPAddressPool lan  InvalidSpec"}},
		"a range the wrong way round":       {strings.Replace(lan, "192.0.2.20", "192.0.2.2", 1), []string{"IPAddressPool lan spec.addresses[0] InvalidSpec"}},
		"pools that overlap":                {lan + "---\n" + strings.Replace(lan, "name: lan", "name: two", 1), []string{"IPAddressPool two spec.addresses[0] Overlap"}},
		"two of one name":                   {lan + "---\n" + lan, []string{"IPAddressPool lan metadata.name Overlap"}},
		"a reference to nothing":            {lan + "---\n" + fmt.Sprintf(advertisement, "dmz"), []string{"L2Advertisement a spec.ipAddressPools[0] ReferenceNotFound"}},
		"an old version":                    {strings.Replace(lan, "v1beta1", "v1alpha1", 1), []string{"IPAddressPool lan apiVersion InvalidSpec"}},
		"no such kind":                      {strings.Replace(lan, "IPAddressPool", "AddressPool", 1), []string{"AddressPool lan kind InvalidSpec"}},
		"no name":                           {strings.Replace(lan, "name: lan", "", 1), []string{"IPAddressPool  metadata.name InvalidSpec"}},
		"no YAML":                           {"a: [", []string{"   InvalidSpec"}},
		"a pool that is not there": {
			lan + "---\n" + fmt.Sprintf(service, "baliza.io/pool: dmz"), []string{"Service shop/web metadata.annotations[baliza.io/pool] PoolNotFound"},
		},
		"an address of no pool": {
			lan + "---\n" + fmt.Sprintf(service, "baliza.io/addresses: 192.0.2.99"),
			[]string{"Service shop/web metadata.annotations[baliza.io/addresses] AddressOutsidePools"},
		},
		"an address that is none": {
			lan + "---\n" + fmt.Sprintf(service, "baliza.io/addresses: web"),
			[]string{"Service shop/web metadata.annotations[baliza.io/addresses] InvalidRequest"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			var s manifests.Set
			s.Read("all.yaml", []byte(test.text))
			var got []string
			for _, f := range s.Check() {
				got = append(got, fmt.Sprintf("%s %s %s %s", f.Kind, f.Name, f.Field, f.Reason))
				if f.File != "all.yaml" || f.Message == "" || f.Cure == "" {
					t.Errorf("%+v", f)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func schemas(t testing.TB) *schema.Schemas {
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

// K01: of what the schema and config both refuse the schema alone speaks, of what config
// alone refuses config does, and what is refused is still there to be referred to.
func TestASchemaSpeaksFirst(t *testing.T) {
	all := schemas(t)
	advertisement := "---\napiVersion: baliza.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: a}\nspec: {ipAddressPools: [lan]}\n"
	spec := func(text string) string { return strings.Replace(lan, "addresses: [192.0.2.10-192.0.2.20]", text, 1) }
	for sentence, test := range map[string]struct {
		text string
		want []string // document kind name field reason: the beginning of the message
	}{
		"a pool":    {lan, nil},
		"host bits": {spec("addresses: [192.0.2.1/24]"), []string{`0 IPAddressPool lan spec.addresses[0] InvalidSpec: Invalid value: "192.0.2.1/24": a CIDR`}},
		"an unknown word": {spec("adresses: []") + advertisement, []string{
			"1 IPAddressPool lan  InvalidSpec: Invalid value: the rules", "1 IPAddressPool lan spec.addresses InvalidSpec: Required value",
			"1 IPAddressPool lan spec.adresses InvalidSpec: unknown field",
		}},
		"host bits and a range that only config refuses": {
			spec("addresses: [192.0.2.20-192.0.2.10, 192.0.2.1/24]"),
			[]string{"0 IPAddressPool lan spec.addresses[0] InvalidSpec: the range is reversed", `0 IPAddressPool lan spec.addresses[1] InvalidSpec: Invalid value`},
		},
		"a key twice": {spec("addresses: [192.0.2.0/24]\n  addresses: [192.0.2.0/25]"), []string{"0 IPAddressPool lan  InvalidSpec: yaml: "}},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := manifests.New(all)
			s.Read("all.yaml", []byte(test.text))
			var got []string
			for _, f := range s.Check() {
				got = append(got, fmt.Sprintf("%d %s %s %s %s: %s", f.Document, f.Kind, f.Name, f.Field, f.Reason, f.Message))
			}
			slices.Sort(got)
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	all := schemas(f)
	f.Add([]byte(lan))
	f.Add([]byte(fmt.Sprintf(service, "baliza.io/pool: lan")))
	f.Add([]byte(strings.Replace(lan, "baliza.io/v1beta1", "metallb.io/v1beta1", 1) + "---\n" + lan))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := manifests.New(all)
		s.Read("all.yaml", data)
		if err := s.TakeMetalLB(); err != nil {
			t.Error(err)
		}
		s.Check()
		var plain manifests.Set
		plain.Read("all.yaml", data)
		plain.Check()
	})
}
