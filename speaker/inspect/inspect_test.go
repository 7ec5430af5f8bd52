package inspect_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/config"
	"github.com/baliza-lb/baliza/speaker/inspect"
	"github.com/baliza-lb/baliza/speaker/l2"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/node"
)

// network is one that does not exist.
type network struct {
	mu sync.Mutex
	// answers are the MACs that answer on an interface, each after as many
	// milliseconds as the place it has.
	answers map[string][]model.MAC
	asked   []string
	shaken  []string
	slow    time.Duration
}

func (n *network) wire() inspect.Wire {
	return inspect.Wire{
		Resolve: func(from l2.Asker, target netip.Addr, _ time.Duration) ([]l2.Reply, error) {
			time.Sleep(n.slow)
			n.mu.Lock()
			defer n.mu.Unlock()
			n.asked = append(n.asked, from.Name+" "+target.String())
			if from.Name == "broken0" {
				return nil, errors.New("interface broken0: network is down")
			}
			var all []l2.Reply
			for i, mac := range n.answers[from.Name] {
				all = append(all, l2.Reply{MAC: mac, After: time.Duration(i+1) * time.Millisecond})
			}
			return all, nil
		},
		Handshake: func(from l2.Asker, mac model.MAC, to netip.AddrPort, _ time.Duration) (model.Handshake, time.Duration, error) {
			n.shaken = append(n.shaken, fmt.Sprintf("%s %s %s", from.Name, mac, to))
			return model.HandshakeAccepted, 1500 * time.Microsecond, nil
		},
	}
}

var (
	mac1 = model.MAC{2, 0, 0, 0, 0, 1}
	mac2 = model.MAC{2, 0, 0, 0, 0, 2}
	mac9 = model.MAC{2, 0, 0, 0, 0, 9}
)

func view() *inspect.View {
	of, _ := config.Build(config.Objects{Pools: []*v1beta1.IPAddressPool{{
		ObjectMeta: metav1.ObjectMeta{Name: "lan"},
		Spec: v1beta1.IPAddressPoolSpec{
			Addresses: []v1beta1.AddressRange{"192.0.2.10-192.0.2.20", "198.51.100.0/24", "2001:db8::/120"}, Excluded: []v1beta1.AddressRange{"192.0.2.15/32"},
		},
	}}})
	asker := func(name string, mac model.MAC, addr string) l2.Asker {
		return l2.Asker{Interface: l2.Interface{Name: name, MAC: net.HardwareAddr(mac[:])}, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}
	}
	return &inspect.View{
		Node: "n1", Config: of, Askers: []l2.Asker{asker("eth0", mac1, "192.0.2.1/24"), asker("eth1", mac1, "203.0.113.1/24")},
		Members: &model.Membership{MACs: map[model.MAC]string{mac2: "n2"}},
	}
}

func ask(t *testing.T, s *inspect.Server, method, target string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, nil))
	return w.Code, w.Body.String()
}

// K02: who has answered, where, how fast, and whose MAC that is.
func TestK02_WhatIsOnTheWireIsSaid(t *testing.T) {
	n := &network{answers: map[string][]model.MAC{"eth0": {mac2, mac9}, "eth1": {mac9}}}
	s := inspect.New(n.wire(), time.Now)
	s.Publish(view())
	code, body := ask(t, s, http.MethodGet, "/probe?address=192.0.2.10&port=80")
	want := `{"address":"192.0.2.10","node":"n1","interfaces":["eth0"],"answers":[` +
		`{"interface":"eth0","mac":"02:00:00:00:00:02","node":"n2","milliseconds":1,"port":80,"handshake":"Accepted","handshakeMilliseconds":1.5},` +
		`{"interface":"eth0","mac":"02:00:00:00:00:09","milliseconds":2,"port":80,"handshake":"Accepted","handshakeMilliseconds":1.5}]}` + "\n"
	if code != http.StatusOK || body != want {
		t.Errorf("%d %s\nwant %s", code, body, want)
	}
	if got := strings.Join(n.shaken, ", "); got != "eth0 02:00:00:00:00:02 192.0.2.10:80, eth0 02:00:00:00:00:09 192.0.2.10:80" {
		t.Errorf("connections were begun with %s", got)
	}
}

// K02: an address in no subnet of the node is asked for wherever it is announced, and
// without a port no connection is begun.
func TestK02_AnAddressOfNoSubnetIsAskedForEverywhere(t *testing.T) {
	n := &network{}
	s := inspect.New(n.wire(), time.Now)
	v := view()
	v.Askers[1].Name = "broken0"
	s.Publish(v)
	code, body := ask(t, s, http.MethodGet, "/probe?address=198.51.100.7")
	want := `{"address":"198.51.100.7","node":"n1","interfaces":["eth0","broken0"],"answers":[],"problems":["interface broken0: network is down"]}` + "\n"
	if code != http.StatusOK || body != want {
		t.Errorf("%d %s\nwant %s", code, body, want)
	}
	if len(n.asked) != 2 || len(n.shaken) > 0 {
		t.Errorf("asked %v, connections %v", n.asked, n.shaken)
	}
}

// K02: it is no way in. Whatever is not meant is refused, and asks nobody.
func TestK02_WhatIsNotMeantIsRefused(t *testing.T) {
	for target, want := range map[string]struct {
		method string
		code   int
		says   string
	}{
		"/probe?address=192.0.2.99":                        {code: http.StatusForbidden, says: "192.0.2.99 is of no IPAddressPool"},
		"/probe?address=192.0.2.15":                        {code: http.StatusForbidden, says: "192.0.2.15 is of no IPAddressPool"},
		"/probe?address=127.0.0.1":                         {code: http.StatusBadRequest, says: "loopback"},
		"/probe?address=web":                               {code: http.StatusBadRequest, says: "address: "},
		"/probe":                                           {code: http.StatusBadRequest, says: "address: "},
		"/probe?address=192.0.2.10&port=0":                 {code: http.StatusBadRequest, says: "port: "},
		"/probe?address=192.0.2.10&port=65536":             {code: http.StatusBadRequest, says: "port: "},
		"/probe?address=192.0.2.10&interface=eth1":         {code: http.StatusBadRequest, says: `no parameter "interface"`},
		"/moves?address=web":                               {code: http.StatusBadRequest, says: "address: "},
		"/probe?address=192.0.2.10&port=80&x":              {code: http.StatusBadRequest, says: `no parameter "x"`},
		"/":                                                {code: http.StatusNotFound},
		"/metrics":                                         {code: http.StatusNotFound},
		"/debug/pprof/":                                    {code: http.StatusNotFound},
		"/moves/x":                                         {code: http.StatusNotFound},
		"/moves?address=192.0.2.10":                        {method: http.MethodPost, code: http.StatusMethodNotAllowed, says: "only GET"},
		"/probe?address=192.0.2.10&port=81":                {method: http.MethodPut, code: http.StatusMethodNotAllowed},
		"/probe?address=192.0.2.10&port=82":                {method: http.MethodHead, code: http.StatusMethodNotAllowed},
		"/probe?address=192.0.2.10&port=83&address=::1%25": {method: http.MethodDelete, code: http.StatusMethodNotAllowed},
	} {
		n := &network{}
		s := inspect.New(n.wire(), time.Now)
		s.Publish(view())
		if want.method == "" {
			want.method = http.MethodGet
		}
		code, body := ask(t, s, want.method, target)
		if code != want.code || !strings.Contains(body, want.says) || len(n.asked) > 0 {
			t.Errorf("%s %s: %d %q, asked %v, want %d %q", want.method, target, code, body, n.asked, want.code, want.says)
		}
	}
	if code, body := ask(t, inspect.New(inspect.Wire{}, time.Now), http.MethodGet, "/probe?address=192.0.2.10"); code != http.StatusServiceUnavailable {
		t.Errorf("before anything is known: %d %s", code, body)
	}
}

// K02: one probe at a time, and a few each second.
func TestK02_ProbesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{slow: time.Second}
		s := inspect.New(n.wire(), time.Now)
		s.Publish(view())
		const target = "/probe?address=192.0.2.10"
		time.Sleep(time.Second)
		var group sync.WaitGroup
		codes := make(chan int, 50)
		for range cap(codes) {
			group.Go(func() {
				code, _ := ask(t, s, http.MethodGet, target)
				codes <- code
			})
		}
		group.Wait()
		close(codes)
		counts := map[int]int{}
		for code := range codes {
			counts[code]++
		}
		if counts[http.StatusOK] != 1 || counts[http.StatusTooManyRequests] != cap(codes)-1 || len(n.asked) != 1 {
			t.Errorf("at once: %v, asked %d times", counts, len(n.asked))
		}
		if code, body := ask(t, s, http.MethodGet, target); code != http.StatusTooManyRequests || !strings.Contains(body, "a few each second") {
			t.Errorf("right after: %d %s", code, body)
		}
		time.Sleep(200 * time.Millisecond)
		if code, body := ask(t, s, http.MethodGet, target); code != http.StatusOK {
			t.Errorf("later: %d %s", code, body)
		}
	})
}

func TestMovesAreServed(t *testing.T) {
	s := inspect.New(inspect.Wire{}, time.Now)
	v := view()
	s.Publish(v)
	if code, body := ask(t, s, http.MethodGet, "/moves"); code != http.StatusOK || body != "[]\n" {
		t.Errorf("%d %q", code, body)
	}
	at := time.Date(2026, 5, 1, 12, 0, 0, 123456000, time.UTC)
	w := *v
	w.Moves = []node.Move{
		{At: at, Address: netip.MustParseAddr("192.0.2.11"), To: "n1", Cause: v1beta1.MoveAssigned},
		{At: at, Address: netip.MustParseAddr("192.0.2.10"), From: "n2", To: "n1", Cause: v1beta1.MoveNodeFailed, Unowned: 85 * time.Millisecond},
	}
	s.Publish(&w)
	want := `[{"time":"2026-05-01T12:00:00.123456Z","address":"192.0.2.10","from":"n2","to":"n1","cause":"NodeFailed","unownedMilliseconds":85}]` + "\n"
	if code, body := ask(t, s, http.MethodGet, "/moves?address=192.0.2.10"); code != http.StatusOK || body != want {
		t.Errorf("%d %s\nwant %s", code, body, want)
	}
	_, body := ask(t, s, http.MethodGet, "/moves")
	var all []v1beta1.AddressMove
	if err := json.Unmarshal([]byte(body), &all); err != nil || len(all) != 2 || all[0].Address != "192.0.2.11" {
		t.Errorf("%v: %s", err, body)
	}
}

// K02: nothing but a loopback address is listened on.
func TestK02_TheEndpointIsOnLoopbackAlone(t *testing.T) {
	for address, well := range map[string]bool{
		"127.0.0.1:7474": true, "[::1]:7474": true, "127.9.9.9:1": true,
		":7474": false, "0.0.0.0:7474": false, "[::]:7474": false, "192.0.2.1:7474": false, "localhost:7474": false, "7474": false,
	} {
		if err := inspect.CheckAddress(address); (err == nil) != well {
			t.Errorf("%s: %v", address, err)
		}
	}
}
