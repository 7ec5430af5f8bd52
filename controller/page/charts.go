package page

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/explain"
)

// bar is what the addresses of one IP family of a pool are used for.
type bar struct {
	Family string
	Text   string
	Parts  []part
	explain.FamilyUse
}

// part of a bar, in hundredths of its width.
type part struct {
	Class    string
	X, Width string
	Text     string
}

func barOf(pool string, u *explain.FamilyUse) bar {
	b := bar{Family: u.Family, FamilyUse: *u}
	b.Text = fmt.Sprintf("Pool %s, %s: %d used, %s reserved, %d resting, %d quarantined, %s free, of %s",
		pool, u.Family, u.Used, u.Reserved, u.Resting, u.Quarantined, u.Free, u.Total)
	total, parsed := new(big.Float).SetString(u.Total)
	if !parsed || total.Sign() <= 0 {
		return b
	}
	const whole = 100.0
	x := 0.0
	for _, one := range []struct{ class, number string }{
		{"used", strconv.FormatInt(u.Used, 10)},
		{"reserved", u.Reserved},
		{"resting", strconv.FormatInt(u.Resting, 10)},
		{"quarantined", strconv.FormatInt(u.Quarantined, 10)},
		{"free", u.Free},
	} {
		number, parsed := new(big.Float).SetString(one.number)
		if !parsed || number.Sign() <= 0 {
			continue
		}
		share, _ := new(big.Float).Quo(number, total).Float64()
		width := min(max(whole*share, 0.5), whole-x) // some can be seen //nolint:mnd
		b.Parts = append(b.Parts, part{one.class, decimal(x), decimal(width), one.number + " " + one.class})
		x += width
	}
	return b
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }

// grid is each address of a pool as a square.
type grid struct {
	Width, Height int
	Text          string
	Squares       []square
}

type square struct {
	X, Y  int
	Class string
	Text  string
}

// Measures of the grid.
const (
	gridColumns = 32
	squareSize  = 20
)

func gridOf(pool string, cells []explain.Cell) *grid {
	g := &grid{Width: min(len(cells), gridColumns) * squareSize, Height: (len(cells) + gridColumns - 1) / gridColumns * squareSize}
	counts := map[explain.CellState]int{}
	for i := range cells {
		one := &cells[i]
		counts[one.State]++
		text := one.Address + ": " + string(one.State)
		if one.Why != "" {
			text += ", " + one.Why
		}
		g.Squares = append(g.Squares, square{i % gridColumns * squareSize, i / gridColumns * squareSize, string(one.State), text})
	}
	g.Text = fmt.Sprintf("Addresses of pool %s:", pool)
	for _, state := range []explain.CellState{
		explain.CellUsed, explain.CellReserved, explain.CellResting, explain.CellQuarantined, explain.CellExcluded, explain.CellFree,
	} {
		if counts[state] > 0 {
			g.Text += fmt.Sprintf(" %d %s,", counts[state], state)
		}
	}
	g.Text = g.Text[:len(g.Text)-1]
	return g
}

// timeline is the moves of an hour, a lane for each cause.
type timeline struct {
	Width, Height int
	Text          string
	Lanes         []lane
	Ticks         []tick
	Left, Bottom  int
}

type lane struct {
	Y, TextY int
	Cause    string
	Count    int
	Dots     []dot
}

type dot struct {
	X     int
	Class string
	Text  string
}

type tick struct {
	X    int
	Text string
}

// Measures of the timeline.
const (
	timelineWidth = 900
	timelineLeft  = 140
	timelineRight = 30
	laneHeight    = 26
	laneMiddle    = 13
	textShift     = 5
	axisHeight    = 28
	ticksEvery    = 10 // minutes
	mostDots      = 300
)

func timelineOf(moves []explain.PastMove, now time.Time) timeline {
	t := timeline{Width: timelineWidth, Left: timelineLeft, Text: fmt.Sprintf("%d moves of addresses in the last hour", len(moves))}
	xOf := func(at time.Time) int {
		share := 1 - min(max(now.Sub(at).Seconds()/hour.Seconds(), 0), 1)
		return timelineLeft + int(share*(timelineWidth-timelineLeft-timelineRight))
	}
	for _, cause := range v1beta1.MoveCauses() {
		of := slices.DeleteFunc(slices.Clone(moves), func(m explain.PastMove) bool { return m.Cause != cause })
		if len(of) == 0 {
			continue
		}
		l := lane{Y: len(t.Lanes)*laneHeight + laneMiddle, Cause: string(cause), Count: len(of)}
		l.TextY = l.Y + textShift
		for i := range of[:min(len(of), mostDots)] {
			m := &of[i]
			l.Dots = append(l.Dots, dot{xOf(m.Time), classOfCause(cause), fmt.Sprintf("%s: %s, %s to %s, %s",
				m.Time.UTC().Format(time.TimeOnly), m.Address, cmp.Or(m.From, "nobody"), cmp.Or(m.To, "nobody"), cause)})
		}
		t.Text += fmt.Sprintf("; %s %d", cause, len(of))
		t.Lanes = append(t.Lanes, l)
	}
	t.Bottom = len(t.Lanes) * laneHeight
	t.Height = t.Bottom + axisHeight
	for minutes := 0; minutes <= int(hour.Minutes()); minutes += ticksEvery {
		at := now.Add(-time.Duration(minutes) * time.Minute)
		t.Ticks = append(t.Ticks, tick{xOf(at), at.UTC().Format("15:04")})
	}
	return t
}

// classOfCause tells what was wanted from what went wrong.
func classOfCause(cause v1beta1.MoveCause) string {
	switch cause {
	case v1beta1.MoveNodeFailed, v1beta1.MoveOwnerUnable, v1beta1.MoveConflict, v1beta1.MovePartitionHealed, v1beta1.MoveEndpointGone:
		return "wrong"
	default:
		return "well"
	}
}
