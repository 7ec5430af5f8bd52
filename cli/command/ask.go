package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/cli/text"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/model"
)

const (
	// askTimeout is how long a speaker has to answer. A probe takes some seconds.
	askTimeout = 8 * time.Second
	// mostAskers are asked one after the other, until one hears an answer.
	mostAskers = 3
	// asksAtOnce are speakers that are asked at a time for what they remember.
	asksAtOnce = 16
)

// speakers are the pods of speakers, by node, and the way to them.
type speakers struct {
	clients   kube.Clients
	namespace string
	pods      map[string]*corev1.Pod
}

// reach finds the speakers. The error says why they cannot be asked.
func reach(ctx context.Context, clients kube.Clients, namespace string) (*speakers, error) {
	s := &speakers{clients: clients, namespace: namespace, pods: map[string]*corev1.Pod{}}
	if clients.DialPod == nil {
		return nil, errors.New("there is no way to ports of pods")
	}
	if may, err := kube.MayForward(ctx, clients, namespace); err == nil && !may {
		return nil, fmt.Errorf("you may not create pods/portforward in %s", namespace)
	}
	pods, err := kube.ReadPods(ctx, clients, namespace)
	switch {
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("you may not list pods in %s", namespace)
	case err != nil:
		return nil, fmt.Errorf("reading pods: %w", err)
	}
	for _, pod := range pods {
		if container(pod, "speaker") != nil && pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			s.pods[pod.Spec.NodeName] = pod
		}
	}
	return s, nil
}

// container is the one of that name, or nil.
func container(pod *corev1.Pod, name string) *corev1.Container {
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &pod.Spec.Containers[i]
}

// portOf is the port of a flag whose value is an address and port; zero is none.
func portOf(c *corev1.Container, flag string, otherwise uint16) uint16 {
	for _, arg := range c.Args {
		value, is := strings.CutPrefix(arg, "--"+flag+"=")
		if !is {
			continue
		}
		_, port, err := net.SplitHostPort(value)
		number, parsed := strconv.ParseUint(port, 10, 16)
		if err != nil || parsed != nil {
			otherwise = 0
			continue
		}
		otherwise = uint16(number)
	}
	return otherwise
}

// get asks the speaker of a node.
func (s *speakers) get(ctx context.Context, node, path string, parameters url.Values, into any) error {
	pod := s.pods[node]
	if pod == nil {
		return fmt.Errorf("node %s has no running speaker", node)
	}
	port := portOf(container(pod, "speaker"), "inspect-address", model.InspectPort)
	if port == 0 {
		return fmt.Errorf("the speaker of node %s has no endpoint (--inspect-address)", node)
	}
	if len(parameters) > 0 {
		path += "?" + parameters.Encode()
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := kube.GetFromPod(ctx, s.clients.DialPod, s.namespace, pod.Name, port, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the speaker of node %s answers what cannot be read: %w", node, err)
	}
	return nil
}

// askWire has a speaker ask the network for addresses, and adds what it says.
func (o *options) askWire(ctx context.Context, clients kube.Clients, cluster *explain.Cluster, addresses []netip.Addr) {
	s, unreachable := reach(ctx, clients, cluster.Namespace())
	for _, a := range addresses {
		nodes, why := cluster.Askers(a)
		switch {
		case why != "":
			cluster.SetWire(a, explain.Wire{NotAsked: why})
		case unreachable != nil:
			cluster.SetWire(a, explain.Wire{NotAsked: unreachable.Error()})
		default:
			cluster.SetWire(a, s.probe(ctx, nodes, a, cluster.TCPPort(a)))
		}
	}
}

// probe asks one node after the other until one hears an answer: not each need be on
// the segment of the address.
func (s *speakers) probe(ctx context.Context, nodes []string, a netip.Addr, port uint16) (last explain.Wire) {
	parameters := url.Values{"address": {a.String()}}
	if port != 0 {
		parameters.Set("port", strconv.Itoa(int(port)))
	}
	for _, node := range nodes[:min(len(nodes), mostAskers)] {
		var found model.WireProbe
		switch err := s.get(ctx, node, "/probe", parameters, &found); {
		case err != nil && last.WireProbe == nil && last.NotAsked == "":
			last.NotAsked = err.Error()
		case err != nil:
		case len(found.Answers) > 0:
			return explain.Wire{WireProbe: &found}
		default:
			last = explain.Wire{WireProbe: &found}
		}
	}
	return last
}

func (o *options) history() *cobra.Command {
	tail := 0
	cmd := &cobra.Command{
		Use: "history [ADDRESS]", Short: "When addresses went from one node to another, and why",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: o.completeAddresses,
		RunE: func(cmd *cobra.Command, args []string) error {
			var a netip.Addr
			if len(args) > 0 {
				var err error
				if a, err = config.ParseAddress(args[0]); err != nil {
					return err
				}
			}
			clients, objects, err := o.gather(cmd.Context(), "")
			if err != nil {
				return err
			}
			cluster := explain.New(objects, o.env.Now())
			if why := cluster.CannotRead("speakers"); why != "" {
				return errors.New(why)
			}
			remembered, why := remember(cmd.Context(), clients, cluster, a)
			h := cluster.History(a, remembered)
			if h.BriefWhy = why; tail >= 0 {
				h.Moves = h.Moves[max(0, len(h.Moves)-tail):]
			}
			return o.show(&h, func(p *text.Printer) { p.History(&h) })
		},
	}
	cmd.Flags().IntVar(&tail, "tail", 50, "how many moves to show, the last ones; -1 is all") //nolint:mnd // about a screen
	return cmd
}

// remember asks all speakers what they remember, several at a time. Where some do not
// answer, one of the reasons is returned, too.
func remember(ctx context.Context, clients kube.Clients, cluster *explain.Cluster, a netip.Addr) (map[string][]v1beta1.AddressMove, string) {
	s, err := reach(ctx, clients, cluster.Namespace())
	if err != nil {
		return nil, err.Error()
	}
	parameters := url.Values{}
	if a.IsValid() {
		parameters.Set("address", a.String())
	}
	all, why := map[string][]v1beta1.AddressMove{}, map[string]string{}
	var mu sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, asksAtOnce)
	for _, node := range cluster.SpeakerNodes() {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			var moves []v1beta1.AddressMove
			err := s.get(ctx, node, "/moves", parameters, &moves)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				why[node] = err.Error()
				return
			}
			all[node] = moves
		})
	}
	group.Wait()
	for _, node := range cluster.SpeakerNodes() {
		if why[node] != "" {
			return all, why[node]
		}
	}
	return all, ""
}
