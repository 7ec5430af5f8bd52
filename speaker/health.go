package main

import (
	"errors"
	"sync/atomic"

	"github.com/baliza-lb/baliza/config/daemon"
)

// readiness is what /readyz asks for; it is read by other goroutines.
type readiness struct {
	settled  atomic.Bool
	problems atomic.Pointer[string]
}

func (s *speaker) addChecks(health *daemon.Health) {
	health.Live("loop", s.watchdog.Check)
	health.Ready("caches", func() error {
		if !s.cluster.Synced() {
			return errors.New("the cluster's objects have not been read yet")
		}
		return nil
	})
	health.Ready("membership", func() error {
		if !s.ready.settled.Load() {
			return errors.New("still looking for the other speakers")
		}
		return nil
	})
	health.Ready("sockets", func() error {
		if text := s.ready.problems.Load(); text != nil && *text != "" {
			return errors.New(*text)
		}
		return nil
	})
}
