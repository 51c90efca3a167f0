package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes in pixels: of a cell of the grid, of a box in it, and of the space
// between parallel lines.
const (
	cellWidth, cellHeight = 290, 130
	boxWidth, boxHeight   = 130, 52
	lane                  = 14
)

var fills = map[string]string{"pending": "#ffffff", "value": "#dff0df", "failed": "#fbe3e0"}

// The color of each kind of arrow, the side of the middle on which it is drawn,
// and its text in the legend.
var kinds = map[string]struct {
	style  string
	colour string
	side   float64
	legend string
}{
	"passes":  {"", "#8a8a8a", 0, "result to come"},
	"cancel":  {` stroke-dasharray="6 4"`, "#b3261e", -1, "cancel"},
	"outcome": {"", "#1b6e3c", 1, "outcome"},
}

var legend = []string{"passes", "cancel", "outcome"}

func (p *picture) svg() string {
	columns, rows := 0, 0
	for _, b := range p.boxes {
		columns, rows = max(columns, b.column+1), max(rows, b.row+1)
	}
	width, height := columns*cellWidth-cellWidth+boxWidth+40, rows*cellHeight-cellHeight+boxHeight+80

	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" font-family="sans-serif" text-anchor="middle">`+"\n", width, height)
	fmt.Fprintf(&s, "<title>%s</title>\n", html.EscapeString(p.title))
	s.WriteString("<defs>\n")
	for _, kind := range legend {
		fmt.Fprintf(&s, `<marker id="%s" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="%s"/></marker>`+"\n", kind, kinds[kind].colour)
	}
	s.WriteString("</defs>\n")
	fmt.Fprintf(&s, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	for _, a := range p.arrows {
		a.draw(&s)
	}
	for _, name := range p.order {
		b := p.boxes[name]
		x, y := b.centre()
		fmt.Fprintf(&s, `<rect x="%.0f" y="%.0f" width="%d" height="%d" rx="6" fill="%s" stroke="#333333"/>`+"\n",
			x-boxWidth/2, y-boxHeight/2, boxWidth, boxHeight, fills[b.state])
		fmt.Fprintf(&s, `<text x="%.0f" y="%.0f" font-size="14" font-weight="bold">%s</text>`+"\n", x, y-4, html.EscapeString(b.name))
		fmt.Fprintf(&s, `<text x="%.0f" y="%.0f" font-size="12" fill="#444444">%s</text>`+"\n", x, y+14, html.EscapeString(b.what))
	}
	p.drawLegend(&s, height)
	s.WriteString("</svg>\n")
	return s.String()
}

// drawLegend explains the kinds of arrows in the picture.
func (p *picture) drawLegend(s *strings.Builder, height int) {
	x := 20
	for _, name := range legend {
		used := false
		for _, a := range p.arrows {
			used = used || a.kind == name
		}
		if !used {
			continue
		}
		k := kinds[name]
		fmt.Fprintf(s, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="1.5"%s marker-end="url(#%s)"/>`+"\n",
			x, height-16, x+30, height-16, k.colour, k.style, name)
		fmt.Fprintf(s, `<text x="%d" y="%d" font-size="12" fill="#444444" text-anchor="start">%s</text>`+"\n", x+38, height-12, k.legend)
		x += 150
	}
}

func (b box) centre() (x, y float64) {
	return 20 + boxWidth/2 + float64(b.column*cellWidth), 24 + boxHeight/2 + float64(b.row*cellHeight)
}

// draw draws a, parallel to the arrows of other kinds between the same boxes.
func (a arrow) draw(s *strings.Builder) {
	k := kinds[a.kind]
	x1, y1 := a.from.centre()
	x2, y2 := a.to.centre()
	dx, dy := x2-x1, y2-y1
	length := math.Hypot(dx, dy)
	nx, ny := -dy/length, dx/length // to the right of the direction
	if dx < 0 || dx == 0 && dy < 0 {
		nx, ny = -nx, -ny // the same side for both directions
	}
	ox, oy := nx*k.side*lane, ny*k.side*lane
	begin, end := leave(dx, dy, ox, oy), leave(-dx, -dy, ox, oy)
	x1, y1, x2, y2 = x1+ox+dx*begin, y1+oy+dy*begin, x2+ox-dx*end, y2+oy-dy*end
	fmt.Fprintf(s, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="1.5"%s marker-end="url(#%s)"/>`+"\n",
		x1, y1, x2, y2, k.colour, k.style, a.kind)
	if a.label != "" {
		y := (y1+y2)/2 - 6
		if k.side > 0 {
			y += 22
		}
		fmt.Fprintf(s, `<text x="%.1f" y="%.1f" font-size="12" fill="%s" stroke="#ffffff" stroke-width="4" paint-order="stroke">%s</text>`+"\n",
			(x1+x2)/2, y, k.colour, html.EscapeString(a.label))
	}
}

// leave returns the fraction of the way along d at which a line that starts at
// the offset o from the center of a box has left the box and a small gap around
// it.
func leave(dx, dy, ox, oy float64) float64 {
	const gap = 3
	at := math.Inf(1)
	if dx != 0 {
		at = min(at, (boxWidth/2+gap-math.Copysign(1, dx)*ox)/math.Abs(dx))
	}
	if dy != 0 {
		at = min(at, (boxHeight/2+gap-math.Copysign(1, dy)*oy)/math.Abs(dy))
	}
	return at
}
