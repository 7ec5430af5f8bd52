package cluster

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/baliza-lb/baliza/api/kube"
	"github.com/baliza-lb/baliza/api/v1beta1"
)

// Reporter is what is needed of kube.SpeakerWriter.
type Reporter interface {
	Report(status v1beta1.SpeakerStatus, nodeUID types.UID)
	Lost()
}

var _ Reporter = (*kube.SpeakerWriter)(nil)

// WithKeys adds the membership keys to what the speaker reports: the controller
// goes on with a rotation when all have taken a step.
type WithKeys struct {
	Reporter
	// Keys are their fingerprints.
	Keys func() []string
}

// Report implements Reporter.
func (w WithKeys) Report(status v1beta1.SpeakerStatus, nodeUID types.UID) {
	status.MembershipKeys = w.Keys()
	w.Reporter.Report(status, nodeUID)
}
