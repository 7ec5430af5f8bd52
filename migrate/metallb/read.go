package metallb

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/config"
)

// Versions of MetalLB's kinds.
const (
	v1beta1 = "v1beta1"
	v1beta2 = "v1beta2"
)

// Objects are MetalLB's objects. The zero Objects has none.
type Objects struct {
	Pools             []*IPAddressPool
	L2Advertisements  []*L2Advertisement
	BGPPeers          []*BGPPeer
	BGPAdvertisements []*BGPAdvertisement
	BFDProfiles       []*BFDProfile
	Communities       []*Community
	// Class is the loadBalancerClass that MetalLB serves alone (--lb-class), where that
	// is known: the operator's object says it.
	Class string

	// findings are about what was read and has no counterpart.
	findings []Finding
	// seen are the objects that were read, by kind and name.
	seen map[string]bool
}

// Empty reports whether nothing of MetalLB was read.
func (o *Objects) Empty() bool { return len(o.seen) == 0 && len(o.findings) == 0 }

// Means reports whether Add looks at objects of a kind: those of MetalLB, those of
// its FRR, and ConfigMaps, some of which it reads.
func Means(gvk schema.GroupVersionKind) bool {
	return gvk.Group == Group || gvk.Group == frrGroup || gvk.Group == corev1.GroupName && gvk.Kind == kindConfigMap
}

// Kinds beside those that are carried over.
const (
	frrGroup      = "frrk8s.metallb.io"
	kindConfigMap = "ConfigMap"
)

// Add takes in an object as YAML or JSON, of a kind that Means. What cannot be read
// becomes a finding of Translate, as does what has no counterpart.
func (o *Objects) Add(document []byte) {
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Data            map[string]string `json:"data"`
		Spec            map[string]any    `json:"spec"`
	}
	if err := yaml.Unmarshal(document, &head); err != nil {
		if head.GroupVersionKind().Group != Group {
			return
		}
		o.lose(head.Kind, head.Metadata.Name, "", "it cannot be read: %s", err)
		return
	}
	gvk, name := head.GroupVersionKind(), head.Metadata.Name
	switch {
	case gvk.Group == frrGroup && strings.HasPrefix(name, "metallb-"): // MetalLB's own, made of its peers
	case gvk.Group == frrGroup && gvk.Kind == "FRRConfiguration":
		o.lose(gvk.Kind, name, "spec", "FRR is not configured by Baliza, whose speakers have BGP sessions of their own: "+
			"what it adds to MetalLB's peers must be said by fields of BGPPeer and BGPAdvertisement, or by a routing daemon beside Baliza")
	case gvk.Kind == kindConfigMap:
		o.readConfigMap(&head.Metadata, head.Data)
	case gvk.Group != Group:
	default:
		o.read(gvk, name, head.Spec, document)
	}
}

// read takes in an object of MetalLB's own group.
func (o *Objects) read(gvk schema.GroupVersionKind, name string, spec map[string]any, document []byte) {
	version := gvk.Version
	if gvk.Kind == config.KindBGPPeer && version == v1beta2 {
		version = v1beta1
	}
	switch {
	case gvk.Kind == "AddressPool":
		o.lose(gvk.Kind, name, "kind", "MetalLB itself does not read this kind any more: make it an IPAddressPool and an advertisement")
		return
	case gvk.Kind == "MetalLB":
		o.Class, _ = spec["loadBalancerClass"].(string)
		o.noteSeen(gvk.Kind, name)
		return
	case version != v1beta1:
		o.lose(gvk.Kind, name, "apiVersion", "there is no version %s of %s that is known here", gvk.Version, gvk.Kind)
		return
	}
	switch gvk.Kind {
	case config.KindPool:
		add(o, gvk.Kind, name, document, &o.Pools)
	case config.KindL2Advertisement:
		add(o, gvk.Kind, name, document, &o.L2Advertisements)
	case config.KindBGPPeer:
		add(o, gvk.Kind, name, document, &o.BGPPeers)
	case config.KindBGPAdvertisement:
		add(o, gvk.Kind, name, document, &o.BGPAdvertisements)
	case config.KindBFDProfile:
		add(o, gvk.Kind, name, document, &o.BFDProfiles)
	case config.KindCommunity:
		add(o, gvk.Kind, name, document, &o.Communities)
	case "ServiceL2Status", "ServiceBGPStatus", "ConfigurationState": // what MetalLB reports
	default:
		o.lose(gvk.Kind, name, "kind", "this kind of %s is not known here", Group)
	}
}

// add decodes an object; a field that there is not is a finding, and the rest counts.
func add[S any](o *Objects, kind, name string, document []byte, into *[]*Object[S]) {
	object := new(Object[S])
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		if object = new(Object[S]); yaml.Unmarshal(document, object) != nil {
			o.lose(kind, name, "spec", "it cannot be read: %s", briefly(err))
			return
		}
		o.lose(kind, name, "spec", "it has what is not known here: %s", briefly(err))
	}
	switch {
	case name == "":
		o.lose(kind, name, "metadata.name", "it has no name")
	case !o.noteSeen(kind, name):
		o.lose(kind, name, "metadata.name", "there is another of this name: "+
			"render overlays first, as by kubectl kustomize DIR | kubectl baliza migrate check -f -")
	default:
		*into = append(*into, object)
	}
}

// noteSeen reports whether an object is the first of its name.
func (o *Objects) noteSeen(kind, name string) bool {
	if o.seen == nil {
		o.seen = map[string]bool{}
	}
	key := kind + " " + name
	first := !o.seen[key]
	o.seen[key] = true
	return first
}

// briefly leaves out of a decoder's error which decoder it was.
func briefly(err error) string {
	text := err.Error()
	for _, prefix := range []string{"error unmarshaling JSON: ", "error converting YAML to JSON: ", "while decoding JSON: ", "json: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// readConfigMap looks at those by which MetalLB is configured.
func (o *Objects) readConfigMap(meta *metav1.ObjectMeta, data map[string]string) {
	key := meta.Namespace + "/" + meta.Name
	if meta.Namespace == "" {
		key = meta.Name
	}
	switch {
	case meta.Name == "bgpextras" && strings.TrimSpace(data["extras"]) != "":
		o.lose(kindConfigMap, key, "data.extras", "raw configuration of FRR is not carried over: "+
			"Baliza's speakers have BGP sessions of their own. What it says must be said by fields of BGPPeer and BGPAdvertisement, or on the router")
	case strings.Contains(data["config"], "address-pools:"):
		o.lose(kindConfigMap, key, "data.config", "MetalLB itself has not read this since 0.13: make it objects of %s first", Group)
	case strings.Contains(data["excludel2.yaml"], "announcedInterfacesToExclude"):
		o.differ(kindConfigMap, key, "data[excludel2.yaml]", "interfaces are not excluded by a pattern of names: "+
			"a speaker leaves out those of containers, bridges that lead nowhere else, and what has no address on a subnet; "+
			"name the interfaces in spec.interfaces of L2Advertisements where that is not enough")
	}
}

func (o *Objects) lose(kind, name, field, format string, args ...any) {
	o.findings = append(o.findings, Finding{Lost, kind, name, field, fmt.Sprintf(format, args...)})
}

func (o *Objects) differ(kind, name, field, format string, args ...any) {
	o.findings = append(o.findings, Finding{Differs, kind, name, field, fmt.Sprintf(format, args...)})
}
