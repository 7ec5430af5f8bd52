package oci_test

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/baliza-lb/baliza/tools/images/oci"
)

// startRegistry returns the address of an empty registry on loopback.
func startRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestAPushedImageIsTheArchives(t *testing.T) {
	to, err := oci.ParseRegistry(startRegistry(t)+"/some/where/", true)
	if err != nil {
		t.Fatal(err)
	}
	r := recipe(sources(t, time.Now(), 0o644))
	named, err := oci.Read(archive(t, r), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want, err := named.Index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, turn := range []string{"first", "second"} {
		pushed, err := to.Push(t.Context(), named, false)
		if err != nil {
			t.Fatalf("%s push: %v", turn, err)
		}
		if pushed.Tag.Name() != to.String()+"/speaker:v0.1.0" || pushed.Digest != want || pushed.Replaced.Hex != "" {
			t.Errorf("%s push: %+v", turn, pushed)
		}
		index, err := remote.Index(pushed.Tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(index); err != nil {
			t.Error(err)
		}
		if got, err := index.Digest(); err != nil || got != want {
			t.Errorf("%s push: the registry has %s, %v; want %s", turn, got, err, want)
		}
	}
}

func TestATagMovesOnlyIfItMay(t *testing.T) {
	to, err := oci.ParseRegistry(startRegistry(t), true)
	if err != nil {
		t.Fatal(err)
	}
	dir := sources(t, time.Now(), 0o644)
	first := oci.Named{Name: recipe(dir).Name, Index: build(t, recipe(dir))}
	other := recipe(dir)
	other.User = "1:1"
	second := oci.Named{Name: other.Name, Index: build(t, other)}
	before, err := to.Push(t.Context(), first, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Push(t.Context(), second, false); err == nil || !strings.Contains(err.Error(), "another image ("+before.Digest.String()) {
		t.Errorf("the error is %v", err)
	}
	if found, err := remote.Head(before.Tag); err != nil || found.Digest != before.Digest {
		t.Errorf("after the refusal: %v, %v", found, err)
	}
	after, err := to.Push(t.Context(), second, true)
	if err != nil || after.Replaced != before.Digest {
		t.Errorf("%+v, %v; want that %s was replaced", after, err, before.Digest)
	}
	if found, err := remote.Head(before.Tag); err != nil || found.Digest != after.Digest {
		t.Errorf("after the replacement: %v, %v", found, err)
	}
}

func TestRegistriesAsPeopleTypeThem(t *testing.T) {
	tests := map[string]struct{ want, err string }{
		"registry.example.org/baliza":         {want: "registry.example.org/baliza"},
		"registry.example.org/baliza/":        {want: "registry.example.org/baliza"},
		"registry.example.org:5000":           {want: "registry.example.org:5000"},
		"registry.example.org/a/b-c/d_e":      {want: "registry.example.org/a/b-c/d_e"},
		"[2001:db8::1]:5000/baliza":           {want: "[2001:db8::1]:5000/baliza"},
		"localhost:5000/baliza":               {want: "localhost:5000/baliza"},
		"someone":                             {want: "someone"}, // of Docker's registry
		"":                                    {err: "is empty"},
		"/":                                   {err: "is empty"},
		"https://registry.example.org/baliza": {err: "leave out https://, as in registry.example.org/baliza"},
		"oci://registry.example.org/baliza":   {err: "leave out oci://"},
		"registry.example.org/Baliza":         {err: "registry.example.org/Baliza"},
		"registry.example.org//baliza":        {err: "lower-case letters"},
		"registry.example.org/baliza:v1":      {err: "registry.example.org/baliza:v1"},
		"registry.example.org/baliza@sha256":  {err: "registry.example.org/baliza@sha256"},
		"registry example org":                {err: "registry example org"},
		"registry.example.org/-baliza":        {err: "lower-case letters"},
	}
	for typed, test := range tests {
		t.Run(typed, func(t *testing.T) {
			got, err := oci.ParseRegistry(typed, false)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("the error is %v, want %q in it", err, test.err)
				}
				return
			}
			if err != nil || got.String() != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}
