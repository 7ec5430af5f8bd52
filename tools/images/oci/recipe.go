package oci

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Recipe says what an image consists of.
type Recipe struct {
	// Name is the whole name, as a container runtime writes it:
	// ghcr.io/baliza-lb/speaker:v0.1.0.
	Name string
	// Platforms are written os/architecture or os/architecture/variant, as in
	// linux/arm/v7; at least one.
	Platforms []string
	// User is UID or UID:GID, numeric: an image without /etc/passwd knows no names,
	// and Kubernetes believes runAsNonRoot only of a number.
	User string
	// Entrypoint and Cmd are what a container runs unless its pod says otherwise.
	// The first of Entrypoint is the absolute path of an executable file of the image.
	Entrypoint, Cmd []string
	// WorkingDir may be empty, which means the root.
	WorkingDir string
	// Env are NAME=VALUE.
	Env []string
	// Labels are those of each image, and the annotations of the index.
	Labels map[string]string
	// Created is when the image was made, by its own account, and when each of its
	// files was last changed.
	Created time.Time
	// Files and Dirs are copied into the image.
	Files, Dirs []Copy
}

// Copy is one file, or one directory with all that is in it.
type Copy struct {
	// Dest is the absolute path in the image.
	Dest string
	// Source is the path on this machine. Each {platform} in it is replaced by the
	// platform with dashes for slashes, such as linux-arm-v7.
	Source string
}

// from is the source for one platform.
func (c Copy) from(platform string) string {
	return strings.ReplaceAll(c.Source, "{platform}", PlatformDir(platform))
}

// PlatformDir is a platform's name as part of a path: linux-arm-v7.
func PlatformDir(platform string) string {
	return strings.ReplaceAll(platform, "/", "-")
}

// tag is the name, which must be what a runtime would make of it: it is the key
// under which the runtime stores the image, and under another it is not found.
func (r *Recipe) tag() (name.Tag, error) {
	tag, err := name.NewTag(r.Name)
	if err != nil {
		return name.Tag{}, fmt.Errorf("image name %q: %w", r.Name, err)
	}
	if err := checkRepository(tag.RepositoryStr()); err != nil {
		return name.Tag{}, fmt.Errorf("image name %q: %w", r.Name, err)
	}
	if whole := Canonical(tag); whole != r.Name {
		return name.Tag{}, fmt.Errorf("image name %q must be written in full: %s", r.Name, whole)
	}
	return tag, nil
}

// checkRepository checks what the library does not: the form that the distribution
// specification demands of a repository's name
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests).
func checkRepository(s string) error {
	if !regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`).MatchString(s) {
		return fmt.Errorf("%q must be names of lower-case letters and digits, with a slash between them", s)
	}
	return nil
}

// Canonical is a tag's name as container runtimes store it: with registry and tag,
// and docker.io for what Docker's own programs call index.docker.io.
func Canonical(tag name.Tag) string {
	registry := tag.RegistryStr()
	if registry == name.DefaultRegistry {
		registry = "docker.io"
	}
	return registry + "/" + tag.RepositoryStr() + ":" + tag.TagStr()
}

// validate names the first thing in the recipe that no image can be made of.
func (r *Recipe) validate() error {
	if _, err := r.tag(); err != nil {
		return err
	}
	if len(r.Platforms) == 0 {
		return errors.New("at least one platform is needed, such as linux/amd64")
	}
	for i, platform := range r.Platforms {
		if _, err := parsePlatform(platform); err != nil {
			return err
		}
		if slices.Contains(r.Platforms[:i], platform) {
			return fmt.Errorf("platform %s is given twice", platform)
		}
	}
	if !regexp.MustCompile(`^\d+(:\d+)?$`).MatchString(r.User) {
		return fmt.Errorf("user %q must be UID or UID:GID, as numbers", r.User)
	}
	for _, variable := range r.Env {
		if key, _, found := strings.Cut(variable, "="); !found || key == "" {
			return fmt.Errorf("environment variable %q must be NAME=VALUE", variable)
		}
	}
	for _, c := range slices.Concat(r.Files, r.Dirs) {
		if !path.IsAbs(c.Dest) || path.Clean(c.Dest) != c.Dest || c.Source == "" {
			return fmt.Errorf("%s=%s must be an absolute path in the image and a path on this machine", c.Dest, c.Source)
		}
	}
	return nil
}

func parsePlatform(s string) (*v1.Platform, error) {
	platform, err := v1.ParsePlatform(s)
	if err != nil || platform.OS == "" || platform.Architecture == "" || platform.OSVersion != "" {
		return nil, fmt.Errorf("platform %q must be os/architecture or os/architecture/variant, such as linux/arm/v7", s)
	}
	return platform, nil
}
