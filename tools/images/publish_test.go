package main_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/baliza-lb/baliza/tools/images/oci"
)

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
			Name: "ghcr.io/baliza-lb/" + program + ":" + version, User: "0:0",
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
		err = oci.Write(c.path("dist", "baliza-"+program+"-"+version+".tar"), "ghcr.io/baliza-lb/"+program+":"+version, index)
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
	c.mustRun(t, helm(t), "registry", "login", "--plain-http", "--username", "someone", "--password", "secret", address)
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
	c.checkLine(t, c.mustRun(t, "hack/publish.sh", to, version), to+"/controller:"+version)
	c.mustRun(t, helm(t), "pull", "--plain-http", "oci://"+to+"/baliza", "--version", "9.8.7", "--destination", c.path())
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

// checkLine types the line that publish.sh says to install with, but renders in
// place of installing, and looks for an image.
func (c *clone) checkLine(t *testing.T, output, image string) {
	t.Helper()
	_, line, _ := strings.Cut(output, "Install it with")
	_, line, found := strings.Cut(line, "  helm install ")
	if !found {
		t.Fatalf("it does not say what to install it with:\n%s", output)
	}
	rendered := c.mustRun(t, "bash", "-c", `PATH=${0%/*}:$PATH; helm template `+line, helm(t))
	if !strings.Contains(rendered, image) {
		t.Errorf("%s is not in what helm template makes of this line:\n%s", image, line)
	}
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
		c.checkLine(t, output, "@"+digests[len(digests)-1])
		if moved := strings.Contains(output, " before\n"); moved != (i > 0) {
			t.Errorf("time %d: does it say that a tag moved? %v\n%s", i+1, moved, output)
		}
		c.write(t, "README.md", "changed, so that the program says that it is of no commit")
	}
	if digests[0] == digests[2] || digests[1] == digests[3] {
		t.Errorf("the digests are those of before: %v", digests)
	}
}
