package bundle

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Bundle is what goes into an archive.
type Bundle struct {
	files   []file
	missing []string
	// hidden takes known passwords out; field finds names of fields whose value is a
	// secret, and patterns find secrets in lines that programs write.
	hidden   *strings.Replacer
	field    *regexp.Regexp
	patterns []textPattern
}

type file struct {
	name string
	data []byte
}

// shortestHidden is how long a password is that is taken out wherever it stands: a
// shorter one stands in many words.
const shortestHidden = 4

// New makes one. The passwords are taken out wherever they are.
func New(passwords ...string) *Bundle {
	var pairs []string
	for _, p := range passwords {
		if len(p) >= shortestHidden {
			pairs = append(pairs, p, removed)
		}
	}
	return &Bundle{hidden: strings.NewReplacer(pairs...), field: fieldPattern(), patterns: textPatterns()}
}

// Text adds a file of text, a log, say.
func (b *Bundle) Text(name string, text []byte) {
	b.files = append(b.files, file{name, []byte(b.clean(string(text)))})
}

// Value adds a file that has a value as YAML, as it is but for what looks like a
// password.
func (b *Bundle) Value(name string, value any) error {
	data, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.Text(name, data)
	return nil
}

// Objects adds a file that has objects of a kind as a list in YAML, without what others
// may have put a password into.
func Objects[T any](b *Bundle, name, apiVersion, kind string, objects []T) error {
	items := make([]any, 0, len(objects))
	for _, object := range objects {
		data, err := json.Marshal(object)
		var fields map[string]any
		if err == nil {
			err = json.Unmarshal(data, &fields)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fields["apiVersion"], fields["kind"] = apiVersion, kind
		items = append(items, b.strip(fields))
	}
	data, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.files = append(b.files, file{name, data})
	return nil
}

// Missing notes what is not there, and why.
func (b *Bundle) Missing(what string, why error) {
	b.missing = append(b.missing, b.clean(what+": "+why.Error()))
}

// Lacks are what Missing has noted.
func (b *Bundle) Lacks() []string { return b.missing }

// Write writes a tar archive, compressed by gzip, of a folder of that name.
func (b *Bundle) Write(w io.Writer, folder string, now time.Time) error {
	compressed := gzip.NewWriter(w)
	archive := tar.NewWriter(compressed)
	readme := file{"README.txt", []byte(b.readme())}
	for _, f := range append([]file{readme}, b.files...) {
		header := &tar.Header{Name: folder + "/" + f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: now, Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(f.data); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

func (b *Bundle) readme() string {
	var text strings.Builder
	text.WriteString("What kubectl baliza dump has gathered. Secrets were not read; " + removed + " stands where something was that\n" +
		"may have been a password: annotations that are not Baliza's, environment variables, passwords of BGPPeers.\n" +
		"Names, labels, addresses and messages are as they are: read them before you send them.\n\n")
	names := make([]string, 0, len(b.files))
	for _, f := range b.files {
		names = append(names, f.name)
	}
	slices.Sort(names)
	text.WriteString(strings.Join(names, "\n") + "\n")
	if len(b.missing) > 0 {
		text.WriteString("\nNot there:\n" + strings.Join(b.missing, "\n") + "\n")
	}
	return text.String()
}
