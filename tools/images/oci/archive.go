package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// Annotations of the archive's one entry. containerd takes an image's whole name
// from its own; the standard one is for everybody else.
const (
	containerdName = "io.containerd.image.name"
	referenceName  = "org.opencontainers.image.ref.name"
)

// Write writes an index as an archive of the OCI layout. The file is either whole
// or not there: it gets its name last.
func Write(file, name string, index v1.ImageIndex) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(file), ".layout-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	blobs := filepath.Join(dir, "layout")
	at, err := layout.Write(blobs, empty.Index)
	if err != nil {
		return err
	}
	err = at.AppendIndex(index, layout.WithAnnotations(map[string]string{containerdName: name, referenceName: name}))
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	whole := filepath.Join(dir, "archive")
	if err := pack(whole, blobs); err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	return os.Rename(whole, file)
}

// pack makes an archive of a directory whose content decides every byte of it.
func pack(file, dir string) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	archive := tar.NewWriter(out)
	// WalkDir goes in the order of the names.
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: relative + "/", Mode: 0o755})
		}
		return addFile(archive, &tar.Header{Name: relative}, entry{source: name})
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

// Named is an index and the name that it has in an archive.
type Named struct {
	Name  string
	Index v1.ImageIndex
}

// Read unpacks an archive into dir, which must be empty and stay until the index
// is no longer needed. The archive must hold one index with a name, as Write makes
// it.
func Read(file, dir string) (Named, error) {
	if err := unpack(file, dir); err != nil {
		return Named{}, fmt.Errorf("%s is no archive of an image: %w", file, err)
	}
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return Named{}, fmt.Errorf("%s is no archive of an image: %w", file, err)
	}
	manifest, err := root.IndexManifest()
	if err != nil {
		return Named{}, fmt.Errorf("%s: %w", file, err)
	}
	if len(manifest.Manifests) != 1 {
		return Named{}, fmt.Errorf("%s holds %d images, want one", file, len(manifest.Manifests))
	}
	only := manifest.Manifests[0]
	name := only.Annotations[containerdName]
	if name == "" || !only.MediaType.IsIndex() {
		return Named{}, fmt.Errorf("%s does not hold an index with a name", file)
	}
	index, err := root.ImageIndex(only.Digest)
	if err != nil {
		return Named{}, fmt.Errorf("%s: %w", file, err)
	}
	return Named{Name: name, Index: index}, nil
}

// unpack writes what is in an archive into dir, and nowhere else.
func unpack(file, dir string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for archive := tar.NewReader(in); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpackOne(root, archive, header); err != nil {
			return err
		}
	}
}

func unpackOne(root *os.Root, archive io.Reader, header *tar.Header) (err error) {
	name := filepath.Clean(header.Name)
	switch header.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o750)
	case tar.TypeReg:
	default:
		return fmt.Errorf("%s is no regular file", header.Name)
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return err
	}
	out, err := root.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.CopyN(out, archive, header.Size)
	return err
}
