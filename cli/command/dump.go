package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/bundle"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/cli/text"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/config/daemon"
)

// podsAtOnce are pods that are asked at a time for logs and metrics.
const podsAtOnce = 8

func (o *options) dump() *cobra.Command {
	name := ""
	cmd := &cobra.Command{
		Use: "dump [-f FILE]", Short: "An archive for a bug report: objects, logs, metrics, moves; without passwords", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := o.gatherDump(cmd.Context())
			if err != nil {
				return err
			}
			folder := "baliza-dump-" + o.env.Now().UTC().Format("20060102T150405Z")
			if name == "" {
				name = folder + ".tar.gz"
			}
			var archive bytes.Buffer
			if err := b.Write(&archive, folder, o.env.Now()); err != nil {
				return err
			}
			if name == "-" {
				_, err = o.env.Out.Write(archive.Bytes())
				return err
			}
			if err := writeNew(name, archive.Bytes()); err != nil {
				return err
			}
			for _, lack := range b.Lacks() {
				fmt.Fprintf(o.env.Err, "not there: %s\n", lack)
			}
			fmt.Fprintf(o.env.Out, "%s\nRead it before you send it: names, labels and addresses are as they are.\n", name)
			return nil
		},
	}
	cmd.Flags().StringVarP(&name, "filename", "f", "", "the archive, which must not exist; - for standard output (default baliza-dump-TIME.tar.gz)")
	return cmd
}

// writeNew writes a file that nobody else can read, and overwrites none.
func writeNew(name string, data []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// gatherDump reads everything. What cannot be read is noted in it.
func (o *options) gatherDump(ctx context.Context) (*bundle.Bundle, error) {
	clients, err := o.connect()
	if err != nil {
		return nil, err
	}
	inventory, err := kube.ReadInventory(ctx, clients, "")
	if err != nil {
		return nil, err
	}
	endpoints, errEndpoints := kube.ReadAllEndpoints(ctx, clients)
	endpoints = ofServices(endpoints, inventory.Services)
	cluster := explain.New(objectsOf(inventory), o.env.Now())
	cluster.SetEndpointSlices(endpoints)

	var passwords []string
	for _, p := range inventory.BGP.Peers {
		passwords = append(passwords, p.Spec.Password)
	}
	b := bundle.New(passwords...)
	for _, unread := range inventory.Unread {
		b.Missing(unread.Kind, errors.New(unread.Why))
	}
	if errEndpoints != nil {
		b.Missing("endpointslices", errEndpoints)
	}
	err = errors.Join(addObjects(b, inventory, endpoints), o.addSummary(b, cluster))
	if err != nil {
		return nil, err
	}
	remembered, why := remember(ctx, clients, cluster, netip.Addr{})
	history := cluster.History(netip.Addr{}, remembered)
	history.BriefWhy = why
	if err := b.Value("moves.yaml", &history); err != nil {
		return nil, err
	}
	return b, addPods(ctx, clients, cluster.Namespace(), b)
}

// ofServices are the EndpointSlices of Services.
func ofServices(all []*discoveryv1.EndpointSlice, services []*corev1.Service) []*discoveryv1.EndpointSlice {
	known := map[string]bool{}
	for _, svc := range services {
		known[config.ServiceKey(svc)] = true
	}
	return slices.DeleteFunc(all, func(s *discoveryv1.EndpointSlice) bool {
		return !known[s.Namespace+"/"+s.Labels[discoveryv1.LabelServiceName]]
	})
}

func addObjects(b *bundle.Bundle, i *kube.Inventory, endpoints []*discoveryv1.EndpointSlice) error {
	ours := v1beta1.SchemeGroupVersion.String()
	return errors.Join(
		bundle.Objects(b, "objects/ipaddresspools.yaml", ours, "IPAddressPool", i.Pools),
		bundle.Objects(b, "objects/l2advertisements.yaml", ours, "L2Advertisement", i.L2Advertisements),
		bundle.Objects(b, "objects/bgpadvertisements.yaml", ours, "BGPAdvertisement", i.BGP.Advertisements),
		bundle.Objects(b, "objects/bgppeers.yaml", ours, "BGPPeer", i.BGP.Peers),
		bundle.Objects(b, "objects/bfdprofiles.yaml", ours, "BFDProfile", i.BGP.BFDProfiles),
		bundle.Objects(b, "objects/communities.yaml", ours, "Community", i.BGP.Communities),
		bundle.Objects(b, "objects/speakers.yaml", ours, "Speaker", i.Speakers),
		bundle.Objects(b, "objects/services.yaml", "v1", "Service", i.Services),
		bundle.Objects(b, "objects/endpointslices.yaml", "discovery.k8s.io/v1", "EndpointSlice", endpoints),
		bundle.Objects(b, "objects/nodes.yaml", "v1", "Node", i.Nodes),
		bundle.Objects(b, "objects/namespaces.yaml", "v1", "Namespace", i.Namespaces),
		bundle.Objects(b, "objects/deployments.yaml", "apps/v1", "Deployment", i.Deployments),
		bundle.Objects(b, "objects/daemonsets.yaml", "apps/v1", "DaemonSet", i.DaemonSets),
		bundle.Objects(b, "objects/leases.yaml", "coordination.k8s.io/v1", "Lease", i.Leases),
	)
}

// addSummary adds what kubectl baliza would say.
func (o *options) addSummary(b *bundle.Bundle, cluster *explain.Cluster) error {
	status := cluster.Status()
	var screen bytes.Buffer
	(&text.Printer{Out: &screen, Wide: true, Now: o.env.Now()}).Status(&status)
	b.Text("status.txt", screen.Bytes())
	return errors.Join(b.Value("status.yaml", &status), b.Value("versions.yaml", cluster.Versions(daemon.Version())))
}

// addPods adds Baliza's own pods, their logs and their metrics.
func addPods(ctx context.Context, clients kube.Clients, namespace string, b *bundle.Bundle) error {
	pods, err := kube.ReadPods(ctx, clients, namespace)
	if err != nil {
		b.Missing("pods, their logs and their metrics", err)
		return nil
	}
	slices.SortFunc(pods, func(x, y *corev1.Pod) int { return strings.Compare(x.Name, y.Name) })
	if err := bundle.Objects(b, "objects/pods.yaml", "v1", "Pod", pods); err != nil {
		return err
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, podsAtOnce)
	add := func(name string, read func() ([]byte, error)) {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			data, err := read()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				b.Missing(name, err)
				return
			}
			b.Text(name, data)
		})
	}
	may, errMay := kube.MayForward(ctx, clients, namespace)
	if errMay == nil && !may {
		b.Missing("metrics", fmt.Errorf("you may not create pods/portforward in %s", namespace))
	}
	for _, pod := range pods {
		for _, of := range []struct {
			name string
			port uint16
		}{{"controller", 7472}, {"speaker", 7473}} {
			c := container(pod, of.name)
			if c == nil {
				continue
			}
			add("logs/"+pod.Name+".log", func() ([]byte, error) { return kube.ReadLog(ctx, clients, pod, of.name, false) })
			if restarted(pod, of.name) {
				add("logs/"+pod.Name+".previous.log", func() ([]byte, error) { return kube.ReadLog(ctx, clients, pod, of.name, true) })
			}
			if may && clients.DialPod != nil {
				add("metrics/"+pod.Name+".txt", func() ([]byte, error) {
					ctx, cancel := context.WithTimeout(ctx, askTimeout)
					defer cancel()
					return kube.GetFromPod(ctx, clients.DialPod, namespace, pod.Name, portOf(c, "admin-address", of.port), "/metrics")
				})
			}
		}
	}
	group.Wait()
	return nil
}

// restarted reports whether there was a process before a container's present one.
func restarted(pod *corev1.Pod, name string) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == name && s.RestartCount > 0 })
}
