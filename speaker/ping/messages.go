package ping

import (
	"encoding/binary"
	"errors"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// This file has the two messages that package nftables does not make: it sends no
// flags of tables, and no direction of connection tracking zones.

// Of linux/netfilter/nf_tables.h: NFT_TABLE_F_OWNER, and IP_CT_DIR_ORIGINAL of
// linux/netfilter/nf_conntrack_tuple_common.h.
const (
	tableOwner        = 0x2
	directionOriginal = 0
)

// zone of connection tracking for the requests; any that nobody else uses.
const zone = 0x6261

// ownTable makes the table, and the socket its owner, which it closes if that fails.
func ownTable(socket *netlink.Conn) error {
	attributes := netlink.NewAttributeEncoder()
	attributes.ByteOrder = binary.BigEndian
	attributes.String(unix.NFTA_TABLE_NAME, name)
	attributes.Uint32(unix.NFTA_TABLE_FLAGS, tableOwner)
	m, err := message(unix.NFT_MSG_NEWTABLE, netlink.Excl, attributes)
	if err == nil {
		err = send(socket, m)
	}
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	return nil
}

// setApart is a rule that sets what matches apart in connection tracking, before that
// looks at it:
//
//	ct original zone set 0x6261
//
// Whoever asks again and again with one identifier, as a monitor does, is one
// connection, and NAT looks at the first packet of that alone: one that was forwarded
// before the address was answered for would be forwarded on. Of the other direction the
// zone stays what it is, so that the kernel's answer is found.
func setApart(chain string, matching []expr.Any) (netlink.Message, error) {
	value := &expr.Immediate{Register: register, Data: binary.NativeEndian.AppendUint16(nil, zone)}
	var bodies [][]byte
	for _, e := range append(matching, value) {
		body, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			return netlink.Message{}, err
		}
		bodies = append(bodies, body)
	}
	rule := netlink.NewAttributeEncoder()
	rule.ByteOrder = binary.BigEndian
	rule.String(unix.NFTA_RULE_TABLE, name)
	rule.String(unix.NFTA_RULE_CHAIN, chain)
	rule.Nested(unix.NFTA_RULE_EXPRESSIONS, func(list *netlink.AttributeEncoder) error {
		for _, body := range bodies {
			list.Bytes(unix.NLA_F_NESTED|unix.NFTA_LIST_ELEM, body)
		}
		list.Nested(unix.NFTA_LIST_ELEM, func(ct *netlink.AttributeEncoder) error {
			ct.String(unix.NFTA_EXPR_NAME, "ct")
			ct.Nested(unix.NFTA_EXPR_DATA, func(data *netlink.AttributeEncoder) error {
				data.Uint32(unix.NFTA_CT_KEY, unix.NFT_CT_ZONE)
				data.Uint8(unix.NFTA_CT_DIRECTION, directionOriginal)
				data.Uint32(unix.NFTA_CT_SREG, register)
				return nil
			})
			return nil
		})
		return nil
	})
	return message(unix.NFT_MSG_NEWRULE, netlink.Append, rule)
}

// message makes one about the table, of that type.
func message(kind netlink.HeaderType, flags netlink.HeaderFlags, attributes *netlink.AttributeEncoder) (netlink.Message, error) {
	encoded, err := attributes.Encode()
	return netlink.Message{
		Header: netlink.Header{
			Type: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, Flags: netlink.Request | netlink.Acknowledge | netlink.Create | flags,
		},
		// Family, version and number (struct nfgenmsg) come first.
		Data: append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, encoded...),
	}, err
}

// send has the kernel take all messages in, or none.
func send(socket *netlink.Conn, all ...netlink.Message) error {
	subsystem := []byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES}
	batch := []netlink.Message{{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: subsystem}}
	batch = append(batch, all...)
	batch = append(batch, netlink.Message{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request}, Data: subsystem})
	if _, err := socket.SendMessages(batch); err != nil {
		return err
	}
	// It answers each when it has done all of them.
	for range all {
		if _, err := socket.Receive(); err != nil {
			return err
		}
	}
	return nil
}
