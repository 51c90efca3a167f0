// Command growth measures what one element costs as work grows, and plots it:
// a cost that is linear in the size is a level line.
//
// Usage: go run ./growth [-o growth.svg]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
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
	var lines []line
	for _, s := range all {
		l := line{name: s.name}
		for _, n := range s.sizes {
			if n > *most {
				break
			}
			ns := s.each(n, *rounds)
			l.points = append(l.points, point{n, ns})
			fmt.Fprintf(stdout, "%-32s %9d  %7.0f ns each\n", s.name, n, ns)
		}
		lines = append(lines, l)
	}
	if err := os.WriteFile(*file, plot(lines), 0o644); err != nil {
		fmt.Fprintf(stderr, "growth: %v\n", err)
		return 1
	}
	return 0
}
