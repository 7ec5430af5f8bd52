package metallb_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/migrate/metallb"
)

// fields are the paths of all fields of a spec.
func fields(prefix string, spec reflect.Type) []string {
	for spec.Kind() == reflect.Pointer || spec.Kind() == reflect.Slice {
		spec = spec.Elem()
	}
	others := []reflect.Type{reflect.TypeFor[metav1.LabelSelector](), reflect.TypeFor[metav1.Duration]()}
	if spec.Kind() != reflect.Struct || spec == others[0] || spec == others[1] {
		return nil
	}
	var all []string
	for field := range spec.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		all = append(all, prefix+name)
		all = append(all, fields(prefix+name+".", field.Type)...)
	}
	return all
}

// Each field and annotation has its line in the section of its kind, and each line is
// of a field.
func TestEveryFieldIsInTheTables(t *testing.T) {
	page, err := os.ReadFile("../../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	services := []string{"spec.loadBalancerIP", "spec.loadBalancerClass"}
	for short := range metallb.Annotations() {
		services = append(services, short)
	}
	for section, want := range map[string][]string{
		config.KindPool:             fields("", reflect.TypeFor[metallb.IPAddressPoolSpec]()),
		config.KindL2Advertisement:  fields("", reflect.TypeFor[metallb.L2AdvertisementSpec]()),
		config.KindBGPPeer:          fields("", reflect.TypeFor[metallb.BGPPeerSpec]()),
		config.KindBGPAdvertisement: fields("", reflect.TypeFor[metallb.BGPAdvertisementSpec]()),
		config.KindBFDProfile:       fields("", reflect.TypeFor[metallb.BFDProfileSpec]()),
		config.KindCommunity:        fields("", reflect.TypeFor[metallb.CommunitySpec]()),
		"Services":                  services,
	} {
		_, text, found := strings.Cut(string(page), "\n### "+section+"\n")
		if !found || len(want) == 0 {
			t.Errorf("there is no section %s, or it has no fields: %v", section, want)
			continue
		}
		text, _, _ = strings.Cut(text, "\n#")
		for _, field := range want {
			if strings.Count(text, "\n| `"+field+"` |") != 1 {
				t.Errorf("section %s has not one line of %s", section, field)
			}
		}
		if lines := strings.Count(text, "\n| `"); lines != len(want) {
			t.Errorf("section %s has %d lines of fields, want %d", section, lines, len(want))
		}
	}
}

// Each default that does something else is in the tables.
func TestEveryDefaultIsInTheTables(t *testing.T) {
	page, err := os.ReadFile("../../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	o := read(t,
		[3]string{config.KindPool, "p", "{addresses: [192.0.2.0/24]}"}, [3]string{config.KindL2Advertisement, "l", "{}"},
		[3]string{config.KindBGPPeer, "r", "{myASN: 64512, peerASN: 64500, peerAddress: 192.0.2.1}"})
	defaults := o.Defaults()
	if len(defaults) == 0 {
		t.Fatal("there are no defaults")
	}
	for _, f := range defaults {
		_, text, _ := strings.Cut(string(page), "\n### "+f.Kind+"\n")
		text, _, _ = strings.Cut(text, "\n#")
		if !strings.Contains(text, "`"+strings.TrimPrefix(f.Field, "spec.")+"`") || !strings.Contains(text, "Differs") {
			t.Errorf("section %s does not say that the default of %s differs", f.Kind, f.Field)
		}
	}
}
