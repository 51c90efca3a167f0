package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
)

type line struct {
	name   string
	points []point
}

type point struct {
	n  int
	ns float64
}

// The picture, in its own units. Both axes are logarithmic.
const (
	wide, high               = 720, 400
	left, right, top, bottom = 80, 16, 24, 96
	inner, upper             = wide - left - right, high - top - bottom
	leastN, mostN            = 1, 1_000_000
	leastNS, mostNS          = 10, 10_000
	style                    = `
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .axis { stroke: #57606a; fill: none }
  .grid { stroke: #d0d7de; fill: none }
  .l { fill: none; stroke-width: 2 }
  .c0 { stroke: #0969da } .c1 { stroke: #bc4c00 } .c2 { stroke: #1a7f37 } .c3 { stroke: #8250df }
  circle.c0 { fill: #0969da } circle.c1 { fill: #bc4c00 } circle.c2 { fill: #1a7f37 } circle.c3 { fill: #8250df }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .axis { stroke: #9198a1 }
    .grid { stroke: #3d444d }
    .c0 { stroke: #4493f8 } .c1 { stroke: #f0883e } .c2 { stroke: #3fb950 } .c3 { stroke: #ab7df8 }
    circle.c0 { fill: #4493f8 } circle.c1 { fill: #f0883e } circle.c2 { fill: #3fb950 } circle.c3 { fill: #ab7df8 }
  }
`
)

// plot draws the cost of an element over the size.
func plot(lines []line) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Cost of one element as work grows">`+"\n", wide, high, wide, high)
	fmt.Fprintf(&b, "<style>%s</style>\n", style)
	for n := leastN; n <= mostN; n *= 10 {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %d v%d"/>`+"\n", x(n), top, upper)
		text(&b, x(n), high-bottom+20, "middle", size(n))
	}
	for ns := leastNS; ns <= mostNS; ns *= 10 {
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1f h%d"/>`+"\n", left, y(float64(ns)), inner)
		text(&b, left-8, y(float64(ns))+4, "end", duration(ns))
	}
	fmt.Fprintf(&b, `<path class="axis" d="M%d %d v%d h%d"/>`+"\n", left, top, upper, inner)
	text(&b, left+inner/2, high-bottom+42, "middle", "size")
	fmt.Fprintf(&b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">time for each element</text>`+"\n", top+upper/2)
	for i, l := range lines {
		draw(&b, i, l)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// draw draws one line, its points, and its entry in the legend.
func draw(b *bytes.Buffer, i int, l line) {
	fmt.Fprintf(b, `<path class="l c%d" d="`, i)
	for k, p := range l.points {
		step := "L"
		if k == 0 {
			step = "M"
		}
		fmt.Fprintf(b, "%s%.1f %.1f", step, x(p.n), y(p.ns))
	}
	b.WriteString(`"/>` + "\n")
	for _, p := range l.points {
		fmt.Fprintf(b, `<circle class="c%d" cx="%.1f" cy="%.1f" r="3"><title>%s, %s: %.0f ns</title></circle>`+"\n",
			i, x(p.n), y(p.ns), html.EscapeString(l.name), size(p.n), p.ns)
	}
	lx, ly := float64(left+i%2*inner/2), float64(high-bottom+64+i/2*20)
	fmt.Fprintf(b, `<path class="l c%d" d="M%.1f %.1f h24"/>`+"\n", i, lx, ly-4)
	text(b, lx+32, ly, "start", l.name)
}

func text(b *bytes.Buffer, x, y float64, anchor, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(s))
}

func x(n int) float64 { return left + inner*part(float64(n), leastN, mostN) }

func y(ns float64) float64 { return top + upper*(1-part(ns, leastNS, mostNS)) }

// part is where v lies between least and most, from 0 to 1.
func part(v, least, most float64) float64 {
	return min(max(math.Log(v/least)/math.Log(most/least), 0), 1)
}

func size(n int) string {
	switch {
	case n >= 1_000_000:
		return strconv.Itoa(n/1_000_000) + "M"
	case n >= 1000:
		return strconv.Itoa(n/1000) + "k"
	}
	return strconv.Itoa(n)
}

func duration(ns int) string {
	if ns >= 1000 {
		return strconv.Itoa(ns/1000) + " us"
	}
	return strconv.Itoa(ns) + " ns"
}
