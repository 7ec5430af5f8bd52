package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// references looks up what a pod refers to in its namespace.
type references struct {
	configMap func(ctx context.Context, name string) (*corev1.ConfigMap, error)
	secret    func(ctx context.Context, name string) (*corev1.Secret, error)
}

// variables are environment variables in the order in which they were set; the
// last of a name wins.
type variables struct {
	names  []string
	values map[string]string
}

func (v *variables) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

func (v *variables) list() []string {
	var all []string
	for _, n := range v.names {
		all = append(all, n+"="+v.values[n])
	}
	return all
}

// environmentOf is the environment of a container: what every container gets,
// then envFrom, then env with $(NAME) expanded.
func environmentOf(ctx context.Context, pod *corev1.Pod, c *corev1.Container, ips, hostIPs []string, refs references) (*variables, error) {
	v := &variables{values: map[string]string{}}
	v.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	v.set("HOSTNAME", pod.Name)
	v.set("HOME", "/")
	v.set("KUBERNETES_SERVICE_HOST", serviceIP4)
	v.set("KUBERNETES_SERVICE_PORT", "443")
	for _, from := range c.EnvFrom {
		if err := addAll(ctx, v, from, refs); err != nil {
			return nil, err
		}
	}
	mapping := expansion.MappingFuncFor(v.values)
	for _, e := range c.Env {
		value := expansion.Expand(e.Value, mapping)
		if e.ValueFrom != nil {
			var found bool
			var err error
			if value, found, err = valueFrom(ctx, pod, c, e.ValueFrom, ips, hostIPs, refs); err != nil {
				return nil, fmt.Errorf("variable %s: %w", e.Name, err)
			}
			if !found {
				continue
			}
		}
		v.set(e.Name, value)
	}
	return v, nil
}

func addAll(ctx context.Context, v *variables, from corev1.EnvFromSource, refs references) error {
	data := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		m, err := refs.configMap(ctx, from.ConfigMapRef.Name)
		if err != nil {
			return ignoreMissing(err, from.ConfigMapRef.Optional)
		}
		data = m.Data
	case from.SecretRef != nil:
		s, err := refs.secret(ctx, from.SecretRef.Name)
		if err != nil {
			return ignoreMissing(err, from.SecretRef.Optional)
		}
		for k, b := range s.Data {
			data[k] = string(b)
		}
	}
	for name, value := range data {
		v.set(from.Prefix+name, value)
	}
	return nil
}

func ignoreMissing(err error, optional *bool) error {
	if optional != nil && *optional && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func valueFrom(
	ctx context.Context, pod *corev1.Pod, c *corev1.Container, from *corev1.EnvVarSource, ips, hostIPs []string, refs references,
) (value string, found bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = podField(pod, from.FieldRef.FieldPath, ips, hostIPs)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = resource.ExtractContainerResourceValue(from.ResourceFieldRef, c)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		m, err := refs.configMap(ctx, from.ConfigMapKeyRef.Name)
		if err != nil {
			return "", false, ignoreMissing(err, from.ConfigMapKeyRef.Optional)
		}
		value, found = m.Data[from.ConfigMapKeyRef.Key]
		return value, found, missingKey(found, from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Optional)
	case from.SecretKeyRef != nil:
		s, err := refs.secret(ctx, from.SecretKeyRef.Name)
		if err != nil {
			return "", false, ignoreMissing(err, from.SecretKeyRef.Optional)
		}
		data, found := s.Data[from.SecretKeyRef.Key]
		return string(data), found, missingKey(found, from.SecretKeyRef.Key, from.SecretKeyRef.Optional)
	}
	return "", false, fmt.Errorf("its source is none the lab knows")
}

func missingKey(found bool, key string, optional *bool) error {
	if found || optional != nil && *optional {
		return nil
	}
	return fmt.Errorf("there is no key %s", key)
}

// podField is the value of a downward API field.
func podField(pod *corev1.Pod, path string, ips, hostIPs []string) (string, error) {
	first := func(all []string) string {
		if len(all) == 0 {
			return ""
		}
		return all[0]
	}
	switch path {
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP":
		return first(ips), nil
	case "status.podIPs":
		return strings.Join(ips, ","), nil
	case "status.hostIP":
		return first(hostIPs), nil
	case "status.hostIPs":
		return strings.Join(hostIPs, ","), nil
	}
	return fieldpath.ExtractFieldPathAsString(pod, path)
}

// commandLine is what a container runs: its command, or the image's program
// with the image's leading arguments, then the container's arguments; $(NAME)
// is expanded.
func commandLine(c *corev1.Container, image Image, v *variables) []string {
	argv := slices.Clone(c.Command)
	if len(argv) == 0 {
		argv = append([]string{"/" + filepath.Base(image.Path)}, image.Args...)
	}
	argv = append(argv, c.Args...)
	mapping := expansion.MappingFuncFor(v.values)
	for i := range argv {
		argv[i] = expansion.Expand(argv[i], mapping)
	}
	return argv
}

// imageName is the name of an image without tag, digest and the registry's port.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	slash := strings.LastIndexByte(image, '/')
	if colon := strings.LastIndexByte(image, ':'); colon > slash {
		image = image[:colon]
	}
	return image
}

// findImage looks an image up by its full name, then by ever shorter ends of it.
func findImage(images map[string]Image, image string) (Image, error) {
	for name := imageName(image); name != ""; {
		if i, ok := images[name]; ok {
			return i, nil
		}
		_, rest, ok := strings.Cut(name, "/")
		if !ok {
			break
		}
		name = rest
	}
	return Image{}, fmt.Errorf("the lab has no image %s", strconv.Quote(image))
}

// lookPath finds a program along PATH as execvp would.
func lookPath(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	for _, e := range env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			for _, dir := range filepath.SplitList(path) {
				if file := filepath.Join(dir, program); isExecutable(file) {
					return file, nil
				}
			}
		}
	}
	return "", fmt.Errorf("%s: not found", program)
}

func isExecutable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
