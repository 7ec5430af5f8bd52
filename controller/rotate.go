package main

import (
	"context"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/controller/rotation"
)

// Pauses between two looks at the membership Secret: while its key is rotated,
// and otherwise.
const (
	rotatingPause = 2 * time.Second
	settledPause  = 15 * time.Second
)

// stoppedLongAgo is after how long a speaker that ended as planned need not be
// waited for: should its container come back, the kubelet has brought it the
// Secret as it is by then.
const stoppedLongAgo = 5 * time.Minute

// rotator replaces the membership key when the operator asks for it.
type rotator struct {
	clients         kube.Clients
	namespace, name string
	wanted          string
	speakers        func() []*v1beta1.Speaker
	log             *slog.Logger
	now             func() time.Time

	waiting string // last said
}

// run works until the context ends.
func (r *rotator) run(ctx context.Context) {
	for {
		pause := settledPause
		if underWay, err := r.step(ctx); err != nil {
			pause = rotatingPause
			if ctx.Err() == nil {
				r.log.Warn("the membership key is not rotated", "error", err)
			}
		} else if underWay {
			pause = rotatingPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// step takes the next step, if it may be taken; it reports whether there are
// more to come.
func (r *rotator) step(ctx context.Context) (bool, error) {
	keys, err := kube.ReadMembershipKeys(ctx, r.clients, r.namespace, r.name)
	if apierrors.IsNotFound(err) {
		// Deleted, perhaps to have a new key. Speakers that start wait for it.
		return false, ensureSecret(ctx, r.clients, r.namespace, r.name, r.wanted, r.log)
	}
	if err != nil {
		return false, err
	}
	before := rotation.Secret{Keys: keys.Keys, Rotation: keys.Rotation, Incoming: keys.Incoming}
	next, changed, waiting, err := rotation.Next(before, r.reports(), r.wanted, kube.NewMembershipKey)
	if err != nil {
		return false, err
	}
	if waiting != "" && waiting != r.waiting {
		r.log.Info("rotating the membership key: waiting", "for", waiting)
	}
	r.waiting = waiting
	if !changed {
		return waiting != "", nil
	}
	keys.Keys, keys.Rotation, keys.Incoming = next.Keys, next.Rotation, next.Incoming
	if err := kube.WriteMembershipKeys(ctx, r.clients, r.namespace, r.name, keys); err != nil {
		return false, err
	}
	r.log.Info("rotating the membership key: took a step", "rotation", next.Rotation, "keys", len(next.Keys), "over", next.Incoming == "")
	return next.Incoming != "", nil
}

// reports are those of the speakers that run, or may come back any moment.
func (r *rotator) reports() []rotation.Speaker {
	var all []rotation.Speaker
	for _, s := range r.speakers() {
		ready := meta.FindStatusCondition(s.Status.Conditions, v1beta1.ConditionReady)
		if ready != nil && ready.Reason == string(v1beta1.ReasonStopped) && r.now().Sub(ready.LastTransitionTime.Time) > stoppedLongAgo {
			continue
		}
		all = append(all, rotation.Speaker{Node: s.Name, Keys: s.Status.MembershipKeys})
	}
	return all
}
