// Package lab is a Kubernetes cluster in network namespaces on one Linux
// machine: a real control plane, real kube-proxies, a LAN with clients and a
// router, and nodes that start pods as plain processes.
//
// It is responsible for everything a test or a demonstration stands on: the
// isolation ([Enter], [Main]), the wires (network.go), the control plane, the
// node agents behind [PodRunner], the faults ([Lab.Cut], [Lab.Freeze],
// [Lab.Stop]) and the measuring instruments ([Lab.Probe], [Lab.Capture]). It
// knows nothing about load balancing.
//
// The process runs itself again as the first process of new namespaces. When
// that process ends, for whatever reason, the kernel removes all the rest:
// processes, links, mounts. Nothing is bridged to the host.
//
// Concurrency: a [Lab] may be used from many goroutines at once, except that
// [Lab.Close] must be the last call. Code that must run inside a host's network
// namespace goes through [Lab.Go] and never leaves a thread behind in it.
package lab
