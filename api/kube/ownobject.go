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

	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Times of an ownObject.
const (
	writeEvery = time.Second
	// writeRest is the pause after a write, at least, as a multiple of what the
	// write took: one of thousands of addresses is work for the API server.
	writeRest    = 10
	writeTimeout = 5 * time.Second
	longestPause = 30 * time.Second
	lastTimeout  = 2 * time.Second
)

// ownObject is an object that has the name of this node, and of which this node's
// speaker alone writes the status.
type ownObject struct {
	kind, name string
	log        *slog.Logger
	patch      func(context.Context, []byte, metav1.PatchOptions) error
	create     func(context.Context, metav1.ObjectMeta, metav1.CreateOptions) error
	wake       chan struct{}
	written    []byte // nil if it is not known what is there; of run, and then of last

	mu      sync.Mutex
	status  any
	nodeUID types.UID
	again   bool
}

func newOwnObject(
	kind, name string, log *slog.Logger,
	patch func(context.Context, []byte, metav1.PatchOptions) error, create func(context.Context, metav1.ObjectMeta, metav1.CreateOptions) error,
) *ownObject {
	return &ownObject{kind: kind, name: name, log: log, patch: patch, create: create, wake: make(chan struct{}, 1)}
}

func (w *ownObject) report(status any, nodeUID types.UID) {
	w.mu.Lock()
	w.status, w.nodeUID = status, nodeUID
	w.mu.Unlock()
	w.poke()
}

func (w *ownObject) lost() {
	w.mu.Lock()
	w.again = true
	w.mu.Unlock()
	w.poke()
}

func (w *ownObject) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *ownObject) run(ctx context.Context) {
	pause := writeEvery
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		body, uid, err := w.take()
		if body == nil && err == nil {
			continue
		}
		began := time.Now()
		w.written = nil // a write that is cut off may have been made
		if err == nil {
			err = w.write(ctx, body, uid)
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("cannot write an object of this node", "kind", w.kind, "error", err, "retry_in", pause)
			w.poke()
			sleep(ctx, pause)
			pause = min(2*pause, longestPause)
			continue
		}
		if err == nil {
			w.written, pause = body, writeEvery
		}
		sleep(ctx, min(max(writeEvery, writeRest*time.Since(began)), longestPause))
	}
}

// last writes a status once, at once, if it is not there.
func (w *ownObject) last(ctx context.Context, status any) {
	w.mu.Lock()
	w.status = status
	w.mu.Unlock()
	body, _, err := w.take()
	if err == nil && body != nil {
		err = w.apply(ctx, body)
	}
	if err != nil {
		w.log.Warn("final status update failed", "kind", w.kind, "error", err)
	}
}

// take returns the body of the patch, or nil if it is what was written.
func (w *ownObject) take() ([]byte, types.UID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == nil {
		return nil, "", nil
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": v1beta1.SchemeGroupVersion.String(), "kind": w.kind, "metadata": map[string]string{"name": w.name}, "status": w.status,
	})
	if err != nil {
		return nil, "", fmt.Errorf("encoding %s %s: %w", w.kind, w.name, err)
	}
	if bytes.Equal(body, w.written) && !w.again {
		return nil, "", nil
	}
	w.again = false
	return body, w.nodeUID, nil
}

func (w *ownObject) write(ctx context.Context, body []byte, nodeUID types.UID) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := w.apply(ctx, body)
	if !apierrors.IsNotFound(err) {
		return err
	}
	if nodeUID == "" {
		return fmt.Errorf("creating %s %s: there is no node of that name", w.kind, w.name) // nobody would ever delete it
	}
	err = w.create(ctx, metav1.ObjectMeta{
		Name: w.name, OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: w.name, UID: nodeUID}},
	}, metav1.CreateOptions{FieldManager: SpeakerFieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating %s %s: %w", w.kind, w.name, err)
	}
	return w.apply(ctx, body)
}

func (w *ownObject) apply(ctx context.Context, body []byte) error {
	force := true // nobody else has a say in it
	if err := w.patch(ctx, body, metav1.PatchOptions{FieldManager: SpeakerFieldManager, Force: &force}); err != nil {
		return fmt.Errorf("writing status of %s %s: %w", w.kind, w.name, err)
	}
	return nil
}
