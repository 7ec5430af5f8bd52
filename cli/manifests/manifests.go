package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/migrate/metallb"
)

// Set is the objects of some files. The zero Set has none.
type Set struct {
	objects  config.Objects
	services []*corev1.Service
	// nodes, namespaces and metallb are read where they are there, and never judged.
	nodes      []*corev1.Node
	namespaces []*corev1.Namespace
	metallb    metallb.Objects
	// files are where an object is, by kind and name.
	files    map[string]string
	findings []Finding
}

// Finding is something that is wrong with an object.
type Finding struct {
	File string `json:"file"`
	Kind string `json:"kind,omitempty"`
	// Name of the object; namespace/name for a Service.
	Name    string         `json:"name,omitempty"`
	Field   string         `json:"field,omitempty"`
	Reason  v1beta1.Reason `json:"reason"`
	Message string         `json:"message"`
	Cure    string         `json:"cure,omitempty"`
}

// Objects is how many objects were read that mean something to Baliza.
func (s *Set) Objects() int { return len(s.files) }

// Read takes in a file: YAML documents, or JSON. What cannot be read is a Finding.
func (s *Set) Read(file string, data []byte) {
	if s.files == nil {
		s.files = map[string]string{}
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			s.add(file, "", "", "", v1beta1.ReasonInvalidSpec, err.Error())
			return
		}
		s.read(file, document)
	}
}

// read takes in one document. Those of other groups are others' to judge.
func (s *Set) read(file string, document []byte) {
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
		Items []runtime.RawExtension `json:"items"`
	}
	if err := yaml.Unmarshal(document, &head); err != nil {
		s.add(file, "", "", "", v1beta1.ReasonInvalidSpec, err.Error())
		return
	}
	for _, item := range head.Items {
		s.read(file, item.Raw)
	}
	gv := head.GroupVersionKind().GroupVersion()
	switch {
	case len(head.Items) > 0:
	case gv == corev1.SchemeGroupVersion && head.Kind == config.KindService:
		svc := &corev1.Service{}
		if svc.Namespace = head.Metadata.Namespace; s.decode(file, head.Kind, head.Metadata.Name, document, svc) {
			s.keepService(file, svc)
		}
	case metallb.Means(head.GroupVersionKind()):
		s.metallb.Add(document)
	case gv == corev1.SchemeGroupVersion && head.Kind == "Node":
		lenient(document, &s.nodes)
	case gv == corev1.SchemeGroupVersion && head.Kind == "Namespace":
		lenient(document, &s.namespaces)
	case gv.Group != v1beta1.GroupName:
	case gv != v1beta1.SchemeGroupVersion:
		s.add(file, head.Kind, head.Metadata.Name, "apiVersion", v1beta1.ReasonInvalidSpec,
			fmt.Sprintf("there is no version %s: use %s", gv, v1beta1.SchemeGroupVersion))
	default:
		s.readOurs(file, head.Kind, head.Metadata.Name, document)
	}
}

func (s *Set) readOurs(file, kind, name string, document []byte) {
	switch kind {
	case config.KindPool:
		keep(s, file, kind, name, document, &s.objects.Pools)
	case config.KindL2Advertisement:
		keep(s, file, kind, name, document, &s.objects.L2Advertisements)
	case config.KindBGPPeer:
		keep(s, file, kind, name, document, &s.objects.BGP.Peers)
	case config.KindBGPAdvertisement:
		keep(s, file, kind, name, document, &s.objects.BGP.Advertisements)
	case config.KindBFDProfile:
		keep(s, file, kind, name, document, &s.objects.BGP.BFDProfiles)
	case config.KindCommunity:
		keep(s, file, kind, name, document, &s.objects.BGP.Communities)
	case "Speaker", "Member": // the speakers' own
	default:
		s.add(file, kind, name, "kind", v1beta1.ReasonInvalidSpec, "there is no such kind of "+v1beta1.GroupName)
	}
}

// keep reads an object into a list.
func keep[T any](s *Set, file, kind, name string, document []byte, into *[]*T) {
	object := new(T)
	if s.decode(file, kind, name, document, object) && s.note(file, kind, name) {
		*into = append(*into, object)
	}
}

// lenient reads an object that is others' to judge.
func lenient[T any](document []byte, into *[]*T) {
	object := new(T)
	if yaml.Unmarshal(document, object) == nil {
		*into = append(*into, object)
	}
}

func (s *Set) keepService(file string, svc *corev1.Service) {
	if svc.Namespace == "" {
		svc.Namespace = metav1.NamespaceDefault
	}
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer && s.note(file, config.KindService, config.ServiceKey(svc)) {
		s.services = append(s.services, svc)
	}
}

// decode reports whether a document is an object of that kind; a field that there is
// not is a mistake.
func (s *Set) decode(file, kind, name string, document []byte, into any) bool {
	if name == "" {
		s.add(file, kind, name, "metadata.name", v1beta1.ReasonInvalidSpec, "the object has no name")
		return false
	}
	if err := yaml.UnmarshalStrict(document, into); err != nil {
		s.add(file, kind, name, "", v1beta1.ReasonInvalidSpec, err.Error())
		return false
	}
	return true
}

// note remembers where an object is; it reports whether it is the first of its name.
func (s *Set) note(file, kind, name string) bool {
	key := kind + " " + name
	if before, twice := s.files[key]; twice {
		s.add(file, kind, name, "metadata.name", v1beta1.ReasonOverlap, "there is another of this name in "+before)
		return false
	}
	s.files[key] = file
	return true
}

func (s *Set) add(file, kind, name, field string, reason v1beta1.Reason, message string) {
	cure, _ := cures.For(reason)
	s.findings = append(s.findings, Finding{file, kind, name, field, reason, message, cure.Text})
}

// Unread are the findings of Read: what is no object.
func (s *Set) Unread() []Finding { return s.findings }

// Config are the objects of ours.
func (s *Set) Config() config.Objects { return s.objects }

// Services are those of type LoadBalancer.
func (s *Set) Services() []*corev1.Service { return s.services }

// Nodes that the files have.
func (s *Set) Nodes() []*corev1.Node { return s.nodes }

// Namespaces that the files have.
func (s *Set) Namespaces() []*corev1.Namespace { return s.namespaces }

// MetalLB are MetalLB's objects.
func (s *Set) MetalLB() *metallb.Objects { return &s.metallb }

// Check returns what is wrong with the objects, each by itself and together. What the
// API server's rules (CEL) refuse beside is not looked at.
func (s *Set) Check() []Finding {
	snapshot, problems := config.Build(s.objects)
	for _, svc := range s.services {
		request, found := config.ParseService(svc)
		problems = append(problems, found...)
		if len(snapshot.Pools) > 0 {
			problems = append(problems, missing(snapshot, request)...)
		}
	}
	if s.findings == nil {
		s.findings = []Finding{} // which is no null in JSON
	}
	for _, p := range problems {
		s.add(s.files[p.Kind+" "+p.Name], p.Kind, p.Name, p.Field, p.Reason, p.Message)
	}
	return s.findings
}

// missing is what a Service names and the pools do not have.
func missing(snapshot *config.Snapshot, request config.Request) []config.Problem {
	var problems []config.Problem
	report := func(field string, reason v1beta1.Reason, format string, args ...any) {
		problems = append(problems, config.Problem{
			Kind: config.KindService, Name: request.Key, Field: field, Reason: reason, Message: fmt.Sprintf(format, args...),
		})
	}
	if request.Pool != "" && snapshot.Pool(request.Pool) == nil {
		report("metadata.annotations["+v1beta1.AnnotationPool+"]", v1beta1.ReasonPoolNotFound, "there is no IPAddressPool %q", request.Pool)
	}
	for _, a := range request.Addresses {
		switch p := snapshot.PoolOf(a); {
		case p == nil:
			report("metadata.annotations["+v1beta1.AnnotationAddresses+"]", v1beta1.ReasonAddressOutsidePools,
				"%s is not an address that an IPAddressPool gives", a)
		case request.Pool != "" && p.Name != request.Pool:
			report("metadata.annotations["+v1beta1.AnnotationAddresses+"]", v1beta1.ReasonAddressOutsidePools,
				"%s is in pool %s, but pool %s is named", a, p.Name, request.Pool)
		}
	}
	return problems
}
