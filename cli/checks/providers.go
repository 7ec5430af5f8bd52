package checks

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// provider is another program that gives Services addresses.
type provider struct {
	name string
	// classless says that it serves Services that name no class, classes which else.
	classless bool
	classes   []string
	// unsure says why that is not known.
	unsure string
}

// otherProviders looks who else serves Services, and which.
func (in *Input) otherProviders() Result {
	if r, unread := in.unread("daemonsets", "pods", "nodes", "customresourcedefinitions"); unread {
		return r
	}
	classless, classes := in.Cluster.Serves()
	var clashes, unsure []Finding
	var others []string
	for _, p := range in.providers() {
		shared := slices.DeleteFunc(slices.Clone(p.classes), func(c string) bool { return !slices.Contains(classes, c) })
		switch {
		case p.unsure != "":
			unsure = append(unsure, Finding{Object: p.name, Message: p.unsure})
		case p.classless && classless:
			clashes = append(clashes, Finding{Object: p.name, Message: "it serves Services without a class, and so does Baliza"})
		case len(shared) > 0:
			clashes = append(clashes, Finding{Object: p.name, Message: "it serves the class " + strings.Join(shared, ", ") + ", and so does Baliza"})
		default:
			others = append(others, p.name+" ("+p.serves()+")")
		}
	}
	switch {
	case len(clashes) > 0:
		return Result{State: Failed, Message: "the same Services are served by two providers", Findings: append(clashes, unsure...)}
	case len(unsure) > 0:
		return Result{State: Warning, Message: "there is another provider, which may serve the same Services", Findings: unsure}
	case len(others) > 0:
		return passed("%s serves other Services", strings.Join(others, ", "))
	}
	return passed("none of MetalLB, kube-vip, ServiceLB, Cilium, PureLB, OpenELB is seen")
}

func (p *provider) serves() string {
	switch {
	case len(p.classes) > 0:
		return "class " + strings.Join(p.classes, ", ")
	case p.classless:
		return "Services without a class"
	}
	return "none"
}

// providers are those that run.
func (in *Input) providers() []provider {
	var all []provider
	seen := map[string]bool{}
	note := func(p *provider) {
		if p != nil && !seen[p.name] {
			seen[p.name] = true
			all = append(all, *p)
		}
	}
	for _, set := range in.DaemonSets {
		note(in.providerOf(set))
	}
	for _, pod := range in.SystemPods {
		note(kubeVIP(&pod.Spec))
	}
	if !seen["ServiceLB"] {
		note(in.serviceLB())
	}
	return all
}

// providerOf recognises a DaemonSet by the images that it runs.
func (in *Input) providerOf(set *appsv1.DaemonSet) *provider {
	if _, is := set.Labels["svccontroller.k3s.cattle.io/svcname"]; is {
		return &provider{name: "ServiceLB", classless: true}
	}
	pod := &set.Spec.Template.Spec
	for i := range pod.Containers {
		c := &pod.Containers[i]
		switch image := c.Image; {
		case strings.Contains(image, "metallb/speaker"), strings.Contains(image, "metallb-speaker"):
			p := &provider{name: "MetalLB", classless: true}
			if class := flagOf(c, "lb-class"); class != "" {
				p.classless, p.classes = false, []string{class}
			}
			return p
		case strings.Contains(image, "purelb/lbnodeagent"):
			return &provider{name: "PureLB", unsure: "it serves the class purelb.io/purelb and, unless told otherwise, Services without one"}
		case strings.Contains(image, "openelb"):
			return &provider{name: "OpenELB", unsure: "it serves Services that have its annotation, and others where an Eip of it is the default"}
		case strings.Contains(image, "cilium/cilium:"), strings.Contains(image, "cilium/cilium@"):
			return in.cilium()
		}
	}
	return kubeVIP(pod)
}

// cilium gives addresses where it has a pool of them.
func (in *Input) cilium() *provider {
	classes := []string{"io.cilium/l2-announcer", "io.cilium/bgp-control-plane"}
	if in.CiliumPools == 0 {
		return &provider{name: "Cilium", classes: classes}
	}
	return &provider{
		name: "Cilium", unsure: fmt.Sprintf("it has %s, and serves Services without a class from it, unless defaultLBServiceIPAM is none",
			count(in.CiliumPools, "CiliumLoadBalancerIPPool")),
	}
}

// kubeVIP serves Services where its environment says so; else it is there for the
// control plane alone.
func kubeVIP(pod *corev1.PodSpec) *provider {
	for i := range pod.Containers {
		c := &pod.Containers[i]
		if !strings.Contains(c.Image, "kube-vip/kube-vip:") && !strings.Contains(c.Image, "kube-vip/kube-vip@") ||
			environment(c, "svc_enable") != "true" {
			continue
		}
		p := &provider{name: "kube-vip", classless: environment(c, "lb_class_only") != "true", classes: []string{"kube-vip.io/kube-vip-class"}}
		if class := environment(c, "lb_class_name"); class != "" {
			p.classes = []string{class}
		}
		return p
	}
	return nil
}

// serviceLB is a part of k3s, and has no DaemonSet before there is a Service.
func (in *Input) serviceLB() *provider {
	isK3s := false
	for _, node := range in.Objects.Nodes {
		if !strings.Contains(node.Status.NodeInfo.KubeletVersion, "+k3s") {
			continue
		}
		isK3s = true
		if args := node.Annotations["k3s.io/node-args"]; strings.Contains(args, "servicelb") {
			return nil // it can be named there by --disable alone
		}
	}
	if !isK3s {
		return nil
	}
	return &provider{name: "ServiceLB", unsure: "no node of this k3s says that it was started with --disable=servicelb"}
}

func flagOf(c *corev1.Container, name string) string {
	for i, arg := range c.Args {
		if arg == "--"+name && i+1 < len(c.Args) {
			return c.Args[i+1]
		}
		if value, is := strings.CutPrefix(arg, "--"+name+"="); is {
			return value
		}
	}
	return ""
}

func environment(c *corev1.Container, name string) string {
	for _, env := range c.Env {
		if env.Name == name {
			return env.Value
		}
	}
	return ""
}
