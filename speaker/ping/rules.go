package ping

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// name of the table.
const name = "baliza"

// register is where expressions of a rule leave what the next ones need: of an
// address that a map has, the one that answers for it.
const register = unix.NFT_REG_1

// family is one of the two, and what its packets look like.
type family struct {
	name                   string // of the map
	number, protocol, echo byte   // echo is the type of requests
	destination, length    uint32 // where a packet's header has it, in bytes
	addresses              nftables.SetDatatype
}

// ipv4 is by RFC 791 section 3.1 and RFC 792.
func ipv4() family {
	return family{"ipv4", unix.NFPROTO_IPV4, unix.IPPROTO_ICMP, 8, 16, 4, nftables.TypeIPAddr}
}

// ipv6 is by RFC 8200 section 3 and RFC 4443 section 4.1.
func ipv6() family {
	return family{"ipv6", unix.NFPROTO_IPV6, unix.IPPROTO_ICMPV6, 128, 24, 16, nftables.TypeIP6Addr}
}

// rules are the table with its chains, and the maps that say for which address
// which one of the node's answers.
type rules struct {
	conn       *nftables.Conn
	socket     *netlink.Conn // that of conn
	table      *nftables.Table
	ipv4, ipv6 *nftables.Set
}

// newRules makes the table, in which nothing is answered yet.
func newRules() (*rules, error) {
	r := &rules{table: &nftables.Table{Name: name, Family: nftables.TableFamilyINet}}
	var err error
	r.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(s *netlink.Conn) error {
		r.socket = s
		return ownTable(s)
	}))
	if err != nil {
		return nil, fmt.Errorf("making the table inet %s: %w", name, err)
	}
	if err := r.fill(); err != nil {
		r.close()
		return nil, fmt.Errorf("filling the table inet %s: %w", name, err)
	}
	return r, nil
}

// close closes the socket, and the kernel takes the table away.
func (r *rules) close() { _ = r.conn.CloseLasting() }

// fill makes the maps and, for what comes in and for what the node sends itself, two
// chains: one for what is done before connection tracking, and one for the rest.
func (r *rules) fill() error {
	maps := map[byte]*nftables.Set{}
	for _, f := range []family{ipv4(), ipv6()} {
		set := &nftables.Set{Table: r.table, Name: f.name, IsMap: true, KeyType: f.addresses, DataType: f.addresses}
		if err := r.conn.AddSet(set, nil); err != nil {
			return err
		}
		maps[f.number] = set
	}
	r.ipv4, r.ipv6 = maps[unix.NFPROTO_IPV4], maps[unix.NFPROTO_IPV6]
	var apart []netlink.Message
	for hook, number := range map[string]*nftables.ChainHook{"prerouting": nftables.ChainHookPrerouting, "output": nftables.ChainHookOutput} {
		raw := r.conn.AddChain(&nftables.Chain{
			Name: "raw-" + hook, Table: r.table, Type: nftables.ChainTypeFilter, Hooknum: number, Priority: nftables.ChainPriorityRaw,
		})
		nat := r.conn.AddChain(&nftables.Chain{
			Name: "nat-" + hook, Table: r.table, Type: nftables.ChainTypeNAT, Hooknum: number, Priority: nftables.ChainPriorityNATDest,
		})
		for _, f := range []family{ipv4(), ipv6()} {
			rule, err := setApart(raw.Name, f.requests(maps[f.number]))
			if err != nil {
				return err
			}
			apart = append(apart, rule)
			r.conn.AddRule(&nftables.Rule{Table: r.table, Chain: nat, Exprs: f.answer(maps[f.number])})
		}
	}
	if err := r.conn.Flush(); err != nil {
		return err
	}
	return send(r.socket, apart...)
}

// requests match echo requests for an address that the map has:
//
//	meta nfproto ipv4 icmp type echo-request ip daddr map @ipv4
func (f family) requests(set *nftables.Set) []expr.Any {
	is := func(value byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{value}} }
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register}, is(f.number),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}, is(f.protocol),
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Len: 1}, is(f.echo),
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: f.destination, Len: f.length},
		&expr.Lookup{SourceRegister: register, DestRegister: register, IsDestRegSet: true, SetName: set.Name, SetID: set.ID},
	}
}

// answer is the rule that has the node's own address answer:
//
//	meta nfproto ipv4 icmp type echo-request dnat ip to ip daddr map @ipv4
func (f family) answer(set *nftables.Set) []expr.Any {
	return append(f.requests(set), &expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.number), RegAddrMin: register})
}
