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
	return map[string]string{}
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
