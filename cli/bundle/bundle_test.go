package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/baliza-lb/baliza/cli/bundle"
)

// unpack returns the files of an archive, by name.
func unpack(t *testing.T, archive io.Reader) map[string]string {
	t.Helper()
	compressed, err := gzip.NewReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(compressed); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(data)
	}
}

// K02: what looks like a password goes out of a line, and what does not stays.
func TestK02_PasswordsGoOutOfLines(t *testing.T) {
	for line, want := range map[string]string{
		`{"level":"info","password":"hunter2","peer":"tor"}`:                    `{"level":"info","password":(removed),"peer":"tor"}`,
		`{"msg":"{\"token\":\"hunter2\"}"}`:                                     `{"msg":"{\"token\":(removed)}"}`,
		`{"password":"hun\"ter2","peer":"tor"}`:                                 `{"password":(removed),"peer":"tor"}`,
		`level=info bgpPassword=hunter2 peer=tor`:                               `level=info bgpPassword=(removed) peer=tor`,
		`passwd: 'hunter 2' and more`:                                           `passwd: (removed) and more`,
		`--api-key=hunter2`:                                                     `--api-key=(removed)`,
		`Authorization: Bearer abc.hunter2.xyz`:                                 `Authorization: (removed) (removed)`,
		`GET https://admin:hunter2@registry.example.org/v2/`:                    `GET https://(removed)@registry.example.org/v2/`,
		`GET /x?token=hunter2&y=1`:                                              `GET /x?token=(removed)&y=1`,
		"-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----": `(removed)`,
		`the known one is S3same.here`:                                          `the known one is (removed)`,
		`secrets "baliza-bgp-passwords" not found`:                              `secrets "baliza-bgp-passwords" not found`,
		`{"passwordSecret":{"name":"tor"}}`:                                     `{"passwordSecret":{"name":"tor"}}`,
		`node n1 answers for 2001:db8::1, port 7946`:                            `node n1 answers for 2001:db8::1, port 7946`,
		`secretName: baliza-membership`:                                         `secretName: baliza-membership`,
		`baliza_speaker_addresses_held{family="ipv4"} 3`:                        `baliza_speaker_addresses_held{family="ipv4"} 3`,
	} {
		b := bundle.New("", "S3same.here")
		b.Text("a.log", []byte(line))
		var archive bytes.Buffer
		if err := b.Write(&archive, "dump", time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
		if got := unpack(t, &archive)["dump/a.log"]; got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", line, got, want)
		}
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	b := bundle.New()
	b.Text("logs/n1.log", nil)
	b.Missing("leases", errors.New("you may not list leases"))
	var archive bytes.Buffer
	if err := b.Write(&archive, "dump", time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	readme := unpack(t, &archive)["dump/README.txt"]
	if !strings.Contains(readme, "\nlogs/n1.log\n") || !strings.Contains(readme, "Not there:\nleases: you may not list leases\n") {
		t.Error(readme)
	}
}
