package text_test

import (
	"strings"
	"testing"

	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/cli/text"
)

// Colour is decoration: without it every word is the same.
func TestColourIsOnlyWhereItIsWanted(t *testing.T) {
	status := explain.Status{Overall: explain.Verdict{Message: "one speaker is dead"}}
	var plain, painted strings.Builder
	(&text.Printer{Out: &plain}).Status(&status)
	(&text.Printer{Out: &painted, Colour: true}).Status(&status)
	if strings.Contains(plain.String(), "\x1b") || !strings.Contains(painted.String(), "\x1b[31mWRONG\x1b[0m") {
		t.Errorf("%q\n%q", plain.String(), painted.String())
	}
	bare := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[1m", "", "\x1b[0m", "").Replace(painted.String())
	if bare != plain.String() {
		t.Errorf("%q\n%q", plain.String(), bare)
	}
}
