package text

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/baliza-lb/baliza/cli/explain"
)

// Printer prints for people.
type Printer struct {
	Out io.Writer
	// Colour says that the terminal shows it, and Wide that lines may be long.
	Colour, Wide bool
	// Now is what ages count from.
	Now time.Time
}

// Sequences that terminals understand (ECMA-48 section 8.3.117).
const (
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	reset = "\x1b[0m"
)

func (p *Printer) paint(colour, text string) string {
	if !p.Colour {
		return text
	}
	return colour + text + reset
}

func (p *Printer) printf(format string, args ...any) { fmt.Fprintf(p.Out, format, args...) }

// heading of a section.
func (p *Printer) heading(text string) { p.printf("%s\n", p.paint(bold, text)) }

// labelWidth is how wide the labels in front of lines are.
const labelWidth = 12

// line prints a label and what there is to say, unless that is nothing.
func (p *Printer) line(label, text string) {
	if text != "" {
		p.printf("%-*s %s\n", labelWidth, label, text)
	}
}

// table prints rows under a header, indented. A row of one cell is a whole line.
func (p *Printer) table(header []string, rows [][]string) {
	const gap = 2
	w := tabwriter.NewWriter(p.Out, 0, 0, gap, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = orDash(oneLine(cell))
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), " "))
	}
	w.Flush()
}

// oneLine keeps a message that others wrote from breaking a table, or a terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// Verdict ends what is printed.
func (p *Printer) verdict(label string, v explain.Verdict) {
	word := p.paint(green, "OK")
	switch {
	case v.Unknown:
		word = p.paint(red, "UNKNOWN")
	case !v.Well:
		word = p.paint(red, "WRONG")
	}
	message := oneLine(v.Message)
	if v.Reason != "" && !v.Well {
		message = string(v.Reason) + ": " + message
	}
	p.line(label, word+"  "+message)
	p.line("Cure", v.Cure)
	p.line("See", v.See)
	p.line("Next", v.Next)
}

func (p *Printer) age(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return explain.Age(p.Now.Sub(*t))
}

// few lists names, as many as a line has room for.
func (p *Printer) few(names []string) string {
	const most = 5
	if len(names) > most && !p.Wide {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
