// Package plot draws the cost of an element over the number of elements: a cost
// that does not depend on their number is a level line. Both axes are
// logarithmic.
package plot

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
)

// Chart is one picture.
type Chart struct {
	Cost string // the label of the vertical axis
	// Unit returns a cost as text: [Duration] or [Bytes].
	Unit        func(cost int) string
	Sizes       Range
	Least, Most int // ends of the vertical axis: powers of ten
	Lines       []Line
}

// Range is a range of sizes, from one power of ten to another.
type Range struct{ First, Last int }

// Line is one kind of work.
type Line struct {
	Name   string
	Points []Point
}

// Point is the cost of one of n elements.
type Point struct {
	N    int
	Cost float64
}

// The picture, in its own units. A second chart is below the first.
const (
	wide, high               = 720, 400
	left, right, top, bottom = 80, 16, 24, 96
	inner, upper             = wide - left - right, high - top - bottom
	style                    = `
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .axis { stroke: #57606a; fill: none }
  .grid { stroke: #d0d7de; fill: none }
  .l { fill: none; stroke-width: 2 }
  .c0 { stroke: #0969da } .c1 { stroke: #bc4c00 } .c2 { stroke: #1a7f37 } .c3 { stroke: #8250df } .c4 { stroke: #bf3989 }
  circle.c0 { fill: #0969da } circle.c1 { fill: #bc4c00 } circle.c2 { fill: #1a7f37 } circle.c3 { fill: #8250df } circle.c4 { fill: #bf3989 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .axis { stroke: #9198a1 }
    .grid { stroke: #3d444d }
    .c0 { stroke: #4493f8 } .c1 { stroke: #f0883e } .c2 { stroke: #3fb950 } .c3 { stroke: #ab7df8 } .c4 { stroke: #db61a2 }
    circle.c0 { fill: #4493f8 } circle.c1 { fill: #f0883e } circle.c2 { fill: #3fb950 } circle.c3 { fill: #ab7df8 } circle.c4 { fill: #db61a2 }
  }
`
)

// SVG draws charts below each other. The title describes them in words.
func SVG(title string, charts ...Chart) []byte {
	var b bytes.Buffer
	all := high * len(charts)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		wide, all, wide, all, html.EscapeString(title))
	fmt.Fprintf(&b, "<style>%s</style>\n", style)
	for i, c := range charts {
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n", i*high)
		c.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (c Chart) draw(b *bytes.Buffer) {
	for n := c.Sizes.First; n <= c.Sizes.Last; n *= 10 {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %d v%d"/>`+"\n", c.x(n), top, upper)
		text(b, c.x(n), high-bottom+20, "middle", Size(n))
	}
	for cost := c.Least; cost <= c.Most; cost *= 10 {
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1f h%d"/>`+"\n", left, c.y(float64(cost)), inner)
		text(b, left-8, c.y(float64(cost))+4, "end", c.Unit(cost))
	}
	fmt.Fprintf(b, `<path class="axis" d="M%d %d v%d h%d"/>`+"\n", left, top, upper, inner)
	text(b, left+inner/2, high-bottom+42, "middle", "size")
	fmt.Fprintf(b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", top+upper/2, html.EscapeString(c.Cost))
	for i, l := range c.Lines {
		c.line(b, i, l)
	}
}

// line draws a line, its points, and its entry in the legend.
func (c Chart) line(b *bytes.Buffer, i int, l Line) {
	fmt.Fprintf(b, `<path class="l c%d" d="`, i)
	for k, p := range l.Points {
		step := "L"
		if k == 0 {
			step = "M"
		}
		fmt.Fprintf(b, "%s%.1f %.1f", step, c.x(p.N), c.y(p.Cost))
	}
	b.WriteString(`"/>` + "\n")
	for _, p := range l.Points {
		fmt.Fprintf(b, `<circle class="c%d" cx="%.1f" cy="%.1f" r="3"><title>%s, %s: %s</title></circle>`+"\n",
			i, c.x(p.N), c.y(p.Cost), html.EscapeString(l.Name), Size(p.N), c.Unit(int(math.Round(p.Cost))))
	}
	lx, ly := float64(left+i%2*inner/2), float64(high-bottom+64+i/2*20)
	fmt.Fprintf(b, `<path class="l c%d" d="M%.1f %.1f h24"/>`+"\n", i, lx, ly-4)
	text(b, lx+32, ly, "start", l.Name)
}

func text(b *bytes.Buffer, x, y float64, anchor, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(s))
}

func (c Chart) x(n int) float64 {
	return left + inner*part(float64(n), float64(c.Sizes.First), float64(c.Sizes.Last))
}

func (c Chart) y(cost float64) float64 {
	return top + upper*(1-part(cost, float64(c.Least), float64(c.Most)))
}

// part returns the position of v between least and most, from 0 to 1.
func part(v, least, most float64) float64 {
	return min(max(math.Log(v/least)/math.Log(most/least), 0), 1)
}

// Powers returns the powers of ten in the range.
func (r Range) Powers() (ns []int) {
	for n := r.First; n <= r.Last; n *= 10 {
		ns = append(ns, n)
	}
	return ns
}

// Size returns a number of elements as text: 10, 10k, 10M.
func Size(n int) string {
	switch {
	case n >= 1_000_000:
		return strconv.Itoa(n/1_000_000) + "M"
	case n >= 1000:
		return strconv.Itoa(n/1000) + "k"
	}
	return strconv.Itoa(n)
}

// Duration returns a cost in nanoseconds as text.
func Duration(ns int) string {
	if ns >= 1000 {
		return strconv.FormatFloat(float64(ns)/1000, 'g', 3, 64) + " us"
	}
	return strconv.Itoa(ns) + " ns"
}

// Bytes returns a cost in bytes as text.
func Bytes(n int) string { return strconv.Itoa(n) + " B" }
