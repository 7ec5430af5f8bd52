package text

import (
	"fmt"
	"strings"

	"github.com/baliza-lb/baliza/cli/checks"
)

// mostFindings is how many things that are wrong a check shows on a screen.
const mostFindings = 5

// Widths of the columns of checks.
const (
	stateWidth = 12
	idWidth    = 26
)

// Checks prints what came of checks, one on a line, and under it what is wrong.
func (p *Printer) Checks(r *checks.Report) {
	section := ""
	for i := range r.Results {
		one := &r.Results[i]
		if one.Section != section {
			if section != "" {
				p.printf("\n")
			}
			section = one.Section
			p.heading(section)
		}
		p.check(one)
	}
	p.printf("\n")
	p.verdict("Overall", r.Overall)
}

func (p *Printer) check(r *checks.Result) {
	word := map[checks.State]string{checks.OK: "ok", checks.Warning: "warning", checks.Failed: "FAILED", checks.NotChecked: "not checked"}[r.State]
	colour := map[checks.State]string{checks.OK: green, checks.Failed: red}[r.State]
	state := word
	if colour != "" {
		state = p.paint(colour, word)
	}
	p.printf("%s%s %-*s %s\n", state, strings.Repeat(" ", stateWidth-len(word)), idWidth, r.ID, oneLine(r.Message))
	said := map[string]bool{}
	for i := range r.Findings {
		f := &r.Findings[i]
		if i == mostFindings && !p.Wide {
			p.under("", fmt.Sprintf("and %d more: -o wide shows them", len(r.Findings)-i))
			break
		}
		message := f.Message
		if f.Reason != "" {
			message = string(f.Reason) + ": " + message
		}
		if f.Object != "" {
			message = f.Object + ": " + message
		}
		p.under("", message)
		if f.Cure != "" && !said[f.Cure] {
			said[f.Cure] = true
			p.under("Cure", f.Cure)
			p.under("See", f.See)
		}
	}
	if len(said) == 0 {
		p.under("Cure", r.Cure)
		if r.Cure != "" {
			p.under("See", r.See)
		}
	}
}

// under prints what belongs to the line above.
func (p *Printer) under(label, text string) {
	switch {
	case text == "":
	case label == "":
		p.printf("%*s%s\n", stateWidth+1, "", oneLine(text))
	default:
		p.printf("%*s%-5s %s\n", stateWidth+1, "", label, oneLine(text))
	}
}
