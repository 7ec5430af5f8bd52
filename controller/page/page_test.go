package page

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/baliza-lb/baliza/cli/explain"
)

var update = flag.Bool("update", false, "write the expected pages anew")

// goldens are pages of worlds.
var goldens = map[string][]string{
	"empty":   {"/", "/services", "/pools", "/moves", "/peers", "/nodes"},
	"healthy": {"/", "/services", "/services/shop/web", "/addresses/192.0.2.10", "/pools", "/pools/lan", "/moves", "/nodes/n1"},
	"broken": {
		"/", "/services", "/services?q=new", "/services/shop/mail", "/services/shop/new", "/addresses/192.0.2.13", "/pools/lan", "/peers", "/nodes", "/nodes/n2",
		"/nothing", "/services/shop/nothing",
	},
}

func worlds() map[string]func() explain.Objects {
	return map[string]func() explain.Objects{"empty": empty, "healthy": healthy, "broken": broken, "large": large}
}

func TestPagesAreThoseExpected(t *testing.T) {
	for world, paths := range goldens {
		handler := serverOf(t, worlds()[world]).Handler()
		for _, path := range paths {
			name := world + strings.NewReplacer("/", "-", "?", "-", "=", "-").Replace(path)
			t.Run(name, func(t *testing.T) {
				got := get(t, handler, path).Body.String()
				file := filepath.Join("testdata", strings.TrimSuffix(name, "-")+".html")
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s is not %s (go test -update writes it, read it then):\n%s", path, file, got)
				}
			})
		}
	}
}

// Every page that a page leads to is there, is well formed, is for everybody, has
// nothing of a Secret, and may load nothing from elsewhere.
func TestEveryPageThatALinkLeadsToIsSound(t *testing.T) {
	for name, objects := range worlds() {
		t.Run(name, func(t *testing.T) {
			handler := serverOf(t, objects).Handler()
			const most = 300
			seen, next := map[string]bool{}, []string{"/", "/nothing", "/services/a/b"}
			for len(next) > 0 && len(seen) < most {
				path := next[0]
				if next = next[1:]; seen[path] {
					continue
				}
				seen[path] = true
				w := get(t, handler, path)
				body := w.Body.String()
				if missing := path == "/nothing" || path == "/services/a/b"; w.Code != http.StatusOK && !missing {
					t.Errorf("%s: %d", path, w.Code)
				}
				if got := w.Header().Get("Content-Security-Policy"); got != contentSecurityPolicy {
					t.Errorf("%s: policy %q", path, got)
				}
				if strings.Contains(body, secret) {
					t.Errorf("%s has a Secret's content", path)
				}
				if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
					continue
				}
				for _, flaw := range flaws(body) {
					t.Errorf("%s: %s", path, flaw)
				}
				next = append(next, links(body)...)
			}
			t.Logf("%d pages", len(seen))
		})
	}
}

// The checks of the test above find what they are for.
func TestFlawsAreFound(t *testing.T) {
	for page, want := range map[string]string{
		"<h1>a</h1><p>":                                   "not closed",
		"<h1>a</h1><p></div></p>":                         "</div>",
		"<h1>a</h1><table><tr><th>a</th></tr></table>":    "scope",
		`<h1>a</h1><p style="color:red"></p>`:             "style",
		`<h1 onclick="f()">a</h1>`:                        "onclick",
		"<h1>a</h1><script>f()</script>":                  "a script",
		`<h1>a</h1><a href="javascript:f()">a</a>`:        "elsewhere",
		`<h1>a</h1><a href="//example.org">a</a>`:         "elsewhere",
		`<h1>a</h1><p id="a"></p><p id="a"></p>`:          "twice",
		`<h1>a</h1><input id="q">`:                        "no label",
		"<h1>a</h1><svg></svg>":                           "without a name",
		"<p></p>":                                         "headings",
		"<h1>" + strings.Repeat("a", mostBytes) + "</h1>": "bytes",
	} {
		if got := strings.Join(flaws(page), "; "); !strings.Contains(got, want) {
			t.Errorf("%.60s: %q, want %q", page, got, want)
		}
	}
}

func TestServicesAreFilteredAndPaged(t *testing.T) {
	handler := serverOf(t, large).Handler()
	rows := func(path string) int {
		return strings.Count(get(t, handler, path).Body.String(), `<tr><th scope="row">`)
	}
	for path, want := range map[string]int{
		"/services": rowsOnAPage, "/services?page=50": rowsOnAPage, "/services?page=51": rowsOnAPage, "/services?page=-1": rowsOnAPage,
		"/services?q=shop/s-77+N2": 36, "/services?q=198.18.0.1+s-0": 1, "/services?state=Pending": 0, "/services?q=nothing": 0, "/services?state=Announced&page=2": rowsOnAPage,
	} {
		if got := rows(path); got != want {
			t.Errorf("%s: %d rows, want %d", path, got, want)
		}
	}
	if body := get(t, handler, "/services?q=s-1&page=2").Body.String(); !strings.Contains(body, "/services?page=3&amp;q=s-1") {
		t.Error("the next piece of a filtered list is not a piece of that")
	}
}

func TestOnlyReadingIsAnsweredAndOnlyByItsNames(t *testing.T) {
	handler := serverOf(t, healthy).Handler()
	for name, test := range map[string]struct {
		method, host string
		want         int
	}{
		"by address":              {http.MethodGet, "127.0.0.1:7475", http.StatusOK},
		"by address of the other": {http.MethodGet, "[::1]:7475", http.StatusOK},
		"by address without port": {http.MethodGet, "[2001:db8::1]", http.StatusOK},
		"by localhost":            {http.MethodHead, "localhost:7475", http.StatusOK},
		"by a name it goes by":    {http.MethodGet, "balance.example.org", http.StatusOK},
		"by another":              {http.MethodGet, "attacker.example.net:7475", http.StatusMisdirectedRequest},
		"a name before its own":   {http.MethodGet, "localhost.example.net", http.StatusMisdirectedRequest},
		"no name":                 {http.MethodGet, "", http.StatusMisdirectedRequest},
		"a write":                 {http.MethodPost, "localhost", http.StatusMethodNotAllowed},
		"a deletion":              {http.MethodDelete, "localhost", http.StatusMethodNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), test.method, "/", http.NoBody)
			r.Host = test.host
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != test.want || w.Header().Get("Content-Security-Policy") != contentSecurityPolicy {
				t.Errorf("%d, policy %q", w.Code, w.Header().Get("Content-Security-Policy"))
			}
			if test.method == http.MethodHead && w.Body.Len() > 0 {
				t.Error("HEAD has a body")
			}
		})
	}
}

func TestAPageThatIsTheSameIsNotSentAgain(t *testing.T) {
	handler := serverOf(t, healthy).Handler()
	tag := get(t, handler, "/services").Header().Get("ETag")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/services", http.NoBody)
	r.Host = "localhost"
	r.Header.Set("If-None-Match", tag)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if tag == "" || w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("tag %s: %d, %d bytes", tag, w.Code, w.Body.Len())
	}
}

func TestAddressesOfThePageAreChecked(t *testing.T) {
	for address, well := range map[string]bool{
		"127.0.0.1:7475": true, ":7475": true, "[::1]:7475": true, "192.0.2.1:80": true,
		"7475": false, "localhost:7475": false, "127.0.0.1": false, "127.0.0.1:": false,
	} {
		if err := CheckAddress(address); (err == nil) != well {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// What is asked for never becomes part of the page but as text.
func FuzzQuery(f *testing.F) {
	f.Add("web n1", "Pending", "2", "shop", "web")
	f.Add(script, `"><script>`, "-1", "../..", "%00")
	f.Add("\xff\xfe", "javascript:alert(1)", "9999999999999999999", "//example.org", "'onload='x")
	s, err := New(Options{Objects: broken, Now: now})
	if err != nil {
		f.Fatal(err)
	}
	handler := s.Handler()
	f.Fuzz(func(t *testing.T, q, state, page, namespace, name string) {
		for _, path := range []string{
			"/services?" + url.Values{"q": {q}, "state": {state}, "page": {page}}.Encode(),
			"/services/" + url.PathEscape(namespace) + "/" + url.PathEscape(name),
			"/addresses/" + url.PathEscape(name), "/pools/" + url.PathEscape(name), "/nodes/" + url.PathEscape(name), "/moves?page=" + url.QueryEscape(page),
		} {
			w := get(t, handler, path)
			if w.Header().Get("Content-Security-Policy") != contentSecurityPolicy {
				t.Errorf("%q has no policy", path)
			}
			if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || w.Code >= 300 && w.Code < 400 {
				continue
			}
			for _, flaw := range flaws(w.Body.String()) {
				t.Errorf("%q: %s", path, flaw)
			}
		}
	})
}
