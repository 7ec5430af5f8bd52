package chart

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

const (
	root  = "../.."
	chart = root + "/deploy/helm/baliza"
)

// helms are both majors.
func helms(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"helm", "helm3"} {
		file, err := filepath.Abs(filepath.Join(root, "bin", name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("%v: run \"make tools\" first", err)
		}
		all[name] = file
	}
	return all
}

// each runs a test with both.
func each(t *testing.T, f func(t *testing.T, helm string)) {
	t.Helper()
	for name, helm := range helms(t) {
		t.Run(name, func(t *testing.T) { f(t, helm) })
	}
}

// run returns what Helm wrote, and its complaint as error.
func run(helm string, args ...string) (string, error) {
	cmd := exec.Command(helm, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w: %s%s", strings.Join(args, " "), err, &complaint, &out)
	}
	return out.String(), nil
}

// oldest is the version of Kubernetes that the chart promises at least.
func oldest(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(chart + "/Chart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`kubeVersion: ">=([0-9.]+)-0"`).FindSubmatch(text)
	if found == nil {
		t.Fatal("the chart promises no version of Kubernetes")
	}
	return string(found[1])
}

// objects are what one rendering made.
type objects []*unstructured.Unstructured

// template renders the chart with values, given as YAML, as release "baliza" in
// namespace "elsewhere".
func template(t *testing.T, helm, values string, options ...string) objects {
	t.Helper()
	all, err := tryTemplate(t, helm, values, options...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func tryTemplate(t *testing.T, helm, values string, options ...string) (objects, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"template", "baliza", chart, "--namespace", "elsewhere", "--kube-version", oldest(t), "--values", file}, options...)
	out, err := run(helm, args...)
	if err != nil {
		return nil, err
	}
	return parse(t, out), nil
}

func parse(t *testing.T, text string) objects {
	t.Helper()
	var all objects
	decoder := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := decoder.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		// Strict: a key that stands twice is a mistake of a template.
		if err := sigsyaml.UnmarshalStrict(document, &object.Object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}

// one is the object of that kind and name; the test fails without.
func (o objects) one(t *testing.T, kind, name string) *unstructured.Unstructured {
	t.Helper()
	if found := o.find(kind, name); found != nil {
		return found
	}
	t.Fatalf("no %s %s among %v", kind, name, o.names())
	return nil
}

func (o objects) find(kind, name string) *unstructured.Unstructured {
	i := slices.IndexFunc(o, func(u *unstructured.Unstructured) bool { return u.GetKind() == kind && u.GetName() == name })
	if i < 0 {
		return nil
	}
	return o[i]
}

func (o objects) names() []string {
	var all []string
	for _, u := range o {
		all = append(all, u.GetKind()+"/"+u.GetName())
	}
	return all
}

// at is a field of an object; path elements are keys, or numbers of list items.
func at(t *testing.T, object any, path ...any) any {
	t.Helper()
	if u, ok := object.(*unstructured.Unstructured); ok {
		object = u.Object
	}
	for _, p := range path {
		switch o := object.(type) {
		case map[string]any:
			object = o[fmt.Sprint(p)]
		case []any:
			i, ok := p.(int)
			if !ok || i >= len(o) {
				return nil
			}
			object = o[i]
		default:
			return nil
		}
	}
	return object
}

// pod is a field of an object's pod template.
func pod(t *testing.T, object *unstructured.Unstructured, path ...any) any {
	t.Helper()
	return at(t, object, append([]any{"spec", "template"}, path...)...)
}

// container is a field of its only container.
func container(t *testing.T, object *unstructured.Unstructured, path ...any) any {
	t.Helper()
	return pod(t, object, append([]any{"spec", "containers", 0}, path...)...)
}

// text of any value.
func text(value any) string { return fmt.Sprint(value) }
