package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	balizaclient "github.com/baliza-lb/baliza/api/client/clientset/versioned/typed/api/v1beta1"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// SpeakerFieldManager under which a speaker writes.
const SpeakerFieldManager = "baliza-speaker"

// Times of the SpeakerWriter.
const (
	writeEvery = time.Second
	// writeRest is the pause after a write, at least, as a multiple of what the
	// write took: one of thousands of addresses is work for the API server.
	writeRest    = 10
	writeTimeout = 5 * time.Second
	longestPause = 30 * time.Second
	lastTimeout  = 2 * time.Second
)

// SpeakerWriter writes one speaker's report to its own Speaker object: when it
// changed, about once a second at most, or less often if the API server takes
// long, and again for as long as it fails. It
// never keeps the reporter waiting.
type SpeakerWriter struct {
	client balizaclient.SpeakerInterface
	log    *slog.Logger
	name   string
	wake   chan struct{}

	mu      sync.Mutex
	status  *v1beta1.SpeakerStatus
	nodeUID types.UID
	again   bool
}

// NewSpeakerWriter makes the writer of the Speaker of a node.
func NewSpeakerWriter(clients Clients, node string, log *slog.Logger) *SpeakerWriter {
	return &SpeakerWriter{client: clients.Baliza.BalizaV1beta1().Speakers(), log: log, name: node, wake: make(chan struct{}, 1)}
}

// Report takes over a status. nodeUID is that of the node, which then owns the
// Speaker, so that it goes with it: the object is not made while it is empty.
func (w *SpeakerWriter) Report(status v1beta1.SpeakerStatus, nodeUID types.UID) {
	w.mu.Lock()
	w.status, w.nodeUID = &status, nodeUID
	w.mu.Unlock()
	w.poke()
}

// Lost says that the object is not there, so that it is written even though
// the report has not changed.
func (w *SpeakerWriter) Lost() {
	w.mu.Lock()
	w.again = true
	w.mu.Unlock()
	w.poke()
}

func (w *SpeakerWriter) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run writes until the context ends.
func (w *SpeakerWriter) Run(ctx context.Context) {
	var written []byte
	pause := writeEvery
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		body, uid, err := w.take(written)
		if body == nil && err == nil {
			continue
		}
		began := time.Now()
		if err == nil {
			err = w.write(ctx, body, uid)
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("cannot write this node's Speaker", "error", err, "retry_in", pause)
			w.poke()
			sleep(ctx, pause)
			pause = min(2*pause, longestPause)
			written = nil
			continue
		}
		written, pause = body, writeEvery
		sleep(ctx, min(max(writeEvery, writeRest*time.Since(began)), longestPause))
	}
}

// Last writes a final status, once and at once; Run must have returned. It
// gives up after two seconds.
func (w *SpeakerWriter) Last(status v1beta1.SpeakerStatus) {
	w.mu.Lock()
	w.status, w.again = &status, true
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), lastTimeout)
	defer cancel()
	body, _, err := w.take(nil)
	if err == nil {
		err = w.apply(ctx, body)
	}
	if err != nil {
		w.log.Warn("final status update failed", "error", err)
	}
}

// take returns the body of the patch, or nil if it is what was written.
func (w *SpeakerWriter) take(written []byte) ([]byte, types.UID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == nil {
		return nil, "", nil
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": v1beta1.SchemeGroupVersion.String(), "kind": "Speaker", "metadata": map[string]string{"name": w.name}, "status": w.status,
	})
	if err != nil {
		return nil, "", fmt.Errorf("encoding Speaker %s: %w", w.name, err)
	}
	if bytes.Equal(body, written) && !w.again {
		return nil, "", nil
	}
	w.again = false
	return body, w.nodeUID, nil
}

func (w *SpeakerWriter) write(ctx context.Context, body []byte, nodeUID types.UID) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := w.apply(ctx, body)
	if !apierrors.IsNotFound(err) {
		return err
	}
	if nodeUID == "" {
		return fmt.Errorf("creating Speaker %s: there is no node of that name", w.name) // nobody would ever delete it
	}
	speaker := &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{
		Name: w.name, OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: w.name, UID: nodeUID}},
	}}
	_, err = w.client.Create(ctx, speaker, metav1.CreateOptions{FieldManager: SpeakerFieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating Speaker %s: %w", w.name, err)
	}
	return w.apply(ctx, body)
}

func (w *SpeakerWriter) apply(ctx context.Context, body []byte) error {
	force := true // nobody else has a say in it
	options := metav1.PatchOptions{FieldManager: SpeakerFieldManager, Force: &force}
	if _, err := w.client.Patch(ctx, w.name, types.ApplyPatchType, body, options, "status"); err != nil {
		return fmt.Errorf("writing status of Speaker %s: %w", w.name, err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
