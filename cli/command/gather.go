package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/config"
)

// gather reads what there is. A namespace restricts the Services; without one, and
// without the right to see those of all namespaces, it is the present one.
func (o *options) gather(ctx context.Context, namespace string) (kube.Clients, explain.Objects, error) {
	clients, err := o.connect()
	if err != nil {
		return clients, explain.Objects{}, err
	}
	objects, err := o.read(ctx, clients, namespace)
	return clients, objects, err
}

func (o *options) read(ctx context.Context, clients kube.Clients, namespace string) (explain.Objects, error) {
	inventory, err := kube.ReadInventory(ctx, clients, namespace)
	if err != nil {
		return explain.Objects{}, err
	}
	isServices := func(u kube.Unread) bool { return u.Kind == "services" && u.Forbidden }
	if namespace == "" && !o.allNamespaces && slices.ContainsFunc(inventory.Unread, isServices) {
		if namespace, err = o.namespace(); err != nil {
			return explain.Objects{}, err
		}
		if inventory, err = kube.ReadInventory(ctx, clients, namespace); err != nil {
			return explain.Objects{}, err
		}
	}
	objects := objectsOf(inventory)
	objects.Namespace = namespace
	return objects, nil
}

// namespace is the one that is named, or the present one of the kubeconfig.
func (o *options) namespace() (string, error) {
	if *o.flags.Namespace != "" {
		return *o.flags.Namespace, nil
	}
	if o.env.Connect != nil {
		return "default", nil
	}
	namespace, _, err := o.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	return namespace, nil
}

// restriction is the namespace that a list is about; empty is all.
func (o *options) restriction() string {
	if o.allNamespaces {
		return ""
	}
	return *o.flags.Namespace
}

func objectsOf(i *kube.Inventory) explain.Objects {
	objects := explain.Objects{
		Services: i.Services, Nodes: i.Nodes, Namespaces: i.Namespaces, Deployments: i.Deployments, DaemonSets: i.DaemonSets, Leases: i.Leases,
		Pools: i.Pools, L2Advertisements: i.L2Advertisements, BGP: config.BGPObjects(i.BGP), Speakers: i.Speakers,
	}
	for _, one := range i.InUse {
		objects.InUse = append(objects.InUse, config.InUse{Range: config.Prefixed(one.Prefix), By: one.By})
	}
	for _, one := range i.Unread {
		objects.Unread = append(objects.Unread, explain.Unread{Kind: one.Kind, Why: one.Why})
	}
	return objects
}

// addEndpoints adds the EndpointSlices of Services, by namespace/name.
func addEndpoints(ctx context.Context, clients kube.Clients, cluster *explain.Cluster, keys []string) error {
	services := make([]kube.NamespacedName, 0, len(keys))
	for _, key := range keys {
		namespace, name, _ := strings.Cut(key, "/")
		services = append(services, kube.NamespacedName{Namespace: namespace, Name: name})
	}
	found, err := kube.ReadEndpoints(ctx, clients, services)
	if err != nil {
		return err
	}
	cluster.SetEndpointSlices(found)
	return nil
}

// addAllEndpoints adds those of all Services.
func addAllEndpoints(ctx context.Context, clients kube.Clients, cluster *explain.Cluster) error {
	found, err := kube.ReadAllEndpoints(ctx, clients)
	if err != nil {
		return err
	}
	cluster.SetEndpointSlices(found)
	return nil
}

// gatherAll reads what there is, and the EndpointSlices of all Services at the same time.
// What is wrong with the latter counts only once all of the former could be read.
func (o *options) gatherAll(ctx context.Context, needs ...string) (*explain.Cluster, error) {
	clients, err := o.connect()
	if err != nil {
		return nil, err
	}
	var found []*discoveryv1.EndpointSlice
	var failed error
	var reading sync.WaitGroup
	reading.Go(func() { found, failed = kube.ReadAllEndpoints(ctx, clients) })
	objects, err := o.read(ctx, clients, "")
	reading.Wait()
	if err != nil {
		return nil, err
	}
	cluster := explain.New(objects, o.env.Now())
	if why := cluster.CannotRead(needs...); why != "" {
		return nil, errors.New(why)
	}
	cluster.SetEndpointSlices(found)
	return cluster, failed
}
