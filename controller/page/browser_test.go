//go:build browser

package page

import (
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/explain"
)

// These run in a real Chromium: "make test-page". AXE is the file axe.min.js of the npm
// package axe-core; SCREENSHOTS is a folder, if pictures for the documents are wanted.

// served is a page whose world can be changed.
func served(t *testing.T, objects func() explain.Objects) (url string, change func(func() explain.Objects)) {
	t.Helper()
	var present atomic.Pointer[func() explain.Objects]
	present.Store(&objects)
	s, err := New(Options{
		Objects: func() explain.Objects { return (*present.Load())() }, Now: moving(), Replica: "baliza-controller-7d4",
		Leader: func() string { return "baliza-controller-7d4" },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server.URL, func(next func() explain.Objects) {
		present.Store(&next)
		s.Changed()
	}
}

// moving is a clock that began when the worlds are.
func moving() func() time.Time {
	began := time.Now()
	return func() time.Time { return now().Add(time.Since(began)) }
}

// What changes is seen without reloading, and what the viewer does is not disturbed.
func TestAChangeIsSeenWithoutFlicker(t *testing.T) {
	url, change := served(t, healthy)
	p := chromium(t)
	p.device(1200, 500, "light")
	p.open(url + "/")
	p.until(`document.getElementById("live").textContent.includes("as it changes")`)
	if got := p.eval(`document.querySelector(".verdict strong").textContent`); got != "OK" {
		t.Fatal(got)
	}
	p.eval(`window.heading = document.querySelector("h1"), document.querySelector("tbody a").focus(), window.scrollTo(0, 60)`)
	change(broken)
	t.Logf("seen after %s", p.until(`document.querySelector(".verdict strong").textContent === "Wrong"`))
	for what, expression := range map[string]string{
		"the page is the same": `window.heading === document.querySelector("h1")`,
		"the focus stays":      `document.activeElement.matches("tbody a")`,
		"and where it is":      `window.scrollY === 60`,
		"links are drawn":      `document.querySelectorAll("path.unheard").length === 2`,
		"nothing ran":          `document.querySelectorAll("main script, main img").length === 0`,
	} {
		if p.eval(expression) != "true" {
			t.Errorf("%s: it is not so", what)
		}
	}
	change(healthy)
	p.until(`document.querySelector(".verdict strong").textContent === "OK"`)
	for _, complaint := range p.complaints() {
		t.Error(complaint)
	}
}

// Ten thousand Services are filtered as one types, and the typing goes on.
func TestServicesAreFilteredAsOneTypes(t *testing.T) {
	url, _ := served(t, large)
	p := chromium(t)
	p.open(url + "/services")
	p.until(`document.querySelectorAll("tbody tr").length === 200`)
	p.eval(`document.getElementById("q").focus()`)
	p.do("Input.insertText", map[string]any{"text": "shop/s-999"})
	t.Logf("filtered after %s", p.until(`document.querySelectorAll("tbody tr").length === 11`))
	p.do("Input.insertText", map[string]any{"text": "9"})
	p.until(`document.querySelectorAll("tbody tr").length === 1`)
	for what, expression := range map[string]string{
		"typing goes on":         `document.activeElement.id === "q" && document.activeElement.value === "shop/s-9999"`,
		"the address is of that": `location.search === "?q=shop%2Fs-9999"`,
	} {
		if p.eval(expression) != "true" {
			t.Errorf("%s: it is not so", what)
		}
	}
	p.do("Page.reload", nil)
	p.until(`document.readyState === "complete" && document.querySelectorAll("tbody tr").length === 1`)
	for _, complaint := range p.complaints() {
		t.Error(complaint)
	}
}

// The pages of each world are for everybody, in both sets of colors and on a narrow
// screen, as far as axe can say; on that no page is wider than the screen.
func TestThePagesAreAccessible(t *testing.T) {
	axe, err := os.ReadFile(os.Getenv("AXE"))
	if err != nil {
		t.Fatalf("AXE: %v", err)
	}
	p := chromium(t)
	for world, paths := range goldens {
		url, _ := served(t, worlds()[world])
		for _, path := range paths {
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int{1200, 360} {
					p.device(width, 900, scheme)
					p.open(url + path)
					p.eval(string(axe) + "; 0")
					if p.eval(`axe.run({runOnly: ["th-has-data-cells", "color-contrast", "html-has-lang"]}).then((r) => r.passes.length > 1)`) != "true" {
						t.Fatalf("%s%s: axe looked at nothing", world, path)
					}
					found := p.eval(`axe.run().then((r) => JSON.stringify(r.violations.map((v) => [v.id, v.help, v.nodes.map((n) => n.html + " " + n.failureSummary)])))`)
					var violations []any
					if err := json.Unmarshal([]byte(found), &violations); err != nil {
						t.Fatal(err)
					}
					if len(violations) > 0 {
						t.Errorf("%s%s, %s, %d wide: %s", world, path, scheme, width, found)
					}
					if p.eval(`document.documentElement.scrollWidth <= innerWidth`) != "true" {
						t.Errorf("%s%s is wider than %d", world, path, width)
					}
				}
			}
		}
	}
}

// Without a script the pages are the same.
func TestThePagesWorkWithoutAScript(t *testing.T) {
	url, _ := served(t, broken)
	p := chromium(t)
	p.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
	p.open(url + "/services?q=new")
	if rows := p.eval(`document.querySelectorAll("tbody tr").length`); rows != "1" {
		t.Errorf("%s rows", rows)
	}
	p.eval(`document.getElementById("q").value = "web", document.getElementById("filter").submit()`)
	p.until(`location.search.includes("q=web") && document.readyState === "complete"`)
	if row := p.eval(`document.querySelector("tbody tr").textContent`); !strings.Contains(row, "shop/web") {
		t.Error(row)
	}
}

// Pictures of the pages, for the documents.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		folder = t.TempDir()
	}
	url, _ := served(t, pictured)
	p := chromium(t)
	for name, shot := range map[string]struct {
		path, scheme  string
		width, height int
	}{
		"overview":      {"/", "light", 1100, 760},
		"overview-dark": {"/", "dark", 1100, 760},
		"services":      {"/services", "light", 1100, 420},
		"pool":          {"/pools/lan", "light", 1100, 520},
		"moves":         {"/moves", "light", 1100, 460},
	} {
		p.device(shot.width, shot.height, shot.scheme)
		p.open(url + shot.path)
		p.until(`document.getElementById("live").textContent.includes("as it changes")`)
		image := p.screenshot()
		if len(image) < 10<<10 {
			t.Errorf("%s: a picture of %d bytes", name, len(image))
		}
		if err := os.WriteFile(filepath.Join(folder, "page-"+name+".png"), image, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// pictured is a cluster with a bit of everything.
func pictured() explain.Objects {
	o := healthy()
	for _, name := range []string{"n4", "n5"} {
		o.Nodes = append(o.Nodes, &corev1.Node{ObjectMeta: named("", name)})
		o.Speakers = append(o.Speakers, speaker(name))
	}
	pool := o.Pools[0]
	pool.Spec.Addresses = []v1beta1.AddressRange{"192.0.2.64/26"}
	pool.Spec.Reservations = []v1beta1.Reservation{{Addresses: []v1beta1.ReservedAddresses{"192.0.2.112-192.0.2.119"}, Namespace: "shop"}}
	pool.Status.Quarantined = []v1beta1.QuarantinedAddress{{Address: "192.0.2.93", MAC: "00:00:5e:00:53:99", Since: ago(time.Hour)}}
	o.Resting = []netip.Addr{netip.MustParseAddr("192.0.2.91"), netip.MustParseAddr("192.0.2.92")}
	o.Services = nil
	up := ago(3 * time.Hour)
	for _, s := range o.Speakers {
		s.Status.Held, s.Status.HeldCount, s.Status.Moves, s.Status.MembersAlive = nil, 0, nil, 5
		s.Status.BGP = &v1beta1.BGPReport{AnnouncedCount: 27, Peers: []v1beta1.BGPSession{
			{Name: "rack-a", Address: "192.0.2.1", PeerASN: 64501, State: explain.Established, Since: &up, BFD: "Up", RoutesSent: 27},
			{Name: "rack-b", Address: "192.0.2.2", PeerASN: 64501, State: explain.Established, Since: &up, BFD: "Up", RoutesSent: 27},
		}}
	}
	for i, name := range []string{
		"cart", "checkout", "search", "login", "mail", "images", "metrics", "queue", "chat", "video", "feed", "wiki", "git", "registry", "ldap",
		"dns", "proxy", "billing", "reports", "cache", "voice", "maps", "backup", "print", "time", "door", "lights",
	} {
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(64 + i)}).String()
		o.Services = append(o.Services, service(name, a))
		if s := o.Speakers[i%4]; name != "video" {
			hold(s, a, "shop/"+name)
		}
	}
	for _, s := range o.Speakers[:3] {
		s.Status.Unreachable = []v1beta1.UnreachableSpeaker{{Name: "n5", Since: ago(40 * time.Second)}}
	}
	o.Speakers[3].Status.BGP.Peers[1].State, o.Speakers[3].Status.BGP.Peers[1].LastError = "Active", "hold timer expired"
	for i, cause := range []v1beta1.MoveCause{
		v1beta1.MoveAssigned, v1beta1.MoveNodeDrained, v1beta1.MoveNodeFailed, v1beta1.MoveNodeFailed, v1beta1.MoveRebalanced, v1beta1.MoveAssigned, v1beta1.MoveNodeFailed,
	} {
		o.Speakers[i%4].Status.Moves = append(o.Speakers[i%4].Status.Moves, v1beta1.AddressMove{
			Time: metav1.NewMicroTime(now().Add(-time.Duration(55-i*8) * time.Minute)), Address: "192.0.2." + []string{"70", "71", "72", "73"}[i%4],
			From: map[bool]string{true: "", false: "n5"}[cause == v1beta1.MoveAssigned], To: o.Speakers[i%4].Name, Cause: cause,
			UnownedMilliseconds: map[bool]int64{true: 90}[cause == v1beta1.MoveNodeFailed],
		})
	}
	return o
}
