package manifests

import (
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// judge is decode for a kind that has a schema: it finds what the API server would, and
// reports whether the object can be looked at beside others all the same.
func (s *Set) judge(at place, kind, name string, document []byte, into any) bool {
	if name == "" {
		s.add(at, kind, name, "metadata.name", v1beta1.ReasonInvalidSpec, "the object has no name")
		return false
	}
	text, err := yaml.YAMLToJSONStrict(document) // a key that is there twice is refused, as by the API server
	if err != nil {
		s.add(at, kind, name, "", v1beta1.ReasonInvalidSpec, err.Error())
		return false
	}
	violations, err := s.schemas.Judge(v1beta1.SchemeGroupVersion.WithKind(kind), text)
	if err != nil {
		s.add(at, kind, name, "", v1beta1.ReasonInvalidSpec, err.Error())
		return false
	}
	for _, v := range violations {
		s.add(at, kind, name, v.Field, v1beta1.ReasonInvalidSpec, v.Message)
		s.refuse(kind, name, v.Field)
	}
	err = yaml.Unmarshal(text, into)
	if err != nil && len(violations) == 0 {
		s.add(at, kind, name, "", v1beta1.ReasonInvalidSpec, err.Error())
	}
	return err == nil
}

// refuse remembers a field that the schema refuses. The object as a whole is none: what
// config says of its fields says more.
func (s *Set) refuse(kind, name, field string) {
	if field != "" {
		key := kind + " " + name
		s.refused[key] = append(s.refused[key], field)
	}
}

// overlap reports whether two fields are one, or one is within the other.
func overlap(a, b string) bool { return within(a, b) || within(b, a) }

func within(inner, outer string) bool {
	rest, is := strings.CutPrefix(inner, outer)
	return is && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
