// Command controller decides which Service of type LoadBalancer has which
// address and writes that into the Service. Several replicas may run: one of
// them, chosen by a Lease, writes; the others keep their caches warm.
//
// This package only wires: controller/ipam allocates,
// controller/reconcile runs the loop, api/kube talks to the API server.
package main
