package kube

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Election times. The leader gives up 3 s before another may take over.
const (
	leaseDuration = 10 * time.Second
	renewDeadline = 7 * time.Second
	retryPeriod   = time.Second
)

// ErrLeadershipLost says that another replica may lead from now on: the
// process must write nothing more.
var ErrLeadershipLost = errors.New("leadership lost")

// Election makes one of several replicas the leader, by a Lease.
type Election struct {
	clients         Clients
	namespace, name string
	identity        string
	elector         atomic.Pointer[leaderelection.LeaderElector]
}

// NewElection prepares an election by the Lease namespace/name. identity tells
// the replicas apart, and one life of a replica from the next.
func NewElection(clients Clients, namespace, name, identity string) *Election {
	return &Election{clients: clients, namespace: namespace, name: name, identity: identity}
}

// Run waits to become the leader, then calls lead with a context that ends
// with the leadership. It returns nil when ctx ends, ErrLeadershipLost when
// the Lease could not be renewed, or the error of lead. The Lease is given up
// only after lead has returned.
func (e *Election) Run(ctx context.Context, lead func(context.Context) error) error {
	electing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	done := make(chan error, 1)
	config := leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: e.namespace, Name: e.name},
			Client:     e.clients.Kubernetes.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: e.identity},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true, Name: e.name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				merged, cancel := context.WithCancel(leading)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				done <- lead(merged)
				stop() // only now may the Lease go to another
			},
			OnStoppedLeading: func() {},
		},
	}
	elector, err := leaderelection.NewLeaderElector(config)
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	e.elector.Store(elector)
	// Before leadership, the end of ctx ends the waiting; afterwards it ends
	// lead, and that the rest.
	defer context.AfterFunc(ctx, func() {
		if !elector.IsLeader() {
			stop()
		}
	})()
	elector.Run(electing)
	e.elector.Store(nil)
	return e.outcome(ctx, done)
}

func (e *Election) outcome(ctx context.Context, done <-chan error) error {
	var err error
	select {
	case err = <-done:
	default:
	}
	if err == nil && ctx.Err() == nil {
		return ErrLeadershipLost
	}
	return err
}

// Leading reports whether this replica may write: it holds the Lease and renewed
// it in time. A process that was paused sees at once that it may not.
func (e *Election) Leading() bool {
	elector := e.elector.Load()
	return elector != nil && elector.IsLeader() && elector.Check(renewDeadline-leaseDuration) == nil
}

// Identity is that of this replica.
func (e *Election) Identity() string { return e.identity }

// Leader is the identity of the replica that leads, as far as this one has seen; empty
// where it has not.
func (e *Election) Leader() string {
	elector := e.elector.Load()
	if elector == nil {
		return ""
	}
	return elector.GetLeader()
}
