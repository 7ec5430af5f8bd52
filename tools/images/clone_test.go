package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// These tests run the scripts behind "make images", "make release" and "make
// publish" in clones of the working tree as it is, with this machine's platform
// alone; oci_test.go has the index of several.

// version is one that was never released.
const version = "v9.8.7"

// helm is where make left it, beside images-tool and what else the scripts run.
// Without it nothing can be shown.
func helm(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("BIN")
	if !filepath.IsAbs(folder) {
		t.Fatalf(`BIN=%q must be where make leaves programs: run "make test-unit"`, folder)
	}
	return filepath.Join(folder, "helm")
}

// clone is a repository with one commit, always the same: the files of the working
// tree that git knows or would add, and notes on the version.
type clone struct {
	dir string
	env []string
}

func newClone(t *testing.T) *clone {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	c := &clone{dir: filepath.Join(t.TempDir(), "clone")}
	c.env = append(os.Environ(), "BIN="+filepath.Dir(helm(t)), "PLATFORMS=native", "VERSION=", "SOURCE_DATE_EPOCH=",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=n", "GIT_AUTHOR_EMAIL=n@example.org", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z",
		"GIT_COMMITTER_NAME=n", "GIT_COMMITTER_EMAIL=n@example.org", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c.mustRun(t, "bash", "-c", `set -euo pipefail
		git -C "$0" ls-files -z --cached --others --exclude-standard |
			(cd "$0" && while IFS= read -r -d "" file; do [[ ! -e $file ]] || printf '%s\0' "$file"; done) |
			tar -c -C "$0" --null -T - | tar -x`, root)
	changelog := filepath.Join(c.dir, "CHANGELOG.md")
	text, err := os.ReadFile(changelog)
	if err != nil {
		t.Fatal(err)
	}
	notes := "## [9.8.7] - 2026-01-02\n\n### Added\n\n- A thing ([docs](docs/layer2.md#a-thing), [RFC](https://example.org/)).\n\n## [Unreleased]"
	changed := strings.Replace(string(text), "## [Unreleased]", notes, 1)
	if changed == string(text) {
		t.Fatal("CHANGELOG.md has no ## [Unreleased]")
	}
	if err := os.WriteFile(changelog, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	c.mustRun(t, "git", "init", "--quiet")
	c.mustRun(t, "git", "add", "--all")
	c.mustRun(t, "git", "commit", "--quiet", "--message", "all")
	return c
}

func (c *clone) run(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir, command.Env = c.dir, c.env
	output, err := command.CombinedOutput()
	return string(output), err
}

func (c *clone) mustRun(t *testing.T, program string, args ...string) string {
	t.Helper()
	output, err := c.run(t, program, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, output)
	}
	return output
}

// mustFail runs a script that must say why it does nothing.
func (c *clone) mustFail(t *testing.T, want, program string, args ...string) {
	t.Helper()
	output, err := c.run(t, program, args...)
	if err == nil || !strings.Contains(output, want) {
		t.Errorf("%s %q: %v, want an error with %q:\n%s", program, args, err, want, output)
	}
}

func (c *clone) path(elements ...string) string {
	return filepath.Join(append([]string{c.dir}, elements...)...)
}

func (c *clone) read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(c.path(file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (c *clone) write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(c.path(file), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
