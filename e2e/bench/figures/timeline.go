package figures

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/e2e/probe"
)

// Timeline is a picture of what a client saw around a fault: each connection a
// line, from its start to its answer, red if there was none.
type Timeline struct {
	Title string
	// Event is what happened at that time.
	Event    string
	At       time.Time
	Attempts []probe.Attempt
}

// Times of a picture.
const (
	before = 400 * time.Millisecond // the event
	window = 1200 * time.Millisecond
	scale  = 800 // milliseconds after the event
)

// Write draws the picture into a file of the folder that FIGURES names, or of
// the current one. Without attempts there is none.
func (t *Timeline) Write(name string) error {
	if len(t.Attempts) == 0 {
		return nil
	}
	const width, height, margin = 900, 220, 40
	from := t.At.Add(-before)
	x := func(at time.Time) float64 {
		return margin + min(1, float64(at.Sub(from))/float64(window))*(width-2*margin)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	s.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	fmt.Fprintf(&s, `<text x="%d" y="20">%s</text>`+"\n", margin, t.Title)
	row := 0
	for _, a := range t.Attempts {
		if a.Start.Before(from) || a.Start.After(from.Add(window)) {
			continue
		}
		color := "#2a7"
		if a.Err != nil {
			color = "#d33"
		}
		y := 40 + row%14*10
		row++
		fmt.Fprintf(&s, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="5"/>`+"\n",
			x(a.Start), y, max(x(a.Start)+3, x(a.Start.Add(a.Latency))), y, color)
	}
	fault := x(t.At)
	fmt.Fprintf(&s, `<line x1="%.1f" y1="30" x2="%.1f" y2="185" stroke="black" stroke-dasharray="4"/>`+"\n", fault, fault)
	fmt.Fprintf(&s, `<text x="%.1f" y="198">%s</text>`+"\n", fault, t.Event)
	for ms := 100; ms <= scale; ms += 100 {
		at := x(t.At.Add(time.Duration(ms) * time.Millisecond))
		fmt.Fprintf(&s, `<text x="%.1f" y="214" text-anchor="middle">%d ms</text>`+"\n", at, ms)
	}
	s.WriteString("</svg>\n")
	folder := os.Getenv("FIGURES")
	if folder == "" {
		folder = "."
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name), []byte(s.String()), 0o644)
}
