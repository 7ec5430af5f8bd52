package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// SpeakerFieldManager under which a speaker writes.
const SpeakerFieldManager = "baliza-speaker"

// SpeakerWriter writes one speaker's report to its own Speaker object, and what of it
// is for the other speakers to its own Member: each when it changed, about once a
// second at most, or less often if the API server takes long, and again for as long as
// it fails. It never keeps the reporter waiting.
//
// What is for the others stands in both. People, kubectl-baliza and the controller
// read one object of a node, and the controller judges a report by who misses whom, as
// of one moment; the Member is what every node is sent, and no address that moves
// changes it.
type SpeakerWriter struct{ speaker, member *ownObject }

// NewSpeakerWriter makes the writer of the Speaker and the Member of a node.
func NewSpeakerWriter(clients Clients, node string, log *slog.Logger) *SpeakerWriter {
	ours := clients.Baliza.BalizaV1beta1()
	return &SpeakerWriter{
		speaker: newOwnObject("Speaker", node, log, func(ctx context.Context, body []byte, o metav1.PatchOptions) error {
			_, err := ours.Speakers().Patch(ctx, node, types.ApplyPatchType, body, o, "status")
			return err
		}, func(ctx context.Context, meta metav1.ObjectMeta, o metav1.CreateOptions) error {
			_, err := ours.Speakers().Create(ctx, &v1beta1.Speaker{ObjectMeta: meta}, o)
			return err
		}),
		member: newOwnObject("Member", node, log, func(ctx context.Context, body []byte, o metav1.PatchOptions) error {
			_, err := ours.Members().Patch(ctx, node, types.ApplyPatchType, body, o, "status")
			return err
		}, func(ctx context.Context, meta metav1.ObjectMeta, o metav1.CreateOptions) error {
			_, err := ours.Members().Create(ctx, &v1beta1.Member{ObjectMeta: meta}, o)
			return err
		}),
	}
}

// onlyGeneration of a Speaker and of a Member: neither has a spec that could change.
const onlyGeneration = 1

// memberOf is what of a report is for the other speakers.
func memberOf(s *v1beta1.SpeakerStatus) v1beta1.MemberStatus {
	return v1beta1.MemberStatus{
		ObservedGeneration: onlyGeneration, MemberAddress: s.MemberAddress,
		LocalAddresses: s.LocalAddresses, Unreachable: s.Unreachable, ConfirmedAlive: s.ConfirmedAlive,
	}
}

// Report takes over a status. nodeUID is that of the node, which then owns the
// objects, so that they go with it: none is made while it is empty.
func (w *SpeakerWriter) Report(status v1beta1.SpeakerStatus, nodeUID types.UID) {
	status.ObservedGeneration = onlyGeneration
	w.member.report(memberOf(&status), nodeUID)
	w.speaker.report(status, nodeUID)
}

// Lost says that one of the objects is not there, so that they are written even
// though the report has not changed.
func (w *SpeakerWriter) Lost() {
	w.member.lost()
	w.speaker.lost()
}

// Run writes until the context ends.
func (w *SpeakerWriter) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { w.member.run(ctx) })
	both.Go(func() { w.speaker.run(ctx) })
	both.Wait()
}

// Last writes a final status, once and at once; Run must have returned. It
// gives up after two seconds.
func (w *SpeakerWriter) Last(status v1beta1.SpeakerStatus) {
	ctx, cancel := context.WithTimeout(context.Background(), lastTimeout)
	defer cancel()
	status.ObservedGeneration = onlyGeneration
	w.speaker.last(ctx, status)
	w.member.last(ctx, memberOf(&status))
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
