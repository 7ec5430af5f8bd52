package baliza_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// matches returns what the pattern's group finds in a file, without duplicates.
func matches(t *testing.T, file, pattern string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		found = append(found, match[1])
	}
	if len(found) == 0 {
		t.Fatalf("%s has nothing like %s", file, pattern)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestEveryReasonIsDocumented(t *testing.T) {
	documented := matches(t, "docs/concepts.md", "\\| `([A-Z][A-Za-z]+)` \\|")
	for _, reason := range matches(t, "api/v1beta1/names.go", `Reason = "(\w+)"`) {
		if !slices.Contains(documented, reason) {
			t.Errorf("reason %s is not in a table of docs/concepts.md", reason)
		}
	}
}

func TestEveryCauseOfAMoveIsDocumented(t *testing.T) {
	documented := matches(t, "docs/kubectl-baliza.md", "`([A-Z][A-Za-z]+)`")
	for _, cause := range matches(t, "api/v1beta1/names.go", `MoveCause = "(\w+)"`) {
		if !slices.Contains(documented, cause) {
			t.Errorf("cause %s is not in docs/kubectl-baliza.md", cause)
		}
	}
}

func TestEveryFlagIsDocumented(t *testing.T) {
	for _, file := range []string{"controller/main.go", "speaker/main.go", "config/daemon/flags.go"} {
		for _, flag := range matches(t, file, `\.\w+Var\(&[\w.]+, "([a-z-]+)"`) {
			if !slices.Contains(matches(t, "docs/operations.md", "\\| `--([a-z-]+)` \\|"), flag) {
				t.Errorf("docs/operations.md has no line for --%s of %s", flag, file)
			}
		}
	}
}

func TestDocumentedCommandsExist(t *testing.T) {
	targets := matches(t, "Makefile", `(?m)^([a-z][a-z0-9-]*):`)
	for _, file := range []string{"README.md", "CONTRIBUTING.md"} {
		for _, target := range matches(t, file, "(?m)(?:`|^    )(?:KEEP=1 )?make ([a-z][a-z0-9-]*)") {
			if !slices.Contains(targets, target) {
				t.Errorf("%s: make %s does not exist", file, target)
			}
		}
	}
}

func TestDocumentedRouterConfigurationsAreTheLabs(t *testing.T) {
	page, err := os.ReadFile("docs/bgp.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"e2e/cluster/frr.conf", "e2e/cluster/frr-unnumbered.conf", "e2e/cluster/bird.conf", "e2e/cluster/bird-unnumbered.conf"} {
		configuration, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "```\n"+string(configuration)+"```\n") {
			t.Errorf("docs/bgp.md does not show %s as it is", file)
		}
	}
}

// The output that documents show is that of the tests (K01).
func TestDocumentedOutputIsTheTests(t *testing.T) {
	goldens, err := filepath.Glob("cli/command/testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"docs/kubectl-baliza.md", "docs/checks.md", "docs/troubleshooting.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		shown := regexp.MustCompile("(?s)```\n(\\$ kubectl baliza.*?)```").FindAllStringSubmatch(string(text), -1)
		if len(shown) == 0 {
			t.Fatalf("%s shows no output", page)
		}
		for _, block := range shown {
			known := slices.ContainsFunc(goldens, func(file string) bool {
				text, err := os.ReadFile(file)
				return err == nil && string(text) == block[1]
			})
			if !known {
				command, _, _ := strings.Cut(block[1], "\n")
				t.Errorf("%s: the output of %q is none of cli/command/testdata", page, command)
			}
		}
	}
}

// Each field of the kinds about BGP stands in an example, but for those that
// are refused: they stand where the page says so.
func TestEveryFieldOfBGPIsDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/bgp.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples strings.Builder
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		examples.WriteString(block[1])
	}
	_, unsupported, _ := strings.Cut(string(page), "## Limitations")
	for _, file := range []string{"bgppeer", "bgpadvertisement", "bfdprofile", "community"} {
		for _, field := range matches(t, "api/v1beta1/"+file+"_types.go", `json:"([a-zA-Z0-9]+),omitempty"`) {
			if slices.Contains([]string{"metadata", "spec", "status", "observedGeneration", "conditions"}, field) {
				continue
			}
			example := regexp.MustCompile(`\b` + field + `:`).MatchString(examples.String())
			if !example && !strings.Contains(unsupported, "`"+field+"`") {
				t.Errorf("docs/bgp.md has no example of %s of %s", field, file)
			}
		}
	}
}
