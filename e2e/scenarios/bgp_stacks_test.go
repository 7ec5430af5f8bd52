package scenarios

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/e2e/cluster"
	"github.com/baliza-lb/baliza/e2e/lab"
)

var updateDocs = flag.Bool("update", false, "write the table of docs/bgp.md that follows from the runs")

// Features that a router of each make is asked for, in the order of the table.
const (
	bothFamilies = "both families over one session"
	refreshed    = "route refresh (RFC 2918)"
	editedInSitu = "edit of the peer in place"
	editedInARow = "edits that need a new session, in a row"
	heldTime     = "hold timer, and back"
	notified     = "the router's words in the status (RFC 9003)"
	passworded   = "password (TCP MD5, RFC 2385)"
	longNumbers  = "4-byte AS number (RFC 6793)"
	keptRoutes   = "graceful restart (RFC 4724)"
)

func stackFeatures() []string {
	return []string{bothFamilies, passworded, longNumbers, refreshed, editedInSitu, editedInARow, heldTime, notified, keptRoutes}
}

// stackTable is what the runs showed: feature, make, cell.
type stackTable struct {
	mu    sync.Mutex
	cells map[string]map[string]string
}

func (s *stackTable) note(feature, kind, cell string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cells[feature] == nil {
		s.cells[feature] = map[string]string{}
	}
	s.cells[feature][kind] = cell
}

// text is the table as docs/bgp.md has it.
func (s *stackTable) text() string {
	var out strings.Builder
	out.WriteString("| |")
	for _, kind := range cluster.Makes() {
		fmt.Fprintf(&out, " %s |", kind)
	}
	out.WriteString("\n|" + strings.Repeat(" --- |", len(cluster.Makes())+1) + "\n")
	for _, feature := range stackFeatures() {
		fmt.Fprintf(&out, "| %s |", feature)
		for _, kind := range cluster.Makes() {
			fmt.Fprintf(&out, " %s |", s.cells[feature][kind])
		}
		out.WriteString("\n")
	}
	return out.String()
}

// The table stands between these lines of docs/bgp.md.
const (
	docsPage   = "../../docs/bgp.md"
	tableBegin = "<!-- table of TestB18, written with -update -->\n"
	tableEnd   = "<!-- end of the table -->\n"
)

// check compares the table with the one in docs/bgp.md, or writes it there.
func (s *stackTable) check(t *testing.T) {
	t.Helper()
	page, err := os.ReadFile(docsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), tableBegin)
	table, after, complete := strings.Cut(rest, tableEnd)
	switch {
	case !found || !complete:
		t.Fatalf("%s has no place for the table", docsPage)
	case table == s.text():
	case *updateDocs:
		if err := os.WriteFile(docsPage, []byte(before+tableBegin+s.text()+tableEnd+after), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of %s is not what the runs showed (-update writes it):\n%s", docsPage, s.text())
	}
}

// stacked is a plot announced by n1 to a router of any make.
type stacked struct {
	*plot
	router *cluster.Stack
	v4, v6 netip.Addr
}

// B18: what FRR and BIRD are shown to do in scenarios of their own, routers of each
// make do: the table in docs/bgp.md is what this run shows. A make that has no way
// to do something says so in its cell; anything else that is not there fails.
func TestB18_Routers_of_every_make(t *testing.T) {
	table := &stackTable{cells: map[string]map[string]string{}}
	complete := true
	for _, kind := range cluster.Makes() {
		complete = t.Run(kind, func(t *testing.T) {
			t.Run("plain", func(t *testing.T) { plainStack(t, table, kind) })
			t.Run("secured", func(t *testing.T) { securedStack(t, table, kind) })
		}) && complete
	}
	for _, feature := range stackFeatures() {
		for _, kind := range cluster.Makes() {
			complete = complete && table.cells[feature][kind] != ""
		}
	}
	if complete || *updateDocs { // -run may have picked some
		table.check(t)
	}
}

// newStack makes a router of a kind on c2, n1's session with it, and a Service.
func newStack(t *testing.T, kind string, config cluster.StackConfig, change func(*v1beta1.BGPPeerSpec)) (context.Context, *stacked) {
	t.Helper()
	ctx, c := shared(t)
	i := plots.Add(1)
	p := &stacked{plot: &plot{Cluster: c, t: t, name: fmt.Sprintf("plot-%d", i)}}
	t.Cleanup(p.clear)
	p.must(c.Web(ctx, p.name, 1))
	block := int(i) % 16
	p.must(c.Pool(ctx, p.name, []string{fmt.Sprintf("203.0.113.%d/28", block*16), fmt.Sprintf("2001:db8:5:0:%x::/124", block)}, p.name))
	p.must(c.AdvertiseBGP(ctx, p.name, nil, p.name))
	if config.ASN == 0 {
		config.ASN = cluster.ClusterASN
	}
	var err error
	p.router, err = c.Stack(ctx, kind, "c2", config, "n1")
	p.must(err)
	t.Cleanup(func() { p.router.Stop(context.Background()) })
	p.must(c.Peer(ctx, p.name, p.router.Host.IPv4.String(), func(s *v1beta1.BGPPeerSpec) {
		s.NodeSelectors, s.HoldTime = onlyN1, &metav1.Duration{Duration: 9 * time.Second}
		if change != nil {
			change(s)
		}
	}))
	p.v4, p.v6 = p.made(ctx, "web", nil)
	return ctx, p
}

// knows waits until the router has the paths to both addresses, by way of n1.
func (p *stacked) knows(ctx context.Context) {
	p.t.Helper()
	for a, hop := range map[netip.Addr]string{p.v4: nodes4[0], p.v6: nodes6[0]} {
		err := lab.WaitFor(ctx, fmt.Sprintf("the router to know %s by way of %s", a, hop), func() (bool, error) {
			return p.router.Knows(ctx, cluster.HostPrefix(a), hop)
		})
		if err != nil {
			out, _ := p.Kubectl(context.WithoutCancel(ctx), "get", "speaker/n1", "-o", "jsonpath={.status.bgp}")
			p.t.Fatalf("%v; the speaker says %s", err, out)
		}
	}
}

// never fails if the router is without the path to the IPv4 address at any moment
// while something is done.
func (p *stacked) never(ctx context.Context, do func()) {
	p.t.Helper()
	done := make(chan struct{})
	missed := make(chan int, 1)
	go func() {
		count := 0
		for {
			select {
			case <-done:
				missed <- count
				return
			case <-time.After(20 * time.Millisecond):
			}
			if knows, err := p.router.Knows(ctx, cluster.HostPrefix(p.v4), nodes4[0]); err == nil && !knows {
				count++
			}
		}
	}()
	do()
	close(done)
	if count := <-missed; count > 0 {
		p.t.Errorf("the router was without the path %d times", count)
	}
}

// feature runs one, and notes what came of it.
func (p *stacked) feature(t *testing.T, table *stackTable, feature, kind string, show func(p *stacked) string) {
	t.Helper()
	cell := "no"
	t.Run(feature, func(t *testing.T) {
		inner := *p.plot
		inner.t = t
		cell = show(&stacked{plot: &inner, router: p.router, v4: p.v4, v6: p.v6})
		if t.Failed() {
			cell = "no"
		}
	})
	table.note(feature, kind, cell)
}

// What a cell says.
const (
	cellYes     = "yes"
	cellNoWords = "yes, without words of its own"
	cellNoTable = "it keeps no routes"
	// GoBGP answers a refresh, and sends none.
	cellNeverAsks = "it never asks for one"
	// OpenBGPD's port to Linux takes the setting and gives its socket no key.
	cellNoKeys = "it knows none on Linux"
)

func plainStack(t *testing.T, table *stackTable, kind string) {
	ctx, p := newStack(t, kind, cluster.StackConfig{}, nil)
	p.feature(t, table, bothFamilies, kind, func(p *stacked) string { p.knows(ctx); return cellYes })
	p.feature(t, table, refreshed, kind, func(p *stacked) string {
		before := p.updates(ctx)
		asked := true
		p.never(ctx, func() {
			var err error
			asked, err = p.router.Refresh(ctx)
			p.must(err)
			if !asked {
				return
			}
			p.must(lab.WaitFor(ctx, "UPDATEs in answer to the refresh", func() (bool, error) { return p.updates(ctx) > before, nil }))
			time.Sleep(cluster.Settle)
		})
		p.knows(ctx)
		if !asked {
			return cellNeverAsks
		}
		return cellYes
	})
	p.feature(t, table, editedInSitu, kind, func(p *stacked) string {
		since := p.since(ctx)
		p.never(ctx, func() {
			p.patch(ctx, "peer", map[string]any{"connectTime": "2s", "keepaliveTime": "2s"})
			time.Sleep(2 * cluster.Settle)
		})
		if now := p.since(ctx); now != since {
			p.t.Errorf("the session is of %s; it was of %s before the edit", now, since)
		}
		p.knows(ctx)
		return cellYes
	})
	if kind != cluster.ExaBGP { // its command for a shutdown ends no session that came after such edits
		p.feature(t, table, editedInARow, kind, func(p *stacked) string { return p.editInARow(ctx) })
	}
	p.feature(t, table, heldTime, kind, func(p *stacked) string {
		p.must(p.router.Freeze(true))
		p.session(ctx, "n1", p.name, "lost by the hold timer", func(s *v1beta1.BGPSession) bool {
			return !isUp(s) && strings.Contains(s.LastError, "hold timer")
		})
		p.must(p.router.Freeze(false))
		p.session(ctx, "n1", p.name, "established again", isUp)
		p.knows(ctx)
		return cellYes
	})
	p.feature(t, table, notified, kind, func(p *stacked) string {
		const words = "maintenance-til-noon"
		said, err := p.router.Shut(ctx, words)
		p.must(err)
		p.session(ctx, "n1", p.name, "ended by the router", func(s *v1beta1.BGPSession) bool {
			return !isUp(s) && strings.Contains(s.LastError, "administrative shutdown") && (!said || strings.Contains(s.LastError, words))
		})
		if !said { // it takes the next session at once
			return cellNoWords
		}
		time.Sleep(2 * cluster.Settle) // attempts to connect end otherwise
		soon, cancel := context.WithTimeout(ctx, 2*cluster.Settle)
		defer cancel()
		p.session(soon, "n1", p.name, "ended by the router, still", func(s *v1beta1.BGPSession) bool { return strings.Contains(s.LastError, words) })
		return cellYes
	})
}

// editInARow makes an edit that needs a new session, takes it back, and so on. No
// router makes the node wait for that, as one that damps peers would, for a minute.
func (p *stacked) editInARow(ctx context.Context) string {
	p.t.Helper()
	const damped = 30 * time.Second // is the least that OpenBGPD makes a peer wait
	sessions := func() int { return p.counted(ctx, "n1", "baliza_speaker_bgp_sessions_established_total", p.name) }
	for _, hold := range []string{"12s", "9s", "12s", "9s"} {
		before := sessions()
		p.patch(ctx, "peer", map[string]any{"holdTime": hold})
		soon, cancel := context.WithTimeout(ctx, damped*2/3)
		p.must(lab.WaitFor(soon, "a new session with holdTime "+hold, func() (bool, error) { return sessions() > before, nil }))
		p.knows(soon)
		cancel()
	}
	return cellYes
}

// updates is how many the speaker of n1 has sent to the peer.
func (p *stacked) updates(ctx context.Context) int {
	p.t.Helper()
	return p.counted(ctx, "n1", "baliza_speaker_bgp_updates_sent_total", p.name)
}

// since is when n1's session with the peer was established.
func (p *stacked) since(ctx context.Context) string {
	p.t.Helper()
	p.session(ctx, "n1", p.name, "established", isUp)
	out, err := p.Kubectl(ctx, "get", "speaker/n1", "-o", `jsonpath={.status.bgp.peers[?(@.name=="`+p.name+`")].since}`)
	p.must(err)
	return out
}

func securedStack(t *testing.T, table *stackTable, kind string) {
	const asn, password = 4200000001, "opensesame"
	ctx, p := newStack(t, kind, cluster.StackConfig{ASN: asn, Password: password, GracefulRestart: true}, func(s *v1beta1.BGPPeerSpec) {
		s.MyASN, s.Password, s.EnableGracefulRestart = asn, "guess", true
	})
	p.feature(t, table, passworded, kind, func(p *stacked) string {
		p.session(ctx, "n1", p.name, "refused", func(s *v1beta1.BGPSession) bool {
			return !isUp(s) && strings.Contains(s.LastError, "the same password?")
		})
		if kind == cluster.OpenBGPD {
			p.patch(ctx, "peer", map[string]any{"password": nil})
			p.knows(ctx) // although it was given a password
			return cellNoKeys
		}
		p.patch(ctx, "peer", map[string]any{"password": password})
		p.knows(ctx)
		return cellYes
	})
	p.feature(t, table, longNumbers, kind, func(p *stacked) string {
		out, err := p.router.Show(ctx, cluster.HostPrefix(p.v4))
		p.must(err)
		if kind != cluster.ExaBGP && !strings.Contains(out, "4200000001") {
			p.t.Errorf("the path has not the number: %s", out)
		}
		p.session(ctx, "n1", p.name, "established", isUp)
		return cellYes
	})
	p.feature(t, table, keptRoutes, kind, func(p *stacked) string {
		if kind == cluster.ExaBGP {
			return cellNoTable
		}
		began := time.Now()
		p.never(ctx, func() {
			p.must(p.Signal(p.speakerOf("n1").Name, unix.SIGKILL))
			p.session(ctx, "n1", p.name, "established anew", func(s *v1beta1.BGPSession) bool { return isUp(s) && s.Since.After(began) })
			time.Sleep(cluster.Settle)
		})
		p.knows(ctx)
		return cellYes
	})
}
