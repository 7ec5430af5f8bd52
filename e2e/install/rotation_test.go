package install

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

// The membership key is rotated by a value under a client's load: in the end
// the speakers have the new one alone, no address has moved, nothing is lost,
// and no speaker ever took another for dead.
func TestI03_The_membership_key_is_rotated_without_a_gap(t *testing.T) {
	ctx, s := begin(t, "helm")
	s.deploy(ctx, "install", s.chart(), lan)
	address := s.web(ctx, "web")
	s.answers(ctx, address)
	owner, err := s.WaitOwner(ctx, "c1", address)
	s.must(err)
	before := s.membershipKey(t)
	prober := s.Probe(ctx, "c1", netip.AddrPortFrom(address, 80), 20*time.Millisecond)

	s.deploy(ctx, "upgrade", s.chart(), "membership: {rotation: '2'}", "--reuse-values")
	s.must(lab.WaitFor(ctx, "the rotation to be over", func() (bool, error) {
		secret, err := s.Client.CoreV1().Secrets(cluster.Namespace).Get(ctx, "baliza-membership", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return secret.Annotations[v1beta1.AnnotationKeyRotation] == "2" && secret.Annotations[v1beta1.AnnotationIncomingKey] == "", nil
	}))
	report := prober.Stop()
	t.Logf("under load: %s", report)
	after := s.membershipKey(t)
	if after == before || len(strings.Fields(after)) != 1 {
		t.Errorf("the Secret holds %d keys, and the old one: %v", len(strings.Fields(after)), strings.Contains(after, before))
	}
	for _, a := range report.Failures {
		if !a.Connected {
			t.Errorf("a connection was not established: %v", a.Err)
		}
	}
	if now, err := s.WaitOwner(ctx, "c1", address); err != nil || now != owner && now == "" {
		t.Errorf("owned by %s, before by %s: %v", now, owner, err)
	}
	logs, err := s.Kubectl(ctx, "-n", cluster.Namespace, "logs", "-l", "app.kubernetes.io/component=speaker", "--tail=-1")
	s.must(err)
	if strings.Contains(logs, "speaker is gone") {
		t.Errorf("a speaker took another for dead:\n%s", logs)
	}
}
