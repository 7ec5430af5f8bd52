package sim

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/speaker/members/detection"
	"github.com/baliza-lb/baliza/speaker/model"
	"github.com/baliza-lb/baliza/speaker/plan"
)

// script runs a world from text. Each line is a command; "#" begins a comment.
// After "owners", "answers" and "loads" stands what they found, as lines that
// begin with ">".
//
//	nodes N [second]       (a second network for the speakers)   clients N   profile NAME   delay D JITTER   loss PERCENT
//	services N [per-client] [local NODE]    services at ADDRESS…    interfaces NAME…   (of the advertisement)   delete ADDRESS…
//	start [NODE…]  kill NODE…  leave NODE…  restart NODE…  freeze NODE D   clock NODE D
//	cable NODE NETWORK out|in     cut|mute|deaf NODE NETWORK      join NODE NETWORK
//	isolate NETWORK A B    partition NETWORK A,B C    heal
//	block NODE udp|frames     overflow NODE PERCENT     allow NODE
//	hold NODE NETWORK D [NODE]    (what has come, of one or of all, waits)
//	api NODE cut|lag D|back      drain NODE    undrain NODE     pod NODE (where the endpoints of local Services are)
//	prefer ADDRESS [NODE] (that its Service names)
//	sockets NODE refuse|open     readdress NODE NETWORK         keys NODE KEY…
//	ipv6 NODE (has it, too)     proxy NODE later D (when it has its rules)    speaker NODE claims ADDRESS N (forged, fifty a second)
//	host NAME has|loses|claims ADDRESS        node NODE has ADDRESS (its kernel)
//	record NODE on|off     replay NODE (what it sent then, by somebody else)
//	run D
//	owners | loads | answers ADDRESS…         (shown)
//	moves          what the speakers remember of moves, since the last time (shown)
//	one            exactly one answers for each address, and the clients know it
//	one within D   the same, and no later
//	note           remembers who owns what
//	same [NODE…]   nobody else has what was noted, but for what these nodes had
//	balance N      nobody has more than N percent of the mean
//	nodes know each other       each node reaches the others' own addresses
//	never NODE                  it owns nothing
//	forwarding                  every owner's proxy has its rules
//	reported REASON ADDRESS     some speaker gives it
//	asked|passes|claims at most N      broadcasts, passes, claims sent, since the last time
type script struct {
	*World
	out     strings.Builder
	noted   map[netip.Addr]string
	counted map[string]int
	shown   time.Time // see moves
}

// RunScript runs a script, and returns it with what was found. The error is what
// the judge has to complain of, or what is wrong with the script.
func RunScript(text string) (after string, err error) {
	s := &script{World: New(1), counted: map[string]int{}}
	var complaints []error
	number := 0
	for line := range strings.Lines(text) {
		number++
		if strings.HasPrefix(line, ">") {
			continue
		}
		s.out.WriteString(line)
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.command(words[0], words[1:]); err != nil {
			complaints = append(complaints, fmt.Errorf("line %d: %s: %w", number, strings.TrimSpace(line), err))
		}
	}
	return s.out.String(), errors.Join(complaints...)
}

var errCommand = errors.New("unknown command")

func (s *script) command(name string, args []string) error {
	for _, does := range []func(string, []string) (bool, error){
		s.build, s.process, s.cables, s.firewalls, s.kubernetes, s.others, s.show, s.askAll, s.ask, s.count,
	} {
		if known, err := does(name, args); known {
			return err
		}
	}
	return errCommand
}

// build makes the world.
func (s *script) build(name string, args []string) (bool, error) {
	switch name {
	case "nodes":
		if args[0] == "know" { // a question
			return false, nil
		}
		s.second = slices.Contains(args, "second")
		for range atoi(args[0]) {
			s.AddNode()
		}
		if len(s.clients) == 0 {
			s.AddClient()
		}
	case "clients":
		for len(s.clients) < atoi(args[0]) {
			s.AddClient()
		}
	case "profile":
		s.settings, _ = detection.Profile(args[0])
	case "delay":
		for _, n := range s.wires {
			n.delay, n.jitter = duration(args[0]), duration(args[1])
		}
	case "loss":
		for _, n := range s.wires {
			n.loss = float64(atoi(args[0])) / 100 //nolint:mnd // percent
		}
	case "interfaces":
		s.Cluster.Advertise(func(spec *v1beta1.L2AdvertisementSpec) { spec.Interfaces = args })
	case "run":
		s.Run(duration(args[0]))
	default:
		return false, nil
	}
	return true, nil
}

// process is what happens to speakers.
func (s *script) process(name string, args []string) (bool, error) {
	each := func(do func(*Host)) { s.each(args, do) }
	switch name {
	case "start":
		each(func(h *Host) {
			if !h.Alive() {
				h.Start()
			}
		})
	case "kill":
		each((*Host).Kill)
	case "leave":
		each((*Host).Leave)
	case "restart":
		each(func(h *Host) {
			h.Kill()
			s.after(500*time.Millisecond, h.Start) //nolint:mnd // what a container takes
		})
	case "freeze":
		s.byName[args[0]].Freeze(duration(args[1]))
	case "clock":
		s.byName[args[0]].wall = duration(args[1])
	case "sockets":
		s.byName[args[0]].refuse = args[1] == "refuse"
	case "keys":
		s.byName[args[0]].setKeys(args[1:])
	case "record":
		s.byName[args[0]].record = args[1] == "on"
	case "replay":
		s.replay(args[0])
	case "proxy":
		s.byName[args[0]].forwards = s.now.Add(duration(args[2]))
	default:
		return false, nil
	}
	return true, nil
}

// replay sends everybody what a node sent when it was recorded, in the same pace,
// as who has no key can.
func (s *script) replay(name string) {
	from := s.byName[name]
	for _, r := range from.recorded {
		s.after(r.at.Sub(from.recorded[0].at), func() {
			if to := s.byName[r.to]; to != nil {
				to.receive(&message{bytes: r.bytes, key: r.key}, detection.Way{At: netip.AddrPortFrom(own(s.memberNetwork(), from.number), 7946)})
			}
		})
	}
}

// cables is what happens to cables and wires.
func (s *script) cables(name string, args []string) (bool, error) {
	switch name {
	case "cable":
		s.byName[args[0]].SetLink(args[1], func(i *model.Interface) {
			i.Usable, i.Suitable, i.Why = args[2] == "in", args[2] == "in", ""
			i.Epoch++
			if !i.Usable {
				i.Why = "is down or has no carrier"
			}
		})
	case "cut", "mute", "deaf", "join":
		n := s.wires[args[1]]
		n.mute[args[0]] = name == "cut" || name == "mute"
		n.deaf[args[0]] = name == "cut" || name == "deaf"
	case "isolate":
		n := s.wires[args[0]]
		n.isolated[pair{args[1], args[2]}], n.isolated[pair{args[2], args[1]}] = true, true
	case "partition":
		for side, names := range args[1:] {
			for one := range strings.SplitSeq(names, ",") {
				s.wires[args[0]].side[one] = side
			}
		}
	case "heal":
		s.Heal()
	default:
		return false, nil
	}
	return true, nil
}

// firewalls is what happens to the networking of nodes.
func (s *script) firewalls(name string, args []string) (bool, error) {
	switch name {
	case "block":
		h := s.byName[args[0]]
		h.noUDP, h.noFrames = h.noUDP || args[1] == "udp", h.noFrames || args[1] == "frames"
	case "overflow":
		s.byName[args[0]].overflow = float64(atoi(args[1])) / 100 //nolint:mnd // percent
	case "hold":
		s.byName[args[0]].Hold(args[1], strings.Join(args[3:], ""), true, duration(args[2]))
	case "allow":
		h := s.byName[args[0]]
		h.noUDP, h.noFrames, h.overflow = false, false, 0
	case "ipv6":
		s.byName[args[0]].SetLink(lan, func(i *model.Interface) {
			i.Addrs = append(slices.Clone(i.Addrs), netip.MustParsePrefix("2001:db8::1:"+args[0][1:]+"/64"))
		})
	case "readdress":
		s.byName[args[0]].SetLink(args[1], func(i *model.Interface) {
			i.Addrs = []netip.Prefix{netip.PrefixFrom(i.Addrs[0].Addr().Next().Next().Next().Next().Next(), i.Addrs[0].Bits())}
		})
	default:
		return false, nil
	}
	return true, nil
}

// Heal lets everything through again.
func (w *World) Heal() {
	for _, n := range w.wires {
		clear(n.mute)
		clear(n.deaf)
		clear(n.isolated)
		clear(n.side)
	}
	for _, h := range w.nodes {
		h.noUDP, h.noFrames, h.overflow = false, false, 0
	}
}

// kubernetes is what the API server hears and tells.
func (s *script) kubernetes(name string, args []string) (bool, error) {
	switch name {
	case "services":
		s.services(args)
	case "delete":
		s.Cluster.RemoveServices(addresses(args)...)
	case "api":
		v := &s.byName[args[0]].view
		switch args[1] {
		case "cut":
			v.cut = true
		case "lag":
			v.lag = duration(args[2])
		case "back":
			v.reconnect()
		}
	case "drain", "undrain":
		for _, one := range args {
			state := plan.Node{}
			if name == "drain" {
				state.Excluded = "the node has the label " + v1beta1.LabelExcludeNode
			}
			s.Cluster.SetNode(one, state)
		}
	case "prefer":
		s.Cluster.Prefer(netip.MustParseAddr(args[0]), strings.Join(args[1:], ""))
	case "pod":
		at := map[string]bool{args[0]: true}
		for _, key := range slices.Sorted(maps.Keys(s.Cluster.services)) {
			service := s.Cluster.services[key]
			if service.Local {
				s.Cluster.AddServices(func(to *plan.Service) { to.Local, to.IPv4.Nodes, to.IPv6.Nodes = true, at, at }, service.Addresses...)
			}
		}
	default:
		return false, nil
	}
	return true, nil
}

// services makes some, beyond those that there are.
func (s *script) services(args []string) {
	if args[0] == "at" {
		s.Cluster.AddServices(nil, addresses(args[1:])...)
		return
	}
	if slices.Contains(args, "per-client") {
		s.Cluster.Advertise(func(spec *v1beta1.L2AdvertisementSpec) { spec.Balancing = v1beta1.BalancePerClient })
	}
	var change func(*plan.Service)
	if at := slices.Index(args, "local"); at > 0 {
		nodes := map[string]bool{args[at+1]: true}
		change = func(to *plan.Service) { to.Local, to.IPv4.Nodes, to.IPv6.Nodes = true, nodes, nodes }
	}
	var all []netip.Addr
	for n := range atoi(args[0]) {
		all = append(all, Address(len(s.Cluster.addresses)+n+1))
	}
	s.Cluster.AddServices(change, all...)
}

// others are hosts without a speaker, and kernels.
func (s *script) others(name string, args []string) (bool, error) {
	switch name {
	case "host":
		i, a := s.intruderOf(args[0]), netip.MustParseAddr(args[2])
		i.has[a] = i.has[a] && args[1] == "claims" || args[1] == "has"
		if args[1] != "loses" {
			i.claim(a)
		}
	case "speaker":
		h, a := s.byName[args[0]], netip.MustParseAddr(args[2])
		for i := range atoi(args[3]) {
			s.after(time.Duration(i)*20*time.Millisecond, func() { //nolint:mnd // fifty a second
				s.broadcast(frame{from: "forger", sender: a, mac: macOf(lan, h.number), target: a, request: true})
			})
		}
	case "node":
		s.byName[args[0]].has(netip.MustParseAddr(args[2]))
	default:
		return false, nil
	}
	return true, nil
}

// each node of those named, or all.
func (s *script) each(names []string, do func(*Host)) {
	for _, h := range s.nodes {
		if len(names) == 0 || slices.Contains(names, h.name) {
			do(h)
		}
	}
}

func addresses(texts []string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func atoi(text string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
	if err != nil {
		panic(err)
	}
	return n
}

func duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return d
}
