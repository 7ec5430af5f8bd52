package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	balizafake "github.com/baliza-lb/baliza/api/client/clientset/versioned/fake"
	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// applies teaches the fake, which has no schema of ours, what server-side apply
// of a whole status comes to. before is called for each write of a Speaker, one at a
// time, and may refuse it.
func applies(objects *balizafake.Clientset, before func() error) {
	objects.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch, resource := action.(clienttesting.PatchAction), action.GetResource()
		if resource.Resource == "speakers" {
			if err := before(); err != nil {
				return true, nil, err
			}
		}
		object, err := objects.Tracker().Get(resource, "", patch.GetName())
		if err != nil {
			return true, nil, err
		}
		object = object.DeepCopyObject()
		switch o := object.(type) {
		case *v1beta1.Speaker:
			o.Status = v1beta1.SpeakerStatus{}
		case *v1beta1.Member:
			o.Status = v1beta1.MemberStatus{}
		}
		if err := json.Unmarshal(patch.GetPatch(), object); err != nil {
			return true, nil, err
		}
		return true, object, objects.Tracker().Update(resource, object, "")
	})
}

func TestSpeakerWriterCreatesThenWritesOnlyChanges(t *testing.T) {
	objects := balizafake.NewSimpleClientset()
	var patches int
	applies(objects, func() error { patches++; return nil })
	w := kube.NewSpeakerWriter(kube.Clients{Baliza: objects}, "n1", slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	status := v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946", HeldCount: 1, Held: []v1beta1.HeldAddress{{Address: "192.0.2.10"}}}
	w.Report(status, "uid-1")
	read := func() *v1beta1.Speaker {
		s, err := objects.BalizaV1beta1().Speakers().Get(ctx, "n1", metav1.GetOptions{})
		if err != nil {
			return &v1beta1.Speaker{}
		}
		return s
	}
	eventually(t, "written", func() bool { return read().Status.MemberAddress == "192.0.2.11:7946" })
	if owners := read().OwnerReferences; len(owners) != 1 || owners[0].Kind != "Node" || owners[0].UID != "uid-1" {
		t.Errorf("owners: %+v", owners)
	}
	for range 10 {
		w.Report(status, "uid-1")
	}
	status.HeldCount, status.Held = 0, nil
	w.Report(status, "uid-1")
	eventually(t, "the second report", func() bool { return read().Status.HeldCount == 0 && len(read().Status.Held) == 0 })
	cancel()
	<-done
	if patches > 3 { // the one that found nothing, the first, the second
		t.Errorf("%d writes for two different reports", patches)
	}
}

func TestSpeakerWriterRetriesUntilItSucceeds(t *testing.T) {
	objects := balizafake.NewSimpleClientset(&v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	refusals := 2
	applies(objects, func() error {
		refusals--
		if refusals >= 0 {
			return errors.New("the API server is away")
		}
		return nil
	})
	w := kube.NewSpeakerWriter(kube.Clients{Baliza: objects}, "n1", slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx := t.Context()
	go w.Run(ctx)
	w.Report(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946"}, "")
	eventually(t, "written at last", func() bool {
		s, err := objects.BalizaV1beta1().Speakers().Get(ctx, "n1", metav1.GetOptions{})
		return err == nil && s.Status.MemberAddress != ""
	})
}

// A dead node's Speaker must not outlive the node: without an owner nobody
// would delete it.
func TestSpeakerWriterMakesNoObjectThatBelongsToNoNode(t *testing.T) {
	objects := balizafake.NewSimpleClientset()
	applies(objects, func() error { return nil })
	w := kube.NewSpeakerWriter(kube.Clients{Baliza: objects}, "n1", slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx := t.Context()
	go w.Run(ctx)
	w.Report(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946"}, "")
	time.Sleep(100 * time.Millisecond)
	speakers := objects.BalizaV1beta1().Speakers()
	if _, err := speakers.Get(ctx, "n1", metav1.GetOptions{}); err == nil {
		t.Error("an object without an owner was made")
	}
	w.Report(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946"}, "uid-1")
	eventually(t, "made once the node is known", func() bool {
		s, err := speakers.Get(ctx, "n1", metav1.GetOptions{})
		return err == nil && len(s.OwnerReferences) == 1 && s.OwnerReferences[0].UID == "uid-1"
	})
}

// What was reported a moment ago does not keep the last words waiting.
func TestSpeakerWritersLastWordsAreWrittenAtOnce(t *testing.T) {
	objects := balizafake.NewSimpleClientset(&v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	applies(objects, func() error { return nil })
	w := kube.NewSpeakerWriter(kube.Clients{Baliza: objects}, "n1", slog.New(slog.NewTextHandler(t.Output(), nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	w.Report(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946", Held: []v1beta1.HeldAddress{{Address: "192.0.2.10"}}}, "uid-1")
	read := func() v1beta1.SpeakerStatus {
		s, err := objects.BalizaV1beta1().Speakers().Get(t.Context(), "n1", metav1.GetOptions{})
		if err != nil {
			return v1beta1.SpeakerStatus{}
		}
		return s.Status
	}
	eventually(t, "written", func() bool { return len(read().Held) == 1 })
	cancel()
	<-done
	w.Last(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946"})
	if last := read(); len(last.Held) > 0 || last.MemberAddress == "" {
		t.Errorf("it says %+v", last)
	}
}

// Finding 13 of layer 2: an address that moves changes the Speakers of two nodes,
// which no other speaker watches, and no Member, which all do.
func TestDefect7_AnAddressThatMovesIsNotWrittenToTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		objects := balizafake.NewSimpleClientset()
		speakers, members := 0, 0
		applies(objects, func() error { speakers++; return nil })
		objects.PrependReactor("patch", "members", func(clienttesting.Action) (bool, runtime.Object, error) {
			members++
			return false, nil, nil
		})
		w := kube.NewSpeakerWriter(kube.Clients{Baliza: objects}, "n1", slog.New(slog.NewTextHandler(t.Output(), nil)))
		go w.Run(t.Context())
		report := func(status v1beta1.SpeakerStatus) {
			w.Report(status, "uid-1")
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		read := func() *v1beta1.Member {
			m, err := objects.BalizaV1beta1().Members().Get(t.Context(), "n1", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		status := v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946", LocalAddresses: []string{"192.0.2.99"}}
		report(status)
		m := read()
		if len(m.OwnerReferences) != 1 || m.OwnerReferences[0].UID != "uid-1" || m.Status.MemberAddress != "192.0.2.11:7946" || len(m.Status.LocalAddresses) != 1 {
			t.Errorf("the Member is %+v", m)
		}
		speakers, members = 0, 0
		for i := range 3 {
			status.HeldCount = int32(i)
			status.Held = append(status.Held, v1beta1.HeldAddress{Address: fmt.Sprintf("192.0.2.%d", i)})
			report(status)
		}
		if speakers != 3 || members != 0 {
			t.Errorf("three moves are %d writes of the Speaker and %d of the Member", speakers, members)
		}
		gone := v1beta1.UnreachableSpeaker{Name: "n2", Since: metav1.Unix(1000, 0)}
		status.Unreachable, status.ConfirmedAlive = []v1beta1.UnreachableSpeaker{gone}, []v1beta1.UnreachableSpeaker{gone}
		report(status)
		if m := read(); len(m.Status.Unreachable) != 1 || len(m.Status.ConfirmedAlive) != 1 || speakers != 4 || members != 1 {
			t.Errorf("after %d and %d writes the Member says %+v", speakers, members, m.Status)
		}
		w.Lost()
		time.Sleep(time.Minute)
		synctest.Wait()
		if speakers != 5 || members != 2 {
			t.Errorf("of what is lost the Speaker was written %d times and the Member %d times", speakers-4, members-1)
		}
	})
}

// What a speaker that has stopped said of the others holds no more.
func TestSpeakerWritersLastWordsAreInTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		objects := balizafake.NewSimpleClientset()
		applies(objects, func() error { return nil })
		w := kube.NewSpeakerWriter(kube.Clients{Baliza: objects}, "n1", slog.New(slog.NewTextHandler(t.Output(), nil)))
		ctx, cancel := context.WithCancel(t.Context())
		go w.Run(ctx)
		w.Report(v1beta1.SpeakerStatus{
			MemberAddress: "192.0.2.11:7946", Unreachable: []v1beta1.UnreachableSpeaker{{Name: "n2", Since: metav1.Unix(1000, 0)}},
		}, "uid-1")
		synctest.Wait()
		cancel()
		synctest.Wait()
		w.Last(v1beta1.SpeakerStatus{MemberAddress: "192.0.2.11:7946"})
		m, err := objects.BalizaV1beta1().Members().Get(t.Context(), "n1", metav1.GetOptions{})
		if err != nil || m.Status.MemberAddress == "" || len(m.Status.Unreachable) > 0 {
			t.Errorf("the Member says %+v, %v", m, err)
		}
	})
}
