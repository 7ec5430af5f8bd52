package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Registry is where images are pushed to: a registry, and the path in it under
// which they get their names, such as registry.example.org/baliza. It is what the
// chart's value image.registry says.
type Registry struct {
	prefix   string
	insecure bool
}

// ParseRegistry reads what a user typed. A slash at the end means nothing; a
// scheme, a tag and capitals are errors. Insecure registries are asked by http.
func ParseRegistry(s string, insecure bool) (Registry, error) {
	r := Registry{prefix: strings.TrimRight(s, "/"), insecure: insecure}
	if r.prefix == "" {
		return Registry{}, errors.New("the registry is empty, want something like registry.example.org/baliza")
	}
	if scheme, rest, found := strings.Cut(r.prefix, "://"); found {
		return Registry{}, fmt.Errorf("registry %q: leave out %s://, as in %s", s, scheme, rest)
	}
	tag, err := r.tag("x", "v1")
	if err == nil {
		err = checkRepository(tag.RepositoryStr())
	}
	if err != nil {
		return Registry{}, fmt.Errorf("registry %q: %w", s, err)
	}
	return r, nil
}

// String is the registry as image.registry wants it.
func (r Registry) String() string { return r.prefix }

// tag is the name of an image in the registry.
func (r Registry) tag(image, tag string) (name.Tag, error) {
	var options []name.Option
	if r.insecure {
		options = append(options, name.Insecure)
	}
	return name.NewTag(r.prefix+"/"+image+":"+tag, options...)
}

// Pushed is what a registry has after a push.
type Pushed struct {
	// Tag is the image's name there.
	Tag name.Tag
	// Digest is that of the index.
	Digest v1.Hash
	// Replaced is the digest that the tag had before, empty if it had none or the same.
	Replaced v1.Hash
}

// Push pushes an index with all its images, under the last part of its name. Who
// may do so is what the docker program and its like have noted. A tag that means
// something else already is moved only if replace is true.
func (r Registry) Push(ctx context.Context, named Named, replace bool) (Pushed, error) {
	old, err := name.NewTag(named.Name)
	if err != nil {
		return Pushed{}, fmt.Errorf("image name %q: %w", named.Name, err)
	}
	tag, err := r.tag(old.RepositoryStr()[strings.LastIndexByte(old.RepositoryStr(), '/')+1:], old.TagStr())
	if err != nil {
		return Pushed{}, err
	}
	pushed := Pushed{Tag: tag}
	if pushed.Digest, err = named.Index.Digest(); err != nil {
		return Pushed{}, err
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	before, err := digestOf(tag, options)
	if err != nil {
		return Pushed{}, fmt.Errorf("asking for %s: %w%s", tag, err, hint(err, tag))
	}
	if before == pushed.Digest {
		return pushed, nil
	}
	if before.Hex != "" && !replace {
		return Pushed{}, fmt.Errorf("%s exists and is another image (%s): a released version stays what it is", tag, before)
	}
	pushed.Replaced = before
	if err := remote.WriteIndex(tag, named.Index, options...); err != nil {
		return Pushed{}, fmt.Errorf("pushing %s: %w%s", tag, err, hint(err, tag))
	}
	return pushed, nil
}

// digestOf what a tag means in the registry, empty if it does not exist. It is not
// asked by HEAD: to that a registry may not say why it refuses.
func digestOf(tag name.Tag, options []remote.Option) (v1.Hash, error) {
	found, err := remote.Get(tag, options...)
	if isStatus(err, http.StatusNotFound) {
		return v1.Hash{}, nil
	}
	if err != nil {
		return v1.Hash{}, err
	}
	return found.Digest, nil
}

// hint says what a user whom the registry does not let in can do.
func hint(err error, tag name.Tag) string {
	if isStatus(err, http.StatusUnauthorized) || isStatus(err, http.StatusForbidden) {
		return fmt.Sprintf(" (log in first, such as by docker login or helm registry login %s, as someone who may push there)", tag.RegistryStr())
	}
	return ""
}

func isStatus(err error, status int) bool {
	var refused *transport.Error
	return errors.As(err, &refused) && refused.StatusCode == status
}
