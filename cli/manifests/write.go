package manifests

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/migrate/metallb"
)

// File is a file of manifests.
type File struct {
	Name string
	Data []byte
}

// Write makes manifests of objects that MetalLB's were translated to, one file for
// each kind, each object with what there is to say of it as a comment. Equal objects
// make equal files, in whatever order.
func Write(t *metallb.Translation) ([]File, error) {
	var files []File
	for _, one := range []struct {
		file, kind string
		objects    []metav1.Object
	}{
		{"ipaddresspools.yaml", config.KindPool, objectsOf(t.Objects.Pools)},
		{"l2advertisements.yaml", config.KindL2Advertisement, objectsOf(t.Objects.L2Advertisements)},
		{"bgppeers.yaml", config.KindBGPPeer, objectsOf(t.Objects.BGP.Peers)},
		{"bgpadvertisements.yaml", config.KindBGPAdvertisement, objectsOf(t.Objects.BGP.Advertisements)},
		{"bfdprofiles.yaml", config.KindBFDProfile, objectsOf(t.Objects.BGP.BFDProfiles)},
		{"communities.yaml", config.KindCommunity, objectsOf(t.Objects.BGP.Communities)},
	} {
		data, err := document(one.kind, one.objects, t.Findings)
		if err != nil {
			return nil, err
		}
		if len(data) > 0 {
			files = append(files, File{one.file, data})
		}
	}
	return files, nil
}

func objectsOf[T metav1.Object](all []T) []metav1.Object {
	objects := make([]metav1.Object, 0, len(all))
	for _, one := range all {
		objects = append(objects, one)
	}
	slices.SortFunc(objects, func(a, b metav1.Object) int { return strings.Compare(a.GetName(), b.GetName()) })
	return objects
}

// document is the file of one kind; it is empty where there is nothing to say.
func document(kind string, objects []metav1.Object, findings []metallb.Finding) ([]byte, error) {
	var out, left strings.Builder
	about := map[string][]metallb.Finding{}
	for _, f := range findings {
		if f.Kind != kind {
			continue
		}
		if slices.ContainsFunc(objects, func(o metav1.Object) bool { return o.GetName() == f.Name }) {
			about[f.Name] = append(about[f.Name], f)
			continue
		}
		comment(&left, fmt.Sprintf("Not carried over: %s %s, %s: %s.", kind, f.Name, f.Field, f.Message))
	}
	if len(objects) == 0 && left.Len() == 0 {
		return nil, nil
	}
	comment(&out, "Made by kubectl baliza migrate write of MetalLB's objects.")
	out.WriteString(left.String())
	for _, object := range objects {
		out.WriteString("---\n")
		for _, f := range about[object.GetName()] {
			comment(&out, fmt.Sprintf("%s %s: %s.", marks(f.Outcome), f.Field, f.Message))
		}
		data, err := manifest(object)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", kind, object.GetName(), err)
		}
		out.Write(data)
	}
	return []byte(out.String()), nil
}

// marks says in a comment what becomes of a field.
func marks(outcome metallb.Outcome) string {
	switch outcome {
	case metallb.Lost:
		return "Not carried over:"
	case metallb.Differs:
		return "Differs from MetalLB:"
	case metallb.Exact:
	}
	return "As MetalLB has it:"
}

// manifest writes an object without what only the API server knows.
func manifest(object metav1.Object) ([]byte, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	delete(fields, "status")
	if meta, is := fields["metadata"].(map[string]any); is {
		delete(meta, "creationTimestamp")
	}
	if spec, is := fields["spec"].(map[string]any); is && len(spec) == 0 {
		delete(fields, "spec")
	}
	return yaml.Marshal(fields)
}

// comment writes lines that are not too long.
func comment(out *strings.Builder, text string) {
	const width = 100
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width && line != "#" {
			out.WriteString(line + "\n")
			line = "#  "
		}
		line += " " + word
	}
	out.WriteString(line + "\n")
}
