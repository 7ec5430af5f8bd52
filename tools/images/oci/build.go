package oci

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Build makes the index with an image for each platform, in the order given. It
// is an index even for one platform, so that a name always means the same kind of
// thing. Errors name what in the recipe is wrong, or the file that cannot be read.
func Build(r *Recipe) (v1.ImageIndex, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, name := range r.Platforms {
		platform, err := parsePlatform(name)
		if err != nil {
			return nil, err
		}
		image, err := r.image(name, platform)
		if err != nil {
			return nil, fmt.Errorf("image %s for %s: %w", r.Name, name, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	annotated, ok := mutate.Annotations(index, r.Labels).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("image %s: annotations made something else of the index", r.Name)
	}
	return annotated, nil
}

// image for one platform: one layer, and the configuration.
func (r *Recipe) image(name string, platform *v1.Platform) (v1.Image, error) {
	layer, err := r.layer(name)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: r.Created.UTC()}
	if image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant,
		Created: created,
		RootFS:  v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: r.User, Entrypoint: r.Entrypoint, Cmd: r.Cmd, WorkingDir: r.WorkingDir, Env: r.Env, Labels: r.Labels,
		},
	}); err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: created, CreatedBy: "images-tool build"},
	})
}
