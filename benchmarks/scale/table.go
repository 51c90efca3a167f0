package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/twillgo/twill/benchmarks/internal/plot"
)

// The goals for the largest size. Bytes, put and finish are compared with those
// of the size before it: ten million jobs with one million.
const (
	mostBytes = 1.1   // factor
	mostTime  = 1.5   // factor
	mostStep  = 2000  // nanoseconds to cancel a job, and to reprioritize it
	mostPage  = 50000 // nanoseconds to list the first hundred, at the size before
	mostKept  = 65536 // bytes in all: what a queue itself keeps
)

// A column is one cost in the table.
type column struct {
	name string
	cost func(row) float64
	unit func(int) string
	most func(before float64) float64 // the goal
	// early marks a goal for the size before the largest: a million jobs.
	early bool
}

var columns = []column{
	{"bytes", func(r row) float64 { return r.bytes }, plot.Bytes, times(mostBytes), false},
	{"put", func(r row) float64 { return r.put }, plot.Duration, times(mostTime), false},
	{"finish", func(r row) float64 { return r.finish }, plot.Duration, times(mostTime), false},
	{"cancel", func(r row) float64 { return r.cancel }, plot.Duration, fixed(mostStep), false},
	{"reprioritize", func(r row) float64 { return r.reprioritize }, plot.Duration, fixed(mostStep), false},
	{"first 100", func(r row) float64 { return r.page }, plot.Duration, fixed(mostPage), true},
	{"kept in all", func(r row) float64 { return float64(r.kept) }, plot.Bytes, fixed(mostKept), false},
}

func times(factor float64) func(float64) float64 {
	return func(before float64) float64 { return factor * before }
}

func fixed(most float64) func(float64) float64 {
	return func(float64) float64 { return most }
}

// table prints the rows, the goals, and which of those are missed.
func table(out io.Writer, rows []row) (missed bool, err error) {
	last, before := rows[len(rows)-1], rows[len(rows)-2]
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "pending")
	for _, c := range columns {
		fmt.Fprint(w, "\t", c.name)
	}
	fmt.Fprintln(w)
	for _, r := range rows {
		fmt.Fprint(w, plot.Size(r.pending))
		for _, c := range columns {
			fmt.Fprint(w, "\t", c.show(c.cost(r)))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "goal at %s", plot.Size(last.pending))
	for _, c := range columns {
		fmt.Fprint(w, "\t", c.show(c.most(c.cost(before))))
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return false, err
	}
	for _, c := range columns {
		judged := last
		if c.early {
			judged = before
		}
		if cost, most := c.cost(judged), c.most(c.cost(before)); cost > most {
			fmt.Fprintf(out, "missed: %s: %s, the goal is %s\n", c.name, c.show(cost), c.show(most))
			missed = true
		}
	}
	return missed, nil
}

func (c column) show(v float64) string { return c.unit(int(math.Round(v))) }

// draw draws the picture: times, and bytes below.
func draw(sizes plot.Range, rows []row) []byte {
	charts := []plot.Chart{
		{Cost: "time for each job, and for a page", Unit: plot.Duration, Sizes: sizes, Least: 10, Most: 100_000},
		{Cost: "bytes for each job", Unit: plot.Bytes, Sizes: sizes, Least: 10, Most: 1000},
	}
	for _, c := range columns[:len(columns)-1] {
		l := plot.Line{Name: c.name}
		for _, r := range rows {
			l.Points = append(l.Points, plot.Point{N: r.pending, Cost: c.cost(r)})
		}
		to := &charts[0]
		if c.name == "bytes" {
			to = &charts[1]
		}
		to.Lines = append(to.Lines, l)
	}
	return plot.SVG("Cost of a job as more are pending", charts...)
}
