package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// draw writes the first cut as a picture: each connection a line, from its
// start to its answer, red if there was none.
func (b *bench) draw() error {
	if len(b.example) == 0 {
		return nil
	}
	const (
		width, height, margin = 900, 220, 40
		window                = 1200 * time.Millisecond
	)
	from := b.cutAt.Add(-before)
	x := func(t time.Time) float64 {
		return margin + min(1, float64(t.Sub(from))/float64(window))*(width-2*margin)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	s.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	fmt.Fprintf(&s, `<text x="%d" y="20">One TCP connection every 10 ms to an address whose owner loses its link</text>`+"\n", margin)
	row := 0
	for _, a := range b.example {
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
	cut := x(b.cutAt)
	fmt.Fprintf(&s, `<line x1="%.1f" y1="30" x2="%.1f" y2="185" stroke="black" stroke-dasharray="4"/>`+"\n", cut, cut)
	fmt.Fprintf(&s, `<text x="%.1f" y="198">link cut</text>`+"\n", cut)
	for ms := 100; ms <= 800; ms += 100 {
		at := x(b.cutAt.Add(time.Duration(ms) * time.Millisecond))
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
	return os.WriteFile(filepath.Join(folder, "l2-failover.svg"), []byte(s.String()), 0o644)
}
