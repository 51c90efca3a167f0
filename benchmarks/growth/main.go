// Command growth measures the cost of one element as work grows, and plots it:
// a cost that is linear in the size is a level line. It takes about two
// minutes, and prints a line for each size.
//
// Usage: go run ./growth [-o growth.svg]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/twillgo/twill/benchmarks/internal/plot"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("growth", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("o", "growth.svg", "the `file` to write the plot to")
	most := flags.Int("max", 1_000_000, "the largest size")
	rounds := flags.Int("count", 5, "rounds, of which the fastest counts")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	chart := plot.Chart{
		Cost: "time for each element", Unit: plot.Duration, Least: 10, Most: 10_000,
		Sizes: plot.Range{First: 1, Last: 1_000_000},
	}
	for _, s := range all {
		l := plot.Line{Name: s.name}
		for _, n := range s.sizes.Powers() {
			if n > *most {
				break
			}
			ns := s.each(n, *rounds)
			l.Points = append(l.Points, plot.Point{N: n, Cost: ns})
			fmt.Fprintf(stdout, "%-32s %9d  %7.0f ns each\n", s.name, n, ns)
		}
		chart.Lines = append(chart.Lines, l)
	}
	if err := os.WriteFile(*file, plot.SVG("Cost of one element as work grows", chart), 0o644); err != nil {
		fmt.Fprintf(stderr, "growth: %v\n", err)
		return 1
	}
	return 0
}
