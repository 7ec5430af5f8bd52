// Package lab is a Kubernetes cluster in network namespaces on one Linux
// machine, all parts real: control plane, kubelets, containerd, runc, CNI
// plugins, kube-proxies and cluster DNS on a LAN with clients and a router.
//
// It is responsible for everything a test or a demonstration stands on: the
// isolation ([Enter], [Main]), the wires (network.go), the control plane, the
// nodes (node.go from outside, nodeinit.go from inside), the faults ([Lab.Cut],
// [Lab.Freeze], [Lab.PowerOff], [Lab.OneWay], …) and the measuring instruments
// ([Lab.Probe], [Lab.Capture]). It knows nothing about load balancing.
//
// The process runs itself again as the first process of new namespaces, and as
// the first process of each node's. When it ends, for whatever reason, the
// kernel removes all the rest: processes, links, mounts. A process beside it
// removes the control groups, which the kernel leaves. Nothing is bridged to the
// host.
//
// Concurrency: a [Lab] may be used from many goroutines at once, except that
// [Lab.Close] must be the last call. Code that must run inside a host's network
// namespace goes through [Lab.Go] and never leaves a thread behind in it.
package lab
