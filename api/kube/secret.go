package kube

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

const (
	// MembershipKeyField is the field of the membership Secret: keys in base64,
	// one on each line.
	MembershipKeyField = "key"
	// membershipKeySize makes the speakers use AES-256.
	membershipKeySize = 32
)

// NewMembershipKey makes a key: 32 random bytes as base64 text.
func NewMembershipKey() (string, error) {
	key := make([]byte, membershipKeySize)
	if _, err := rand.Read(key); err != nil {
		return "", fmt.Errorf("random key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(key), nil
}

// EnsureMembershipSecret creates the Secret with which the speakers encrypt
// what they say to each other, unless it exists; it is then of this rotation.
// It reports whether it made one.
func EnsureMembershipSecret(ctx context.Context, clients Clients, namespace, name, rotation string) (bool, error) {
	key, err := NewMembershipKey()
	if err != nil {
		return false, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespace,
			Labels: map[string]string{"app.kubernetes.io/name": "baliza", "app.kubernetes.io/managed-by": FieldManager},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{MembershipKeyField: []byte(key)},
	}
	if rotation != "" {
		secret.Annotations = map[string]string{v1beta1.AnnotationKeyRotation: rotation}
	}
	_, err = clients.Kubernetes.CoreV1().Secrets(namespace).Create(ctx, secret, metav1.CreateOptions{FieldManager: FieldManager})
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsAlreadyExists(err):
		return false, nil
	}
	return false, fmt.Errorf("creating Secret %s/%s: %w", namespace, name, err)
}

// MembershipKeys are the keys in the membership Secret, and how far a rotation
// of them is.
type MembershipKeys struct {
	// Keys in base64; the first encrypts.
	Keys []string
	// Rotation and Incoming are the annotations of those names.
	Rotation, Incoming string

	version string
}

// ReadMembershipKeys reads them.
func ReadMembershipKeys(ctx context.Context, clients Clients, namespace, name string) (MembershipKeys, error) {
	secret, err := clients.Kubernetes.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return MembershipKeys{}, fmt.Errorf("reading Secret %s/%s: %w", namespace, name, err)
	}
	return MembershipKeys{
		Keys:     strings.Fields(string(secret.Data[MembershipKeyField])),
		Rotation: secret.Annotations[v1beta1.AnnotationKeyRotation],
		Incoming: secret.Annotations[v1beta1.AnnotationIncomingKey],
		version:  secret.ResourceVersion,
	}, nil
}

// WriteMembershipKeys writes what was read and then changed. It fails when
// somebody else wrote meanwhile.
func WriteMembershipKeys(ctx context.Context, clients Clients, namespace, name string, keys MembershipKeys) error {
	annotations := map[string]any{v1beta1.AnnotationKeyRotation: keys.Rotation, v1beta1.AnnotationIncomingKey: nil}
	if keys.Incoming != "" {
		annotations[v1beta1.AnnotationIncomingKey] = keys.Incoming
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": keys.version, "annotations": annotations},
		"data":     map[string][]byte{MembershipKeyField: []byte(strings.Join(keys.Keys, "\n"))},
	})
	if err != nil {
		return err
	}
	options := metav1.PatchOptions{FieldManager: FieldManager}
	if _, err := clients.Kubernetes.CoreV1().Secrets(namespace).Patch(ctx, name, types.MergePatchType, body, options); err != nil {
		return fmt.Errorf("writing Secret %s/%s: %w", namespace, name, err)
	}
	return nil
}
