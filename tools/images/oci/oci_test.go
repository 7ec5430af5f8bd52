package oci_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/baliza-lb/baliza/tools/images/oci"
)

var platforms = []string{"linux/amd64", "linux/arm64", "linux/arm/v7"}

// sources makes a program for each platform and a directory, and returns where.
// What must not matter differs from one call to the next.
func sources(t *testing.T, changed time.Time, mode os.FileMode) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, changed, changed); err != nil {
			t.Fatal(err)
		}
	}
	for _, platform := range platforms {
		write(oci.PlatformDir(platform)+"/speaker", "program for "+platform, mode|0o111)
	}
	write("data/z", "z", mode)
	write("data/a/b", "b", mode)
	if err := os.Symlink("z", filepath.Join(dir, "data", "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func recipe(dir string) *oci.Recipe {
	return &oci.Recipe{
		Name: "docker.io/baliza/speaker:v0.1.0", Platforms: platforms, User: "0:0", Entrypoint: []string{"/bin/speaker"},
		Env: []string{"PATH=/bin"}, Labels: map[string]string{"org.opencontainers.image.version": "v0.1.0", "a": "b"},
		Created: time.Unix(1_700_000_000, 0),
		Files:   []oci.Copy{{Dest: "/bin/speaker", Source: dir + "/{platform}/speaker"}},
		Dirs:    []oci.Copy{{Dest: "/data", Source: dir + "/data"}},
	}
}

func build(t *testing.T, r *oci.Recipe) v1.ImageIndex {
	t.Helper()
	index, err := oci.Build(r)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// archive writes the recipe's image and returns the file.
func archive(t *testing.T, r *oci.Recipe) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := oci.Write(file, r.Name, build(t, r)); err != nil {
		t.Fatal(err)
	}
	return file
}

func content(t *testing.T, file string) []byte {
	t.Helper()
	bytes, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func TestTheSameFilesMakeTheSameArchive(t *testing.T) {
	first := archive(t, recipe(sources(t, time.Unix(1_000_000_000, 0), 0o644)))
	second := archive(t, recipe(sources(t, time.Unix(1_600_000_000, 5), 0o600)))
	if !slices.Equal(content(t, first), content(t, second)) {
		t.Error("two builds of the same files differ")
	}
	other := recipe(sources(t, time.Unix(1_000_000_000, 0), 0o644))
	other.Created = other.Created.Add(time.Second)
	if slices.Equal(content(t, first), content(t, archive(t, other))) {
		t.Error("the date makes no difference: is this test able to fail?")
	}
}

func TestAnArchiveHoldsOneIndexWithAnImageForEachPlatform(t *testing.T) {
	want := recipe(sources(t, time.Now(), 0o644))
	read, err := oci.Read(archive(t, want), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if read.Name != want.Name {
		t.Errorf("its name is %s, want %s", read.Name, want.Name)
	}
	if err := validate.Index(read.Index); err != nil {
		t.Error(err)
	}
	manifest, err := read.Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range manifest.Manifests {
		got = append(got, m.Platform.String())
		image, err := read.Index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Platform().String() != m.Platform.String() {
			t.Errorf("the image of %s says that it is for %s", m.Platform, config.Platform())
		}
		if config.Config.User != "0:0" || !slices.Equal(config.Config.Entrypoint, want.Entrypoint) ||
			config.Config.Labels["a"] != "b" || !config.Created.Equal(want.Created) {
			t.Errorf("configuration of %s: %+v", m.Platform, config)
		}
		checkFiles(t, image, m.Platform.String())
	}
	if !slices.Equal(got, platforms) {
		t.Errorf("it is for %v, want %v", got, platforms)
	}
	if manifest.Annotations["org.opencontainers.image.version"] != "v0.1.0" {
		t.Errorf("annotations of the index: %v", manifest.Annotations)
	}
}

func checkFiles(t *testing.T, image v1.Image, platform string) {
	t.Helper()
	files := mutate.Extract(image)
	defer files.Close()
	var got []string
	for archive := tar.NewReader(files); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, header.FileInfo().Mode().String()+" "+header.Name)
		if header.Name == "bin/speaker" {
			if text, err := io.ReadAll(archive); err != nil || string(text) != "program for "+platform {
				t.Errorf("the image of %s has the %q, %v", platform, text, err)
			}
		}
	}
	want := []string{
		"drwxr-xr-x bin", "-rwxr-xr-x bin/speaker", "drwxr-xr-x data", "drwxr-xr-x data/a",
		"-rw-r--r-- data/a/b", "Lrwxrwxrwx data/link", "-rw-r--r-- data/z",
	}
	for i := range got {
		got[i] = strings.TrimSuffix(got[i], "/")
	}
	if !slices.Equal(got, want) {
		t.Errorf("the image of %s has %q, want %q", platform, got, want)
	}
}

func TestWhatCannotBeAnImageIsRefused(t *testing.T) {
	dir := sources(t, time.Now(), 0o644)
	if err := os.WriteFile(dir+"/empty", nil, 0o700); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(r *oci.Recipe)
		want   string
	}{
		"a name without a registry":      {func(r *oci.Recipe) { r.Name = "baliza/speaker:v1" }, "written in full: docker.io/baliza/speaker:v1"},
		"a name without a tag":           {func(r *oci.Recipe) { r.Name = "registry.example.org/speaker" }, "speaker:latest"},
		"a name of Docker's own":         {func(r *oci.Recipe) { r.Name = "docker.io/web:v1" }, "docker.io/library/web:v1"},
		"a name in capitals":             {func(r *oci.Recipe) { r.Name = "docker.io/Baliza/speaker:v1" }, "docker.io/Baliza/speaker"},
		"a name with a scheme":           {func(r *oci.Recipe) { r.Name = "https://registry.example.org/speaker:v1" }, "lower-case letters"},
		"a digest":                       {func(r *oci.Recipe) { r.Name += "@sha256:" + strings.Repeat("0", 64) }, "image name"},
		"no platform":                    {func(r *oci.Recipe) { r.Platforms = nil }, "at least one platform"},
		"half a platform":                {func(r *oci.Recipe) { r.Platforms = []string{"linux"} }, `platform "linux"`},
		"a platform of too many parts":   {func(r *oci.Recipe) { r.Platforms = []string{"a/b/c/d"} }, `platform "a/b/c/d"`},
		"the same platform twice":        {func(r *oci.Recipe) { r.Platforms = []string{"linux/amd64", "linux/amd64"} }, "linux/amd64 is given twice"},
		"a user by name":                 {func(r *oci.Recipe) { r.User = "nobody" }, `user "nobody"`},
		"no user":                        {func(r *oci.Recipe) { r.User = "" }, `user ""`},
		"a variable without a value":     {func(r *oci.Recipe) { r.Env = []string{"PATH"} }, `"PATH" must be`},
		"a path that is not absolute":    {func(r *oci.Recipe) { r.Files[0].Dest = "bin/speaker" }, "absolute path"},
		"a path that climbs out":         {func(r *oci.Recipe) { r.Files[0].Dest = "/../speaker" }, "absolute path"},
		"a file that is not there":       {func(r *oci.Recipe) { r.Files[0].Source = dir + "/nothing" }, "nothing: no such file"},
		"a directory as a file":          {func(r *oci.Recipe) { r.Files[0].Source = dir }, "no regular file"},
		"a directory that is not there":  {func(r *oci.Recipe) { r.Dirs[0].Source = dir + "/nothing" }, "nothing: no such file"},
		"the same file twice":            {func(r *oci.Recipe) { r.Files = append(r.Files, r.Files[0]) }, "/bin/speaker is given twice"},
		"a file and a directory in turn": {func(r *oci.Recipe) { r.Dirs[0].Dest = "/bin/speaker" }, "/bin/speaker is given twice"},
		"a file in a file": {func(r *oci.Recipe) {
			r.Files = append(r.Files, oci.Copy{Dest: "/bin/speaker/x", Source: dir + "/data/z"})
		}, "is no directory"},
		"a program that is empty":           {func(r *oci.Recipe) { r.Files[0].Source = dir + "/empty" }, "entry point /bin/speaker: " + dir + "/empty is empty"},
		"a program that cannot be executed": {func(r *oci.Recipe) { r.Files[0].Source = dir + "/data/z" }, "entry point /bin/speaker: " + dir + "/data/z is not executable"},
		"a program that is not in it":       {func(r *oci.Recipe) { r.Entrypoint = []string{"/speaker"} }, "entry point /speaker: no file of the image"},
		"a directory as a program":          {func(r *oci.Recipe) { r.Entrypoint = []string{"/data/a"} }, "entry point /data/a: no file of the image"},
		"a program to be looked for":        {func(r *oci.Recipe) { r.Entrypoint = []string{"speaker"} }, `entry point "speaker" must be an absolute path`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := recipe(dir)
			test.change(r)
			if _, err := oci.Build(r); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestAFailedWriteLeavesNothing(t *testing.T) {
	r := recipe(sources(t, time.Now(), 0o644))
	index := build(t, r)
	dir := t.TempDir()
	// A directory with something in it stands where the archive should.
	if err := os.MkdirAll(filepath.Join(dir, "image.tar", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := oci.Write(filepath.Join(dir, "image.tar"), r.Name, index); err == nil {
		t.Error("no error")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatIsNoArchiveOfAnImageIsRefused(t *testing.T) {
	good := content(t, archive(t, recipe(sources(t, time.Now(), 0o644))))
	tests := map[string][]byte{
		"nothing":      nil,
		"text":         []byte("not an archive"),
		"cut in half":  good[:len(good)/2],
		"another file": tarOf(t, "../../escape"),
		"no index":     tarOf(t, "oci-layout"),
	}
	for name, bytes := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "image.tar")
			if err := os.WriteFile(file, bytes, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := oci.Read(file, t.TempDir()); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("the error is %v, want one that names the file", err)
			}
		})
	}
}

func tarOf(t *testing.T, name string) []byte {
	t.Helper()
	var out strings.Builder
	archive := tar.NewWriter(&out)
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(out.String())
}
