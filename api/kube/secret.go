package kube

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// MembershipKeyField is the field of the membership Secret.
	MembershipKeyField = "key"
	// membershipKeySize makes the speakers use AES-256.
	membershipKeySize = 32
)

// EnsureMembershipSecret creates the Secret with which the speakers encrypt
// what they say to each other, unless it exists. Its field "key" holds 32
// random bytes as base64 text. It tells whether it made one.
func EnsureMembershipSecret(ctx context.Context, clients Clients, namespace, name string) (bool, error) {
	key := make([]byte, membershipKeySize)
	if _, err := rand.Read(key); err != nil {
		return false, fmt.Errorf("random key: %w", err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespace,
			Labels: map[string]string{"app.kubernetes.io/name": "baliza", "app.kubernetes.io/managed-by": FieldManager},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{MembershipKeyField: []byte(base64.StdEncoding.EncodeToString(key))},
	}
	_, err := clients.Kubernetes.CoreV1().Secrets(namespace).Create(ctx, secret, metav1.CreateOptions{FieldManager: FieldManager})
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsAlreadyExists(err):
		return false, nil
	}
	return false, fmt.Errorf("creating Secret %s/%s: %w", namespace, name, err)
}
