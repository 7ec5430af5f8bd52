package kube

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Recorder sends events about Services to the API server, in the background
// and in order; when there are too many it drops some. It may be used from
// many goroutines.
type Recorder struct {
	broadcaster events.EventBroadcaster
	recorder    events.EventRecorderLogger
}

// NewRecorder makes a recorder whose events name the component.
func NewRecorder(ctx context.Context, clients Clients, component string) (*Recorder, error) {
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: clients.Kubernetes.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return nil, fmt.Errorf("recording events: %w", err)
	}
	return &Recorder{broadcaster, broadcaster.NewRecorder(scheme.Scheme, component)}, nil
}

// noteLimit is what the API server accepts as an event's note.
const noteLimit = 1024

// ServiceEvent records that something was done about a Service.
func (r *Recorder) ServiceEvent(svc *corev1.Service, warning bool, reason v1beta1.Reason, action, note string) {
	kind := corev1.EventTypeNormal
	if warning {
		kind = corev1.EventTypeWarning
	}
	if len(note) > noteLimit {
		note = strings.ToValidUTF8(note[:noteLimit-len("...")], "") + "..."
	}
	about := &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Service", Namespace: svc.Namespace, Name: svc.Name,
		UID: svc.UID, ResourceVersion: svc.ResourceVersion,
	}
	r.recorder.Eventf(about, nil, kind, string(reason), action, "%s", note)
}

// Close stops the recorder.
func (r *Recorder) Close() { r.broadcaster.Shutdown() }
