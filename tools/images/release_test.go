package main_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/tools/images/oci"
)

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
	want := []string{"RELEASE_NOTES.md", "SHA256SUMS", "baliza-9.8.7.tgz", "crds.yaml", "install.yaml", "krew.yaml"}
	want = append(want, "kubectl-baliza-"+version+"-linux-"+architecture+".tar.gz", "kubectl-baliza-linux-"+architecture+".cdx.json")
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
	if chart := c.mustRun(t, helm(t), "show", "chart", "dist/baliza-9.8.7.tgz"); !strings.Contains(chart, "\nversion: 9.8.7\n") {
		t.Errorf("the chart is\n%s", chart)
	}
	for program, user := range map[string]string{"controller": "65532:65532", "speaker": "0:0"} {
		if !strings.Contains(install, "ghcr.io/baliza-lb/"+program+":"+version) {
			t.Errorf("install.yaml does not install the %s of %s", program, version)
		}
		checkImage(t, c, program, user, architecture)
		checkBill(t, c, "dist/baliza-"+program+"-linux-"+architecture+".cdx.json")
	}
	checkBill(t, c, "dist/kubectl-baliza-linux-"+architecture+".cdx.json")
	checkKrew(t, c, architecture)
}

// checkKrew does what krew does with its manifest: it looks for the platform, checks the
// sum of the archive, and runs what is in it.
func checkKrew(t *testing.T, c *clone, architecture string) {
	t.Helper()
	var plugin struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
		Spec             struct {
			Version, ShortDescription, Description, Homepage string
			Platforms                                        []struct {
				URI, SHA256, Bin string
				Selector         struct{ MatchLabels map[string]string }
				Files            []struct{ From, To string }
			}
		}
	}
	if err := yaml.UnmarshalStrict([]byte(c.read(t, "dist/krew.yaml")), &plugin); err != nil {
		t.Fatalf("krew.yaml: %v", err)
	}
	if plugin.Kind != "Plugin" || plugin.Metadata.Name != "baliza" || plugin.Spec.Version != version || len(plugin.Spec.Platforms) != 1 {
		t.Fatalf("krew.yaml is %+v", plugin)
	}
	platform := plugin.Spec.Platforms[0]
	if on := platform.Selector.MatchLabels; on["os"] != "linux" || on["arch"] != architecture {
		t.Errorf("the platform is %v", on)
	}
	folder, archive, _ := strings.Cut(platform.URI, version+"/")
	if folder != "https://github.com/baliza-lb/baliza/releases/download/" {
		t.Errorf("the archive is at %s", platform.URI)
	}
	if sum, _, _ := strings.Cut(c.mustRun(t, "sha256sum", "dist/"+archive), " "); sum != platform.SHA256 {
		t.Errorf("the sum of %s is %s, krew.yaml says %s", archive, sum, platform.SHA256)
	}
	c.mustRun(t, "mkdir", "unpacked")
	c.mustRun(t, "tar", "-x", "-z", "-C", "unpacked", "-f", "dist/"+archive)
	for _, file := range platform.Files {
		c.read(t, "unpacked/"+file.From)
	}
	if got := c.mustRun(t, "unpacked/"+platform.Bin, "version", "--client"); !strings.Contains(got, version) {
		t.Errorf("%s says that it is %q", platform.Bin, got)
	}
}

func checkImage(t *testing.T, c *clone, program, user, architecture string) {
	t.Helper()
	read, err := oci.Read(c.path("dist", "baliza-"+program+"-"+version+".tar"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if want := "ghcr.io/baliza-lb/" + program + ":" + version; read.Name != want {
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
