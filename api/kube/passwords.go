package kube

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	accorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// PasswordsSecret is the one Secret that speakers may read: the passwords of
// BGPPeers, each in a field with the name of the Secret that it comes from. The
// controller makes it of those Secrets, so that a node that was broken into
// reads those that BGP needs, and neither finds nor reads any other.
const PasswordsSecret = "baliza-bgp-passwords" //nolint:gosec // the name of a Secret

// passwordsPause lies between two looks at changes, and before a failed write
// is tried again.
const passwordsPause = 500 * time.Millisecond

// Passwords keeps the PasswordsSecret.
type Passwords struct {
	clients   Clients
	namespace string
	peers     func() BGPObjects
	log       *slog.Logger
	wake      chan struct{}
}

// NewPasswords prepares it. peers are the BGPPeers as they are at the moment.
func NewPasswords(clients Clients, namespace string, peers func() BGPObjects, log *slog.Logger) *Passwords {
	return &Passwords{clients: clients, namespace: namespace, peers: peers, log: log, wake: make(chan struct{}, 1)}
}

// Changed says that a BGPPeer may have changed. It never blocks.
func (p *Passwords) Changed() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run keeps the Secret as the BGPPeers and their Secrets say, until the context
// ends. A write that fails is tried again.
func (p *Passwords) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(p.clients.Kubernetes, 0, informers.WithNamespace(p.namespace),
		informers.WithTransform(stripSecret), informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("type", string(corev1.SecretTypeBasicAuth)).String()
		}))
	informer := factory.Core().V1().Secrets().Informer()
	changed := func(any) { p.Changed() }
	handler := cache.ResourceEventHandlerFuncs{AddFunc: changed, UpdateFunc: func(_, o any) { changed(o) }, DeleteFunc: changed}
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		return fmt.Errorf("watching Secrets in %s: %w", p.namespace, err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil
	}
	var written map[string][]byte // unknown at first
	for {
		wanted := p.wanted(informer.GetStore())
		if written == nil && len(wanted) == 0 {
			// Where no peer has a password there is no Secret, unless there was one.
			written, err = p.existing(ctx)
		}
		if err == nil && (written == nil || !maps.EqualFunc(wanted, written, bytes.Equal)) {
			if err = p.write(ctx, wanted); err == nil {
				written = wanted
			}
		}
		if err != nil && ctx.Err() == nil {
			p.log.Warn("the passwords of BGP peers are not brought to the speakers", "error", err)
			err = nil
			p.Changed()
		}
		if !p.rest(ctx) {
			return nil
		}
	}
}

// rest waits for a change, and then a moment for others to come with it; it
// reports whether to go on.
func (p *Passwords) rest(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(passwordsPause):
	}
	select {
	case <-ctx.Done():
		return false
	case <-p.wake:
		return true
	}
}

// wanted are the passwords of the Secrets that peers name.
func (p *Passwords) wanted(secrets cache.Store) map[string][]byte {
	wanted := map[string][]byte{}
	for _, peer := range p.peers().Peers {
		if peer.Spec.PasswordSecret == nil {
			continue
		}
		name := peer.Spec.PasswordSecret.Name
		object, found, err := secrets.GetByKey(p.namespace + "/" + name)
		if err != nil || !found {
			continue
		}
		if secret, ok := object.(*corev1.Secret); ok && len(secret.Data[corev1.BasicAuthPasswordKey]) > 0 {
			wanted[name] = secret.Data[corev1.BasicAuthPasswordKey]
		}
	}
	return wanted
}

// existing is what the Secret holds; nothing where there is none.
func (p *Passwords) existing(ctx context.Context) (map[string][]byte, error) {
	secret, err := p.clients.Kubernetes.CoreV1().Secrets(p.namespace).Get(ctx, PasswordsSecret, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return map[string][]byte{}, nil
	case err != nil:
		return nil, fmt.Errorf("reading Secret %s/%s: %w", p.namespace, PasswordsSecret, err)
	case secret.Data == nil:
		return map[string][]byte{}, nil
	}
	return secret.Data, nil
}

func (p *Passwords) write(ctx context.Context, data map[string][]byte) error {
	secret := accorev1.Secret(PasswordsSecret, p.namespace).WithType(corev1.SecretTypeOpaque).WithData(data).
		WithLabels(map[string]string{"app.kubernetes.io/name": "baliza", "app.kubernetes.io/managed-by": FieldManager})
	options := metav1.ApplyOptions{FieldManager: FieldManager, Force: true}
	if _, err := p.clients.Kubernetes.CoreV1().Secrets(p.namespace).Apply(ctx, secret, options); err != nil {
		return fmt.Errorf("applying Secret %s/%s: %w", p.namespace, PasswordsSecret, err)
	}
	return nil
}
