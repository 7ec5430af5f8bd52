package kube

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	acv1beta1 "github.com/baliza-lb/baliza/api/client/applyconfiguration/api/v1beta1"
	custominformers "github.com/baliza-lb/baliza/api/client/informers/externalversions/api/v1beta1"
	balizalisters "github.com/baliza-lb/baliza/api/client/listers/api/v1beta1"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// bgpListers are the caches of the operator's objects about BGP.
type bgpListers struct {
	peers          balizalisters.BGPPeerLister
	advertisements balizalisters.BGPAdvertisementLister
	profiles       balizalisters.BFDProfileLister
	communities    balizalisters.CommunityLister
}

// watchBGP prepares them.
func watchBGP(custom custominformers.Interface, watch func(cache.SharedIndexInformer)) bgpListers {
	watch(custom.BGPPeers().Informer())
	watch(custom.BGPAdvertisements().Informer())
	watch(custom.BFDProfiles().Informer())
	watch(custom.Communities().Informer())
	return bgpListers{
		custom.BGPPeers().Lister(), custom.BGPAdvertisements().Lister(), custom.BFDProfiles().Lister(), custom.Communities().Lister(),
	}
}

// stripBGP copies what a speaker needs of an object about BGP; it returns nil
// for any other.
func stripBGP(object any) any {
	switch o := object.(type) {
	case *v1beta1.BGPPeer:
		return &v1beta1.BGPPeer{ObjectMeta: identity(o.ObjectMeta), Spec: o.Spec}
	case *v1beta1.BGPAdvertisement:
		return &v1beta1.BGPAdvertisement{ObjectMeta: identity(o.ObjectMeta), Spec: o.Spec}
	case *v1beta1.BFDProfile:
		return &v1beta1.BFDProfile{ObjectMeta: identity(o.ObjectMeta), Spec: o.Spec}
	case *v1beta1.Community:
		return &v1beta1.Community{ObjectMeta: identity(o.ObjectMeta), Spec: o.Spec}
	}
	return nil
}

// BGPObjects are the operator's objects about BGP, in any order.
type BGPObjects struct {
	Peers          []*v1beta1.BGPPeer
	Advertisements []*v1beta1.BGPAdvertisement
	BFDProfiles    []*v1beta1.BFDProfile
	Communities    []*v1beta1.Community
}

func (l *bgpListers) objects() BGPObjects {
	return BGPObjects{all(l.peers.List), all(l.advertisements.List), all(l.profiles.List), all(l.communities.List)}
}

// BGP returns the cached objects about BGP.
func (v *SpeakerView) BGP() BGPObjects { return v.bgp.objects() }

// BGP returns the cached objects about BGP.
func (v *ControllerView) BGP() BGPObjects { return v.bgp.objects() }

// WatchPasswords makes the view keep the passwords of BGPPeers, which the
// controller puts into one Secret. It is called before Start.
func (v *SpeakerView) WatchPasswords(clients Clients, namespace string) error {
	factory := informers.NewSharedInformerFactoryWithOptions(clients.Kubernetes, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			// To RBAC a list of one name is a request for that name.
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, PasswordsSecret).String()
		}))
	informer := factory.Core().V1().Secrets().Informer()
	registration, err := informer.AddEventHandler(v.handler(func(any) { v.pending.Config = true }))
	if err != nil {
		return fmt.Errorf("watching Secret %s/%s: %w", namespace, PasswordsSecret, err)
	}
	v.passwords = informer.GetIndexer()
	v.factories = append(v.factories, factory)
	v.synced = append(v.synced, registration.HasSynced)
	return nil
}

// stripSecret keeps the password alone.
func stripSecret(object any) (any, error) {
	o, ok := object.(*corev1.Secret)
	if !ok {
		return object, nil
	}
	slim := &corev1.Secret{ObjectMeta: identity(o.ObjectMeta)}
	if password, ok := o.Data[corev1.BasicAuthPasswordKey]; ok {
		slim.Data = map[string][]byte{corev1.BasicAuthPasswordKey: password}
	}
	return slim, nil
}

// Password returns that of the Secret of that name, and whether there is one
// that the controller has brought.
func (v *SpeakerView) Password(name string) (string, bool) {
	if v.passwords == nil {
		return "", false
	}
	for _, object := range v.passwords.List() {
		if secret, ok := object.(*corev1.Secret); ok && secret.Name == PasswordsSecret {
			password := secret.Data[name]
			return string(password), len(password) > 0
		}
	}
	return "", false
}

// ApplyBGP writes what is said of an object about BGP, and of which generation of its
// spec.
func (s *ConfigStatus) ApplyBGP(ctx context.Context, object metav1.Object, observedGeneration int64, list []metav1.Condition) error {
	name, client := object.GetName(), s.client.BalizaV1beta1()
	var kind string
	var err error
	switch object.(type) {
	case *v1beta1.BGPPeer:
		kind = "BGPPeer"
		_, err = client.BGPPeers().ApplyStatus(ctx, acv1beta1.BGPPeer(name).WithStatus(
			acv1beta1.BGPPeerStatus().WithObservedGeneration(observedGeneration).WithConditions(conditions(list)...)), applied())
	case *v1beta1.BGPAdvertisement:
		kind = "BGPAdvertisement"
		_, err = client.BGPAdvertisements().ApplyStatus(ctx, acv1beta1.BGPAdvertisement(name).WithStatus(
			acv1beta1.BGPAdvertisementStatus().WithObservedGeneration(observedGeneration).WithConditions(conditions(list)...)), applied())
	case *v1beta1.BFDProfile:
		kind = "BFDProfile"
		_, err = client.BFDProfiles().ApplyStatus(ctx, acv1beta1.BFDProfile(name).WithStatus(
			acv1beta1.BFDProfileStatus().WithObservedGeneration(observedGeneration).WithConditions(conditions(list)...)), applied())
	case *v1beta1.Community:
		kind = "Community"
		_, err = client.Communities().ApplyStatus(ctx, acv1beta1.Community(name).WithStatus(
			acv1beta1.CommunityStatus().WithObservedGeneration(observedGeneration).WithConditions(conditions(list)...)), applied())
	default:
		err = errors.New("not an object about BGP")
	}
	if err != nil {
		return fmt.Errorf("writing the status of %s %s: %w", kind, name, err)
	}
	return nil
}
