package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/baliza-lb/baliza/cli/explain"
)

// Measures of the picture, in units of its view box.
const (
	pictureColumns     = 6
	boxWidth           = 150
	boxHeight          = 62
	gapX, gapY         = 24, 46
	marginX, marginY   = 12, 30
	routerHeight       = 44
	mostRouters        = 24
	sidesOfBox         = 2 // half of a box is on each side of its middle
	mostLettersInBox   = 19
	betweenRowsOfKinds = 30
)

// picture is the cluster: nodes, who answers for how much, links that are not heard,
// routers and sessions.
type picture struct {
	Width, Height int
	Lines         []line
	Boxes         []box
	// Text says the same in words.
	Text string
	More string
}

// line is between two boxes.
type line struct {
	Path, Class, Text string
}

// box is a node or a router, at its upper left corner.
type box struct {
	X, Y, Width, Height   int
	MiddleX               int
	Class                 string
	Name, State, Contents string
	NameY, StateY, LastY  int
	Full                  string // name, uncut
	alive                 bool   // of a node: its speaker
}

func (b *box) top() (x, y int)    { return b.MiddleX, b.Y }
func (b *box) bottom() (x, y int) { return b.MiddleX, b.Y + b.Height }

// place is where the one of that number is, of a kind that begins at y.
func place(i, y, height int, name string) box {
	x := marginX + i%pictureColumns*(boxWidth+gapX)
	top := y + i/pictureColumns*(height+gapY)
	return box{
		X: x, Y: top, Width: boxWidth, Height: height, MiddleX: x + boxWidth/sidesOfBox, Name: cut(name), Full: name,
		NameY: top + 18, StateY: top + 35, LastY: top + 52, //nolint:mnd // lines of text
	}
}

// cut shortens a name to what a box has room for.
func cut(name string) string {
	if letters := []rune(name); len(letters) > mostLettersInBox {
		return string(letters[:mostLettersInBox-1]) + "\u2026"
	}
	return name
}

// pictureOf draws nodes, by name; what a dead speaker has last said of its sessions is not
// known any more.
func pictureOf(nodes []explain.Speaker, more int, unheard []explain.Unheard, sessions []explain.Session) picture {
	var p picture
	at, healthy := map[string]*box{}, 0
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b explain.Speaker) int { return strings.Compare(a.Node, b.Node) })
	for i := range nodes {
		b := place(i, marginY, boxHeight, nodes[i].Node)
		b.Class, b.State = stateOfNode(&nodes[i])
		b.Contents, b.alive = contentsOfNode(&nodes[i]), nodes[i].Alive
		if b.Class == "well" {
			healthy++
		}
		p.Boxes = append(p.Boxes, b)
	}
	rows := (len(nodes) + pictureColumns - 1) / pictureColumns
	y := marginY + rows*(boxHeight+gapY) + betweenRowsOfKinds
	for i := range p.Boxes {
		at[p.Boxes[i].Full] = &p.Boxes[i]
	}
	p.unheard(at, unheard)
	routers := p.routers(at, sessions, y)
	columns := min(pictureColumns, max(len(nodes), len(routers), 1))
	p.Width = 2*marginX + columns*boxWidth + (columns-1)*gapX
	p.Height = y
	if len(routers) > 0 {
		p.Height += (len(routers)+pictureColumns-1)/pictureColumns*(routerHeight+gapY) - gapY + marginX
	} else {
		p.Height -= gapY
	}
	p.Boxes = append(p.Boxes, routers...)
	if more > 0 {
		p.More = fmt.Sprintf("%d more nodes are not drawn.", more)
	}
	p.Text = fmt.Sprintf("%d nodes drawn, %d of them without trouble; %d links not heard; %d routers. The tables below say the same.",
		len(nodes), healthy, len(unheard), len(routers))
	return p
}

func stateOfNode(s *explain.Speaker) (class, text string) {
	switch {
	case s.NotMeant != "":
		return "off", "no speaker is to run"
	case s.Excluded != "":
		return "off", "excluded"
	case !s.Exists:
		return "wrong", "no speaker"
	case !s.Alive:
		return "wrong", "not alive"
	case s.Trouble != "":
		return "wrong", "in trouble"
	}
	return "well", "alive"
}

func contentsOfNode(s *explain.Speaker) string {
	switch {
	case !s.Alive:
		return ""
	case s.Sessions > 0 && s.Held > 0:
		return fmt.Sprintf("%d held, %d routed", s.Held, s.Routes)
	case s.Sessions > 0:
		return fmt.Sprintf("%d routed", s.Routes)
	}
	return fmt.Sprintf("%d held", s.Held)
}

// unheard draws who does not hear whom.
func (p *picture) unheard(at map[string]*box, all []explain.Unheard) {
	for i := range all {
		from, to := at[all[i].By], at[all[i].Node]
		if from == nil || to == nil || from == to {
			continue
		}
		x1, y1 := from.top()
		x2, y2 := to.top()
		const height = 24 // of the arc above the boxes
		p.Lines = append(p.Lines, line{
			Path:  fmt.Sprintf("M%d %d Q%d %d %d %d", x1, y1, (x1+x2)/sidesOfBox, min(y1, y2)-height, x2, y2),
			Class: "unheard", Text: all[i].By + " does not hear " + all[i].Node,
		})
	}
}

// routers draws the peers, and each session that a node drawn has to one.
func (p *picture) routers(at map[string]*box, sessions []explain.Session, y int) []box {
	number := map[string]int{}
	var boxes []box
	for i := range sessions {
		one := &sessions[i]
		key := one.Peer + " " + one.Address
		if _, known := number[key]; !known {
			if len(boxes) == mostRouters {
				continue
			}
			number[key] = len(boxes)
			b := place(len(boxes), y, routerHeight, one.Peer)
			b.Class, b.State = "router well", one.Address
			boxes = append(boxes, b)
		}
		to, from := &boxes[number[key]], at[one.Node]
		class, text := "up", one.State
		switch {
		case from != nil && !from.alive:
			class, text = "unknown", "not known"
		case one.State != explain.Established:
			class, to.Class = "down", "router wrong"
		}
		if from == nil {
			continue
		}
		x1, y1 := from.bottom()
		x2, y2 := to.top()
		p.Lines = append(p.Lines, line{fmt.Sprintf("M%d %d L%d %d", x1, y1, x2, y2), class, one.Node + " to " + one.Peer + ": " + text})
	}
	rank := map[string]int{"unknown": 0, "up": 1} // what is wrong is drawn last, above the others
	slices.SortStableFunc(p.Lines, func(a, b line) int {
		const last = 2
		of := func(l *line) int {
			if r, known := rank[l.Class]; known {
				return r
			}
			return last
		}
		return of(&a) - of(&b)
	})
	return boxes
}
