package sim

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// expectedToFail are the worlds in which the promise is broken today, and why.
// One that passes fails the test: it has to be taken off this list.
func expectedToFail() map[string]string {
	return map[string]string{
		"R01a-management-cable":                   "heartbeats use one interface, and what the LAN says is not looked at",
		"R01b-T05-member-port-blocked-everywhere": "the same",
		"R01c-member-port-blocked-inbound-on-one": "nobody reads of a beat whom its sender does not hear",
		"R02-T04-node-changes-its-address":        "the member address is not compared with the interfaces",
		"R03-deaf-node":                           "an interface that receives nothing counts as usable",
		"R04-flood-of-the-member-port":            "drops of a socket are not seen, and silence means death",
		"R05a-owner-that-cannot-know":             "an owner that does not claim is never passed over",
		"R05b-sharer-that-cannot-know":            "the same with clients divided",
		"R05c-sockets-fail":                       "the same",
		"R05d-owner-in-conflict":                  "the same",
		"R06-drain-that-only-one-sees":            "the old owner stops though nobody has claimed",
		"R08-stale-view-outvotes-the-ledger":      "a better claim does not bind whose plan differs",
		"R09a-two-forged-packets":                 "an address in use is given up to whoever insists",
		"R09b-mistyped-host":                      "the same",
		"R09c-one-packet-after-a-take-over":       "the same",
		"R10-T03-pool-has-nodes-addresses":        "a speaker's MAC is never a conflict",
		"R10b-T20-kernels-answer":                 "the same",
		"R11-isolated-pair-and-a-restart":         "who is not heard directly is not alive, and claims are not relayed",
		"R12-streams-blocked":                     "claims need a stream, and nothing says that it is blocked",
		"R13-a-death-among-many":                  "each death makes every survivor's claims a new version",
		"R15-each-forged-packet-a-pass":           "sightings of known MACs make a pass",
		"R16-key-replaced-in-one-step":            "keys that left the file are dropped at once",
		"R17-probes-are-paced":                    "first-use probes are not paced, and are repeated by every pass",
		"R18-clock-that-went-backwards":           "a lower incarnation is ignored for a minute, and is not told",
		"R19-recorded-packets":                    "a minute after a death an earlier incarnation is believed",
		"R20-rolling-update":                      "nothing goes back to the last node of a rolling update",
		"T15-announced-before-it-can-forward":     "nobody asks whether the node's proxy has its rules",
	}
}

// Each file of testdata/worlds is a world with its judge's questions. Those named
// R are the findings of an adversarial review, those named T reports of operators,
// those named L the promises.
func TestWorlds(t *testing.T) {
	files, err := filepath.Glob("testdata/worlds/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no worlds: %v", err)
	}
	known := expectedToFail()
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		why, fails := known[name]
		delete(known, name)
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = RunScript(string(text))
			switch {
			case err != nil && !fails:
				t.Error(err)
			case err != nil:
				t.Logf("fails, as is known: %s\n%v", why, err)
			case fails:
				t.Errorf("it passes, and is expected to fail: %s", why)
			}
		})
	}
	for name := range known {
		t.Errorf("%s is expected to fail and does not exist", name)
	}
}

var update = flag.Bool("update", false, "write the golden files")

// Scripts that show how it goes: what they print is compared with what they say.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			after, err := RunScript(string(before))
			if err != nil {
				t.Error(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(after), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if after != string(before) {
				t.Errorf("it ends otherwise; got:\n%s", after)
			}
		})
	}
}
