// Command scale fills a ResizableDispatchQueue with more and more pending jobs,
// works on it and empties it, and shows the cost of a job at each size, up to
// ten million.
//
// Usage: go run ./scale [-o scale.svg] [-max 10000000]
//
// The largest size uses about two gigabytes of memory.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/twillgo/twill/benchmarks/internal/plot"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

type options struct {
	file   string
	most   int
	rounds int
	check  bool
}

// run is the program. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "scale: %v\n", err)
		return exitUsage
	}
	sizes := plot.Range{First: opts.most / 1000, Last: opts.most}
	var rows []row
	for _, n := range sizes.Powers() {
		fmt.Fprintf(stderr, "%s pending\n", plot.Size(n))
		rows = append(rows, measure(n, opts.rounds))
	}
	missed, err := table(stdout, rows)
	if err == nil {
		err = os.WriteFile(opts.file, draw(sizes, rows), 0o644)
	}
	if err != nil {
		fmt.Fprintf(stderr, "scale: %v\n", err)
		return exitFailed
	}
	if opts.check && missed {
		return exitFailed
	}
	return exitOK
}

func parse(args []string, stderr io.Writer) (opts options, err error) {
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.file, "o", "scale.svg", "the `file` to write the plot to")
	flags.IntVar(&opts.most, "max", 10_000_000, "the largest number of jobs, a power of ten; the others are a tenth, hundredth and thousandth of it")
	flags.IntVar(&opts.rounds, "count", 3, "rounds, of which the fastest counts")
	flags.BoolVar(&opts.check, "check", false, "exit with 1 if a goal is missed")
	if err = flags.Parse(args); err != nil {
		return opts, err
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("what is %q?", flags.Arg(0))
	}
	power := opts.most
	for power > 1 && power%10 == 0 {
		power /= 10
	}
	if power != 1 || opts.most < 1000 {
		return opts, fmt.Errorf("-max is %d, and must be a power of ten from 1000 on", opts.most)
	}
	if opts.rounds < 1 {
		return opts, errors.New("-count must be at least 1")
	}
	return opts, nil
}
