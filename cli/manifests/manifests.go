package manifests

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
	"github.com/baliza-lb/baliza/cli/schema"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/migrate/metallb"
)

// Set is the objects of some files. The zero Set has none, and judges none by a schema.
type Set struct {
	schemas  *schema.Schemas
	objects  config.Objects
	services []*corev1.Service
	// nodes, namespaces and metallb are read where they are there, and never judged.
	nodes      []*corev1.Node
	namespaces []*corev1.Namespace
	metallb    metallb.Objects
	// places are where an object is, by kind and name, and theirs where MetalLB's are.
	places map[string]place
	theirs map[string]origin
	// translated are the objects that MetalLB's became, by kind and name.
	translated map[string]bool
	// lost are the fields of MetalLB's objects that were not carried over, by kind, name
	// and field.
	lost map[string]bool
	// refused are the fields that the schema refuses, by kind and name.
	refused  map[string][]string
	findings []Finding
}

// place is where a document is; the number is 0 in a file of one.
type place struct {
	file   string
	number int
}

// origin is where an object of another group is.
type origin struct {
	place
	group string
}

// New makes a Set that judges Baliza's objects by the schemas of their kinds.
func New(schemas *schema.Schemas) *Set { return &Set{schemas: schemas} }

// Finding is something that is wrong with an object.
type Finding struct {
	File string `json:"file"`
	// Document is its number in the file, from 1; 0 if the file has one.
	Document int    `json:"document,omitempty"`
	Kind     string `json:"kind,omitempty"`
	// Group of the kind, if it is not Baliza's or Kubernetes' own.
	Group string `json:"group,omitempty"`
	// Name of the object; namespace/name for a Service.
	Name    string         `json:"name,omitempty"`
	Field   string         `json:"field,omitempty"`
	Reason  v1beta1.Reason `json:"reason"`
	Message string         `json:"message"`
	Cure    string         `json:"cure,omitempty"`
}

// Objects is how many objects were read that mean something to Baliza, those of MetalLB
// only if it was asked what they mean.
func (s *Set) Objects() int {
	if s.translated == nil {
		return len(s.places)
	}
	count := len(s.places)
	for _, from := range s.theirs {
		if from.group == metallb.Group {
			count++
		}
	}
	return count
}

// Read takes in a file: YAML documents, or JSON. What cannot be read is a Finding.
func (s *Set) Read(file string, data []byte) {
	if s.places == nil {
		s.places, s.theirs, s.refused = map[string]place{}, map[string]origin{}, map[string][]string{}
	}
	var documents [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.add(place{file: file}, "", "", "", v1beta1.ReasonInvalidSpec, err.Error())
			break
		}
		documents = append(documents, document)
	}
	for i, document := range documents {
		at := place{file, i + 1}
		if len(documents) == 1 {
			at.number = 0
		}
		s.read(at, document)
	}
}

// read takes in one document. Those of other groups are others' to judge.
func (s *Set) read(at place, document []byte) {
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
		Items []runtime.RawExtension `json:"items"`
	}
	if err := yaml.Unmarshal(document, &head); err != nil {
		s.add(at, "", "", "", v1beta1.ReasonInvalidSpec, err.Error())
		return
	}
	for _, item := range head.Items {
		s.read(at, item.Raw)
	}
	gv := head.GroupVersionKind().GroupVersion()
	switch {
	case len(head.Items) > 0:
	case gv == corev1.SchemeGroupVersion && head.Kind == config.KindService:
		svc := &corev1.Service{}
		if svc.Namespace = head.Metadata.Namespace; s.decode(at, head.Kind, head.Metadata.Name, document, svc) {
			s.keepService(at, svc)
		}
	case metallb.Means(head.GroupVersionKind()):
		s.noteTheirs(at, head.GroupVersionKind(), head.Metadata.Namespace, head.Metadata.Name)
		s.metallb.Add(document)
	case gv == corev1.SchemeGroupVersion && head.Kind == "Node":
		lenient(document, &s.nodes)
	case gv == corev1.SchemeGroupVersion && head.Kind == "Namespace":
		lenient(document, &s.namespaces)
	case gv.Group != v1beta1.GroupName:
	case gv != v1beta1.SchemeGroupVersion:
		s.add(at, head.Kind, head.Metadata.Name, "apiVersion", v1beta1.ReasonInvalidSpec,
			fmt.Sprintf("there is no version %s: use %s", gv, v1beta1.SchemeGroupVersion))
	default:
		s.readOurs(at, head.Kind, head.Metadata.Name, document)
	}
}

func (s *Set) readOurs(at place, kind, name string, document []byte) {
	switch kind {
	case config.KindPool:
		keep(s, at, kind, name, document, &s.objects.Pools)
	case config.KindL2Advertisement:
		keep(s, at, kind, name, document, &s.objects.L2Advertisements)
	case config.KindBGPPeer:
		keep(s, at, kind, name, document, &s.objects.BGP.Peers)
	case config.KindBGPAdvertisement:
		keep(s, at, kind, name, document, &s.objects.BGP.Advertisements)
	case config.KindBFDProfile:
		keep(s, at, kind, name, document, &s.objects.BGP.BFDProfiles)
	case config.KindCommunity:
		keep(s, at, kind, name, document, &s.objects.BGP.Communities)
	case "Speaker", "Member": // the speakers' own
	default:
		s.add(at, kind, name, "kind", v1beta1.ReasonInvalidSpec, "there is no such kind of "+v1beta1.GroupName)
	}
}

// keep reads an object into a list.
func keep[T any](s *Set, at place, kind, name string, document []byte, into *[]*T) {
	object := new(T)
	decode := s.decode
	if s.schemas != nil && s.schemas.Knows(v1beta1.SchemeGroupVersion.WithKind(kind)) {
		decode = s.judge
	}
	if decode(at, kind, name, document, object) && s.note(at, kind, name) {
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

func (s *Set) keepService(at place, svc *corev1.Service) {
	if svc.Namespace == "" {
		svc.Namespace = metav1.NamespaceDefault
	}
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer && s.note(at, config.KindService, config.ServiceKey(svc)) {
		s.services = append(s.services, svc)
	}
}

// decode reports whether a document is an object of that kind; a field that there is
// not is a mistake.
func (s *Set) decode(at place, kind, name string, document []byte, into any) bool {
	if name == "" {
		s.add(at, kind, name, "metadata.name", v1beta1.ReasonInvalidSpec, "the object has no name")
		return false
	}
	if err := yaml.UnmarshalStrict(document, into); err != nil {
		s.add(at, kind, name, "", v1beta1.ReasonInvalidSpec, err.Error())
		return false
	}
	return true
}

// note remembers where an object is; it reports whether it is the first of its name.
func (s *Set) note(at place, kind, name string) bool {
	key := kind + " " + name
	if before, twice := s.places[key]; twice {
		s.add(at, kind, name, "metadata.name", v1beta1.ReasonOverlap, "there is another of this name in "+before.file)
		return false
	}
	s.places[key] = at
	return true
}

func (s *Set) add(at place, kind, name, field string, reason v1beta1.Reason, message string) {
	cure, _ := cures.For(reason)
	s.findings = append(s.findings, Finding{
		File: at.file, Document: at.number, Kind: kind, Name: name, Field: field, Reason: reason, Message: message, Cure: cure.Text,
	})
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

// Check returns what is wrong with the objects, each by itself and together. Of what the
// schema refuses and config, too, the schema's word is the one, which is that of the API
// server. They are in the order of files and documents.
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
		key := p.Kind + " " + p.Name
		switch {
		case p.Reason == v1beta1.ReasonInvalidSpec && slices.ContainsFunc(s.refused[key], func(field string) bool { return overlap(field, p.Field) }):
		case s.translated[key]:
			s.addTheirs(p.Kind, p.Name, p.Field, p.Reason, p.Message)
		default:
			s.add(s.places[key], p.Kind, p.Name, p.Field, p.Reason, p.Message)
		}
	}
	slices.SortStableFunc(s.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Document, b.Document))
	})
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
