package main_test

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/baliza-lb/baliza/tools/images/oci"
)

// These tests run the scripts behind "make images", "make release" and "make
// publish" in clones of the working tree as it is, with this machine's platform
// alone; oci_test.go has the index of several.

// version is one that was never released.
const version = "v9.8.7"

// tool is where make left a program. Without it nothing can be shown.
func tool(t *testing.T, program string) string {
	t.Helper()
	folder := os.Getenv("BIN")
	if !filepath.IsAbs(folder) {
		t.Fatalf(`BIN=%q must be where make leaves programs: run "make test-unit"`, folder)
	}
	return filepath.Join(folder, program)
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
	c.env = append(os.Environ(), "BIN="+filepath.Dir(tool(t, "helm")), "PLATFORMS=native", "VERSION=", "SOURCE_DATE_EPOCH=",
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

func TestTwoReleasesOfOneCommitAreTheSame(t *testing.T) {
	first, second := newClone(t), newClone(t)
	first.mustRun(t, "hack/release.sh", version)
	// Another path, another time zone, another umask, other settings of Go, the
	// second of two runs.
	second.env = append(second.env, "TZ=Asia/Tokyo", "GOAMD64=v2", "GOFLAGS=-tags=other")
	second.mustRun(t, "mkdir", "dist")
	second.write(t, "dist/left", "of an earlier release")
	second.mustRun(t, "bash", "-c", "umask 077; hack/release.sh "+version)
	sums := first.read(t, "dist/SHA256SUMS")
	if again := second.read(t, "dist/SHA256SUMS"); again != sums {
		t.Errorf("two releases of one commit differ:\n%s\n%s", sums, again)
	}

	architecture := strings.TrimSpace(first.mustRun(t, "go", "env", "GOHOSTARCH"))
	want := []string{"RELEASE_NOTES.md", "SHA256SUMS", "baliza-9.8.7.tgz", "crds.yaml", "install.yaml"}
	for _, program := range []string{"controller", "speaker"} {
		want = append(want, "baliza-"+program+"-"+version+".tar", "baliza-"+program+"-linux-"+oci.PlatformDir(architecture)+".cdx.json")
	}
	slices.Sort(want)
	for _, c := range []*clone{first, second} {
		if got := strings.Fields(c.mustRun(t, "ls", "-A", "dist")); !slices.Equal(sorted(got), want) {
			t.Errorf("dist/ has %q, want %q", got, want)
		}
	}
	checkRelease(t, first, architecture)
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// checkRelease looks into the files of a release.
func checkRelease(t *testing.T, c *clone, architecture string) {
	t.Helper()
	c.mustRun(t, "bash", "-c", "cd dist && sha256sum --check --strict SHA256SUMS")
	const notes = "### Added\n\n- A thing ([docs](https://github.com/baliza-lb/baliza/blob/v9.8.7/docs/layer2.md#a-thing), [RFC](https://example.org/)).\n"
	if got := c.read(t, "dist/RELEASE_NOTES.md"); strings.TrimSpace(got) != strings.TrimSpace(notes) {
		t.Errorf("the notes are %q", got)
	}
	install := c.read(t, "dist/install.yaml")
	crds := strings.Count(c.read(t, "dist/crds.yaml"), "\nkind: CustomResourceDefinition\n")
	if want := strings.Count(install, "\nkind: CustomResourceDefinition\n"); crds != want || crds == 0 {
		t.Errorf("crds.yaml has %d CRDs, install.yaml %d", crds, want)
	}
	if strings.Contains(c.read(t, "dist/crds.yaml"), "\nkind: Deployment\n") {
		t.Error("crds.yaml has a Deployment")
	}
	if chart := c.mustRun(t, tool(t, "helm"), "show", "chart", "dist/baliza-9.8.7.tgz"); !strings.Contains(chart, "\nversion: 9.8.7\n") {
		t.Errorf("the chart is\n%s", chart)
	}
	for program, user := range map[string]string{"controller": "65532:65532", "speaker": "0:0"} {
		if !strings.Contains(install, "baliza/"+program+":"+version) {
			t.Errorf("install.yaml does not install the %s of %s", program, version)
		}
		checkImage(t, c, program, user, architecture)
		checkBill(t, c, "dist/baliza-"+program+"-linux-"+architecture+".cdx.json")
	}
}

func checkImage(t *testing.T, c *clone, program, user, architecture string) {
	t.Helper()
	read, err := oci.Read(c.path("dist", "baliza-"+program+"-"+version+".tar"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if want := "docker.io/baliza/" + program + ":" + version; read.Name != want {
		t.Errorf("the image is called %s, want %s", read.Name, want)
	}
	manifest, err := read.Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Platform.Architecture != architecture {
		t.Fatalf("%s is for %v", program, manifest.Manifests)
	}
	image, err := read.Index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.TrimSpace(c.mustRun(t, "git", "rev-parse", "HEAD"))
	labels := config.Config.Labels
	if config.Config.User != user || !slices.Equal(config.Config.Entrypoint, []string{"/" + program}) ||
		labels["org.opencontainers.image.revision"] != commit || labels["org.opencontainers.image.version"] != version ||
		labels["org.opencontainers.image.created"] != "2026-01-02T03:04:05Z" {
		t.Errorf("%s: %+v", program, config.Config)
	}
}

// checkBill looks for a library that both programs are made of.
func checkBill(t *testing.T, c *clone, file string) {
	t.Helper()
	var bill struct {
		BomFormat string `json:"bomFormat"`
		Metadata  struct {
			Component struct{ Name, Version string } `json:"component"`
		} `json:"metadata"`
		Components []struct{ Name string } `json:"components"`
	}
	if err := json.Unmarshal([]byte(c.read(t, file)), &bill); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	main := bill.Metadata.Component
	if bill.BomFormat != "CycloneDX" || main.Name != "github.com/baliza-lb/baliza" || main.Version != version {
		t.Errorf("%s is about %+v", file, main)
	}
	if !slices.ContainsFunc(bill.Components, func(m struct{ Name string }) bool { return m.Name == "k8s.io/client-go" }) {
		t.Errorf("%s does not have client-go: %v", file, bill.Components)
	}
}

func TestAReleaseThatCannotBeIsRefused(t *testing.T) {
	c := newClone(t)
	release := func(want string, args ...string) {
		t.Helper()
		c.mustFail(t, want, "hack/release.sh", args...)
	}
	release("make release VERSION=v0.2.0")
	release("make release VERSION=v0.2.0", "")
	for _, malformed := range []string{"9.8.7", "v9.8", "v09.8.7", "v9.8.7+x", "latest", "v9.8.7 ", "v9.8.7-01"} {
		release("must be like v0.2.0", malformed)
	}
	release(`nothing under "## [9.8.6]"`, "v9.8.6")
	release(`nothing under "## [9.8.7-rc.1]"`, "v9.8.7-rc.1")

	c.mustRun(t, "git", "tag", version)
	c.mustRun(t, "git", "commit", "--quiet", "--allow-empty", "--message", "another")
	release("is the tag of another commit", version)
	c.mustRun(t, "git", "tag", "--delete", version)

	c.write(t, "new.go", "package baliza")
	release("?? new.go", version)
	c.mustRun(t, "rm", "new.go")
	c.write(t, "README.md", "changed")
	release("README.md", version)
	c.mustRun(t, "git", "checkout", "--quiet", "README.md")

	// A folder that cannot be written, also by root, and what was in it stays.
	c.write(t, "dist", "a file")
	release("dist", version)
	if c.read(t, "dist") != "a file" {
		t.Error("dist was changed")
	}
	c.mustRun(t, "rm", "-rf", "dist", ".git")
	release("this is no clone", version)
}

// A release that fails half-way leaves what the last one made.
func TestAReleaseIsWholeOrNotThere(t *testing.T) {
	c := newClone(t)
	c.mustRun(t, "mkdir", "dist")
	c.write(t, "dist/RELEASE_NOTES.md", "of the last one")
	c.write(t, "speaker/main.go", "package main\n\nimport _ \"example.org/nothing\"\n")
	c.mustRun(t, "git", "commit", "--quiet", "--all", "--message", "broken")
	c.mustFail(t, "example.org/nothing", "hack/release.sh", version)
	if got := c.mustRun(t, "ls", "-A", "dist"); got != "RELEASE_NOTES.md\n" || c.read(t, "dist/RELEASE_NOTES.md") != "of the last one" {
		t.Errorf("dist/ has %q", got)
	}
}

// fakeRelease leaves in dist/ what a release would, with small programs for three
// platforms, and returns the digests of the images by name.
func (c *clone) fakeRelease(t *testing.T, text string) map[string]string {
	t.Helper()
	c.mustRun(t, "rm", "-rf", "dist")
	c.mustRun(t, "mkdir", "dist")
	c.mustRun(t, "hack/package-chart.sh", "dist", version)
	digests := map[string]string{}
	for _, program := range []string{"controller", "speaker"} {
		c.write(t, "dist/"+program, text+program)
		index, err := oci.Build(&oci.Recipe{
			Name: "docker.io/baliza/" + program + ":" + version, User: "0:0",
			Platforms: []string{"linux/amd64", "linux/arm64", "linux/arm/v7"},
			Files:     []oci.Copy{{Dest: "/" + program, Source: c.path("dist", program)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		digest, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[program] = digest.String()
		err = oci.Write(c.path("dist", "baliza-"+program+"-"+version+".tar"), "docker.io/baliza/"+program+":"+version, index)
		if err != nil {
			t.Fatal(err)
		}
		c.mustRun(t, "rm", "dist/"+program)
	}
	c.mustRun(t, "bash", "-c", "cd dist && sha256sum -- * >../sums && mv ../sums SHA256SUMS")
	return digests
}

// startRegistry returns the address of an empty registry on loopback that only
// someone may use.
func startRegistry(t *testing.T) string {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "someone" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// atHome gives the scripts a home in which nobody is logged in to anything.
func (c *clone) atHome(t *testing.T) {
	t.Helper()
	for _, variable := range []string{"GOPATH", "GOMODCACHE", "GOCACHE"} {
		c.env = append(c.env, variable+"="+strings.TrimSpace(c.mustRun(t, "go", "env", variable)))
	}
	c.env = append(c.env, "HOME="+t.TempDir(), "PLAIN_HTTP=1",
		"DOCKER_CONFIG=", "XDG_CONFIG_HOME=", "XDG_RUNTIME_DIR=", "REGISTRY_AUTH_FILE=", "HELM_CONFIG_HOME=", "HELM_REGISTRY_CONFIG=")
}

// login notes who may use the registry, where only Helm does.
func (c *clone) login(t *testing.T, address string) {
	t.Helper()
	c.mustRun(t, tool(t, "helm"), "registry", "login", "--plain-http", "--username", "someone", "--password", "secret", address)
}

func TestAReleaseIsPublished(t *testing.T) {
	c := newClone(t)
	digests := c.fakeRelease(t, "first ")
	address := startRegistry(t)
	to := address + "/deep/baliza"
	c.atHome(t)
	c.mustFail(t, "log in first", "hack/publish.sh", to, version)
	c.login(t, address)

	for _, turn := range []string{"first", "second"} {
		output := c.mustRun(t, "hack/publish.sh", to+"/", version)
		for _, want := range []string{
			to + "/controller:" + version + "@" + digests["controller"], to + "/speaker:" + version + "@" + digests["speaker"],
			"publish: " + to + "/baliza:9.8.7@sha256:", "helm install baliza oci://" + to + "/baliza --version 9.8.7 ", "--set image.registry=" + to,
		} {
			if !strings.Contains(output, want) {
				t.Errorf("%s time: it does not say %q:\n%s", turn, want, output)
			}
		}
	}
	checkPublished(t, to, digests)
	c.mustRun(t, tool(t, "helm"), "pull", "--plain-http", "oci://"+to+"/baliza", "--version", "9.8.7", "--destination", c.path())
	if c.read(t, "baliza-9.8.7.tgz") != c.read(t, "dist/baliza-9.8.7.tgz") {
		t.Error("the chart in the registry is another")
	}

	c.mustFail(t, "dist/ does not hold v9.8.6", "hack/publish.sh", to, "v9.8.6")
	c.mustFail(t, "must be like v0.2.0", "hack/publish.sh", to, "9.8.7")
	c.mustFail(t, "leave out https://", "hack/publish.sh", "https://"+to, version)
	c.mustFail(t, "make publish REGISTRY=", "hack/publish.sh")
	c.mustFail(t, "connection refused", "hack/publish.sh", "127.0.0.1:1/baliza", version)
	c.fakeRelease(t, "second ")
	c.mustFail(t, "a released version stays what it is", "hack/publish.sh", to, version)
	c.write(t, "dist/install.yaml", "changed")
	c.mustFail(t, `install.yaml: FAILED`, "hack/publish.sh", to, version)
	checkPublished(t, to, digests)
}

// checkPublished fetches the images for all platforms.
func checkPublished(t *testing.T, to string, digests map[string]string) {
	t.Helper()
	for program, want := range digests {
		tag, err := name.NewTag(to + "/" + program + ":" + version)
		if err != nil {
			t.Fatal(err)
		}
		index, err := remote.Index(tag, remote.WithAuth(&authn.Basic{Username: "someone", Password: "secret"}))
		if err != nil {
			t.Fatal(err)
		}
		if digest, err := index.Digest(); err != nil || digest.String() != want {
			t.Errorf("%s is %s, %v; want %s", tag, digest, err, want)
		}
		if err := validate.Index(index); err != nil {
			t.Error(err)
		}
		manifest, err := index.IndexManifest()
		if err != nil || len(manifest.Manifests) != 3 {
			t.Errorf("%s has %v, %v; want three platforms", tag, manifest, err)
		}
	}
}

// A build of one's own is published as often as one likes. It keeps the version of
// the last release, so that the line to type names digests.
func TestABuildOfOnesOwnIsPublished(t *testing.T) {
	c := newClone(t)
	address := startRegistry(t)
	to := address + "/baliza"
	c.atHome(t)
	c.login(t, address)
	var digests []string
	for i := range 2 {
		output := c.mustRun(t, "hack/publish.sh", to)
		for _, program := range []string{"controller", "speaker"} {
			_, digest, found := strings.Cut(output, "--set "+program+".image.digest=")
			if !found {
				t.Fatalf("it does not name the digest of the %s:\n%s", program, output)
			}
			digest = strings.Fields(digest)[0]
			digests = append(digests, digest)
			reference, err := name.NewDigest(to + "/" + program + "@" + digest)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := remote.Index(reference, remote.WithAuth(&authn.Basic{Username: "someone", Password: "secret"})); err != nil {
				t.Error(err)
			}
		}
		if moved := strings.Contains(output, " before\n"); moved != (i > 0) {
			t.Errorf("time %d: does it say that a tag moved? %v\n%s", i+1, moved, output)
		}
		c.write(t, "README.md", "changed, so that the program says that it is of no commit")
	}
	if digests[0] == digests[2] || digests[1] == digests[3] {
		t.Errorf("the digests are those of before: %v", digests)
	}
}
