package text

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/cli/explain"
	"github.com/baliza-lb/baliza/speaker/model"
)

// wire prints what the network itself says about an address.
func (p *Printer) wire(w *explain.Wire) {
	switch {
	case w == nil:
		return
	case w.WireProbe == nil:
		p.line("On the wire", "not asked: "+oneLine(w.NotAsked))
		return
	}
	text := fmt.Sprintf("node %s asked on %s", w.Node, strings.Join(w.Interfaces, ", "))
	if len(w.Answers) == 0 {
		text += ": nobody answers"
	}
	p.printf("\n")
	p.line("On the wire", oneLine(text))
	for _, problem := range w.Problems {
		p.line("", "but "+oneLine(problem))
	}
	if len(w.Answers) == 0 {
		return
	}
	var rows [][]string
	for i := range w.Answers {
		one := &w.Answers[i]
		node := one.Node
		if node == "" {
			node = "none"
		}
		rows = append(rows, []string{one.MAC, node, one.Interface, milliseconds(one.Milliseconds), handshake(one)})
	}
	p.table([]string{"MAC THAT ANSWERS", "NODE", "ON", "AFTER", "TCP"}, rows)
}

func handshake(a *model.WireAnswer) string {
	switch a.Handshake {
	case model.HandshakeAccepted:
		return fmt.Sprintf("port %d accepts, after %s", a.Port, milliseconds(a.HandshakeMilliseconds))
	case model.HandshakeRefused:
		return fmt.Sprintf("port %d refuses, after %s", a.Port, milliseconds(a.HandshakeMilliseconds))
	case model.HandshakeSilent:
		return fmt.Sprintf("port %d is silent", a.Port)
	}
	return ""
}

func milliseconds(ms float64) string { return strconv.FormatFloat(ms, 'f', 1, 64) + "ms" }

// pastMove puts a move into one line.
func (p *Printer) pastMove(m *explain.PastMove) string {
	text := fmt.Sprintf("%s ago: %s -> %s, %s", p.age(&m.Time), cmp.Or(m.From, "nobody"), cmp.Or(m.To, "nobody"), m.Cause)
	if m.UnownedMilliseconds > 0 {
		text += ", nobody answered for about " + unowned(m.UnownedMilliseconds)
	}
	return oneLine(text)
}

func unowned(ms int64) string {
	if ms == 0 {
		return ""
	}
	return (time.Duration(ms) * time.Millisecond).String()
}

// History prints moves of addresses.
func (p *Printer) History(h *explain.History) {
	if len(h.Moves) == 0 {
		p.printf("No move is known.\n")
	} else {
		var rows [][]string
		for i := range h.Moves {
			m := &h.Moves[i]
			rows = append(rows, []string{
				m.Time.UTC().Format("2006-01-02T15:04:05.000Z"), p.age(&m.Time), m.Address,
				cmp.Or(m.From, "nobody"), cmp.Or(m.To, "nobody"), string(m.Cause), unowned(m.UnownedMilliseconds),
			})
		}
		p.table([]string{"TIME", "AGO", "ADDRESS", "FROM", "TO", "CAUSE", "UNOWNED"}, rows)
	}
	if len(h.Brief) > 0 {
		p.printf("\n")
		p.line("Brief", fmt.Sprintf("of %s the last 32 moves alone are known: %s", p.few(h.Brief), oneLine(h.BriefWhy)))
	}
}
