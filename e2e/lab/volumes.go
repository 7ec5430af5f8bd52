package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	authentication "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// volumeFile is one file of a volume.
type volumeFile struct {
	data []byte
	mode os.FileMode
}

// fillVolumes makes or refreshes the pod's volumes under dir, one folder each,
// and returns where each is. It fails when something they need is missing.
func (w *podWorker) fillVolumes(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	paths := map[string]string{}
	for _, v := range pod.Spec.Volumes {
		path := filepath.Join(w.dir, "volumes", v.Name)
		paths[v.Name] = path
		if v.HostPath != nil {
			paths[v.Name] = v.HostPath.Path
			continue
		}
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		if v.EmptyDir != nil {
			if err := os.Chmod(path, 0o777); err != nil {
				return nil, fmt.Errorf("volume %s: %w", v.Name, err)
			}
			continue
		}
		files, err := w.volumeFiles(ctx, pod, v)
		if err == nil {
			err = syncFiles(path, files, w.fsGroup())
		}
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
	}
	return paths, nil
}

func (w *podWorker) volumeFiles(ctx context.Context, pod *corev1.Pod, v corev1.Volume) (map[string]volumeFile, error) {
	var sources []corev1.VolumeProjection
	var mode *int32
	switch {
	case v.Secret != nil:
		mode = v.Secret.DefaultMode
		sources = []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{
			Items: v.Secret.Items, Optional: v.Secret.Optional,
			LocalObjectReference: corev1.LocalObjectReference{Name: v.Secret.SecretName},
		}}}
	case v.ConfigMap != nil:
		mode = v.ConfigMap.DefaultMode
		sources = []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{
			Items: v.ConfigMap.Items, Optional: v.ConfigMap.Optional,
			LocalObjectReference: v.ConfigMap.LocalObjectReference,
		}}}
	case v.DownwardAPI != nil:
		mode = v.DownwardAPI.DefaultMode
		sources = []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{Items: v.DownwardAPI.Items}}}
	case v.Projected != nil:
		mode, sources = v.Projected.DefaultMode, v.Projected.Sources
	default:
		return nil, errors.New("the lab does not know this kind of volume")
	}
	files := map[string]volumeFile{}
	for _, s := range sources {
		more, err := w.project(ctx, pod, s, fileMode(mode))
		if err != nil {
			return nil, err
		}
		maps.Copy(files, more)
	}
	return files, nil
}

func fileMode(mode *int32) os.FileMode {
	if mode == nil {
		return 0o644
	}
	return os.FileMode(*mode) & 0o777
}

func (w *podWorker) project(ctx context.Context, pod *corev1.Pod, s corev1.VolumeProjection, mode os.FileMode) (map[string]volumeFile, error) {
	switch {
	case s.Secret != nil:
		secret, err := w.refs.secret(ctx, s.Secret.Name)
		if err != nil {
			return nil, ignoreMissing(err, s.Secret.Optional)
		}
		return pick(secret.Data, s.Secret.Items, mode, s.Secret.Optional)
	case s.ConfigMap != nil:
		m, err := w.refs.configMap(ctx, s.ConfigMap.Name)
		if err != nil {
			return nil, ignoreMissing(err, s.ConfigMap.Optional)
		}
		data := maps.Clone(m.BinaryData)
		if data == nil {
			data = map[string][]byte{}
		}
		for k, v := range m.Data {
			data[k] = []byte(v)
		}
		return pick(data, s.ConfigMap.Items, mode, s.ConfigMap.Optional)
	case s.DownwardAPI != nil:
		files := map[string]volumeFile{}
		for _, item := range s.DownwardAPI.Items {
			if item.FieldRef == nil {
				return nil, fmt.Errorf("file %s: the lab knows only fields", item.Path)
			}
			value, err := podField(pod, item.FieldRef.FieldPath, w.ips(), w.hostIPs())
			if err != nil {
				return nil, fmt.Errorf("file %s: %w", item.Path, err)
			}
			files[item.Path] = volumeFile{[]byte(value), mode}
		}
		return files, nil
	case s.ServiceAccountToken != nil:
		token, err := w.token(ctx, pod, s.ServiceAccountToken)
		if err != nil {
			return nil, err
		}
		return map[string]volumeFile{s.ServiceAccountToken.Path: {[]byte(token), mode}}, nil
	}
	return nil, errors.New("the lab does not know this kind of projection")
}

// pick selects keys as files; without items every key becomes one.
func pick(data map[string][]byte, items []corev1.KeyToPath, mode os.FileMode, optional *bool) (map[string]volumeFile, error) {
	files := map[string]volumeFile{}
	if len(items) == 0 {
		for k, v := range data {
			files[k] = volumeFile{v, mode}
		}
		return files, nil
	}
	for _, item := range items {
		v, ok := data[item.Key]
		if !ok {
			if err := missingKey(false, item.Key, optional); err != nil {
				return nil, err
			}
			continue
		}
		m := mode
		if item.Mode != nil {
			m = fileMode(item.Mode)
		}
		files[item.Path] = volumeFile{v, m}
	}
	return files, nil
}

// token asks for a token bound to the pod, once per audience: the lab's tokens
// outlive the lab.
func (w *podWorker) token(ctx context.Context, pod *corev1.Pod, s *corev1.ServiceAccountTokenProjection) (string, error) {
	if t, ok := w.tokens[s.Audience]; ok {
		return t, nil
	}
	request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{
		ExpirationSeconds: new(int64(24 * 3600)),
		BoundObjectRef:    &authentication.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if s.Audience != "" {
		request.Spec.Audiences = []string{s.Audience}
	}
	got, err := w.agent.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of service account %s/%s: %w", pod.Namespace, pod.Spec.ServiceAccountName, err)
	}
	w.tokens[s.Audience] = got.Status.Token
	return got.Status.Token, nil
}

// syncFiles makes the folder hold exactly these files, each replaced at once,
// and touches only what changed.
func syncFiles(dir string, files map[string]volumeFile, group int) error {
	for name, f := range files {
		path := filepath.Join(dir, filepath.Clean("/"+name))
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, f.data) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		temporary := path + "~"
		if err := os.WriteFile(temporary, f.data, 0o600); err != nil {
			return err
		}
		mode := f.mode
		if group != 0 {
			mode |= 0o440
			if err := os.Chown(temporary, 0, group); err != nil {
				return err
			}
		}
		if err := errors.Join(os.Chmod(temporary, mode), os.Rename(temporary, path)); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if _, ok := files[name]; err == nil && !ok {
			return os.Remove(path)
		}
		return err
	})
}

// shimMounts are the container's volume mounts.
func shimMounts(c *corev1.Container, volumes map[string]string, expand func(string) string) ([]shimMount, error) {
	var mounts []shimMount
	for _, m := range c.VolumeMounts {
		source, ok := volumes[m.Name]
		if !ok {
			return nil, fmt.Errorf("container %s mounts %s, which is not a volume of its pod", c.Name, m.Name)
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expand(m.SubPathExpr)
		}
		if sub != "" {
			source = filepath.Join(source, filepath.Clean("/"+sub))
		}
		mounts = append(mounts, shimMount{Source: source, Target: m.MountPath, ReadOnly: m.ReadOnly})
	}
	return mounts, nil
}
