package reconcile

import (
	"sync"

	"github.com/baliza-lb/baliza/api/kube"
)

// inbox collects what changed until the loop takes it. It is closed, and
// drops everything, until the loop runs. It is safe for concurrent use.
type inbox struct {
	mu     sync.Mutex
	opened bool
	news   news
	wake   chan struct{}
}

// news is what changed since the last pass.
type news struct {
	services, namespaces map[string]bool
	config, speakers     bool
}

func newNews() news { return news{services: make(map[string]bool), namespaces: make(map[string]bool)} }

func newInbox() *inbox { return &inbox{news: newNews(), wake: make(chan struct{}, 1)} }

func (b *inbox) open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened = true
}

func (b *inbox) add(kind kube.Kind, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.opened {
		return
	}
	switch kind {
	case kube.KindService:
		b.news.services[key] = true
	case kube.KindNamespace:
		b.news.namespaces[key] = true
	case kube.KindNode:
		return // nothing of the loop follows from it
	case kube.KindConfig, kube.KindInUse:
		b.news.config = true
	case kube.KindSpeaker:
		b.news.config, b.news.speakers = true, true // they say what nodes have, too
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *inbox) take() news {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.news
	b.news = newNews()
	return taken
}
