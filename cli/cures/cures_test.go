package cures_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/cures"
)

// Every reason has a cure, or says that there is nothing to be cured (K01).
func TestEveryReasonHasACure(t *testing.T) {
	source, err := os.ReadFile("../../api/v1beta1/names.go")
	if err != nil {
		t.Fatal(err)
	}
	constants := regexp.MustCompile(`Reason = "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(constants) < 40 {
		t.Fatalf("names.go has %d reasons: did the pattern change?", len(constants))
	}
	for _, constant := range constants {
		cure, known := cures.For(v1beta1.Reason(constant[1]))
		switch {
		case !known:
			t.Errorf("reason %s has no cure", constant[1])
		case cure.Text == "" && !cure.Well:
			t.Errorf("reason %s is trouble, and the cure says nothing", constant[1])
		case cure.Text != "" && !strings.HasSuffix(cure.Text, "."):
			t.Errorf("the cure for %s is no sentence: %q", constant[1], cure.Text)
		}
	}
}

func TestWhatIsNoReasonHasNoCure(t *testing.T) {
	if cure, known := cures.For("Nonsense"); known {
		t.Errorf("a cure for nonsense: %+v", cure)
	}
}
