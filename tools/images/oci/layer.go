package oci

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// entry is one file of a layer.
type entry struct {
	source string // on this machine; empty for a directory that is only made
	mode   fs.FileMode
	target string // of a symbolic link
}

// layer holds the recipe's files for one platform.
func (r *Recipe) layer(platform string) (v1.Layer, error) {
	entries, err := r.entries(platform)
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	for _, dest := range slices.Sorted(maps.Keys(entries)) {
		if err := add(archive, dest, entries[dest], r.Created); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil }
	return tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}

// entries are the files by their path in the image, and all directories above them.
func (r *Recipe) entries(platform string) (map[string]entry, error) {
	entries := map[string]entry{}
	for _, f := range r.Files {
		source := f.from(platform)
		info, err := os.Stat(source)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is no regular file", source)
		}
		if _, found := entries[f.Dest]; found {
			return nil, fmt.Errorf("%s is given twice", f.Dest)
		}
		entries[f.Dest] = entry{source: source, mode: info.Mode()}
	}
	for _, d := range r.Dirs {
		if err := walk(entries, d.from(platform), d.Dest); err != nil {
			return nil, err
		}
	}
	for _, dest := range slices.Collect(maps.Keys(entries)) {
		for dir := path.Dir(dest); dir != "/"; dir = path.Dir(dir) {
			if above, found := entries[dir]; !found {
				entries[dir] = entry{mode: fs.ModeDir | 0o755}
			} else if !above.mode.IsDir() {
				return nil, fmt.Errorf("%s cannot be in %s, which is no directory", dest, dir)
			}
		}
	}
	delete(entries, "/") // of --dir /=…
	return entries, r.checkEntrypoint(entries)
}

// checkEntrypoint refuses an image that would fail on every node only when it is
// started. Links are not followed: what they lead to is known in the image alone.
func (r *Recipe) checkEntrypoint(entries map[string]entry) error {
	if len(r.Entrypoint) == 0 {
		return nil
	}
	program := r.Entrypoint[0]
	e, found := entries[program]
	switch {
	case !path.IsAbs(program):
		return fmt.Errorf("entry point %q must be an absolute path in the image", program)
	case found && e.target != "":
		return nil
	case !found || !e.mode.IsRegular():
		return fmt.Errorf("entry point %s: no file of the image", program)
	case e.mode&0o111 == 0:
		return fmt.Errorf("entry point %s: %s is not executable", program, e.source)
	}
	info, err := os.Stat(e.source)
	if err == nil && info.Size() == 0 {
		err = fmt.Errorf("entry point %s: %s is empty", program, e.source)
	}
	return err
}

// walk adds a directory and what is in it.
func walk(entries map[string]entry, source, dest string) error {
	return filepath.WalkDir(source, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		in := path.Join(dest, filepath.ToSlash(relative))
		if old, found := entries[in]; found && (!old.mode.IsDir() || !info.IsDir()) {
			return fmt.Errorf("%s is given twice", in)
		}
		e := entry{source: name, mode: info.Mode()}
		switch info.Mode().Type() {
		case 0, fs.ModeDir:
		case fs.ModeSymlink:
			if e.target, err = os.Readlink(name); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is neither a file, a directory nor a symbolic link", name)
		}
		entries[in] = e
		return nil
	})
}

// add writes one entry. Of the permissions only the question whether a file may be
// executed counts: the rest is the builder's umask.
func add(archive *tar.Writer, dest string, e entry, changed time.Time) error {
	header := &tar.Header{Name: strings.TrimPrefix(dest, "/"), ModTime: changed.UTC().Truncate(time.Second)}
	switch {
	case e.mode.IsDir():
		header.Typeflag, header.Name, header.Mode = tar.TypeDir, header.Name+"/", 0o755
		// /tmp, where everyone may write, but not remove what others wrote.
		if e.mode&fs.ModeSticky != 0 {
			header.Mode = 0o1777
		}
	case e.target != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, e.target, 0o777
	default:
		return addFile(archive, header, e)
	}
	return archive.WriteHeader(header)
}

func addFile(archive *tar.Writer, header *tar.Header, e entry) error {
	content, err := os.ReadFile(e.source)
	if err != nil {
		return err
	}
	header.Typeflag, header.Size, header.Mode = tar.TypeReg, int64(len(content)), 0o644
	if e.mode&0o111 != 0 {
		header.Mode = 0o755
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = archive.Write(content)
	return err
}
