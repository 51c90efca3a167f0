// Command compare runs the benchmarks of this module and of the libraries
// beside it in turns, and prints one table. The whole table takes about three
// minutes; progress is shown on the standard error.
//
// Usage: go run ./compare [-group futures|dispatch|retry|data] [-json] [-peers]
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twillgo/twill/benchmarks/internal/work"
)

func main() {
	testing.Init()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// groups are the parts of the table, in their order.
var groups = []string{"futures", "dispatch", "retry", "data"}

type options struct {
	group     string
	match     *regexp.Regexp
	rounds    int
	benchtime time.Duration
	json      bool
	peers     bool
	check     bool
}

// run is the program. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "compare: %v\n", err)
		return exitUsage
	}
	works, err := choose(opts)
	if err != nil {
		fmt.Fprintf(stderr, "compare: %v\n", err)
		return exitFailed
	}
	rows := make([]row, 0, len(works))
	for i, w := range works {
		fmt.Fprintf(stderr, "%d of %d: %s\n", i+1, len(works), w.Name)
		r, err := measure(w, opts)
		if err != nil {
			fmt.Fprintf(stderr, "compare: %v\n", err)
			return exitFailed
		}
		rows = append(rows, r)
	}
	if opts.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(rows)
	} else {
		err = table(stdout, rows)
	}
	if err != nil {
		fmt.Fprintf(stderr, "compare: %v\n", err)
		return exitFailed
	}
	if opts.check && slices.ContainsFunc(rows, func(r row) bool { return len(r.misses) > 0 }) {
		return exitFailed
	}
	return exitOK
}

func parse(args []string, stderr io.Writer) (opts options, err error) {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.group, "group", "", "the part of the table: "+strings.Join(groups, ", ")+"; all if empty")
	flags.IntVar(&opts.rounds, "count", 15, "rounds, of which the one with the median ratio is shown")
	flags.DurationVar(&opts.benchtime, "benchtime", 30*time.Millisecond, "how long each benchmark takes in each round")
	flags.BoolVar(&opts.json, "json", false, "print an array of objects")
	flags.BoolVar(&opts.peers, "peers", false, "run the other libraries too and list them below their row")
	flags.BoolVar(&opts.check, "check", false, "exit with 1 if a goal is missed")
	match := flags.String("run", "", "only the works whose name matches this `expression`")
	if err = flags.Parse(args); err != nil {
		return opts, err
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("what is %q?", flags.Arg(0))
	}
	if opts.rounds < 1 {
		return opts, errors.New("-count must be at least 1")
	}
	if opts.benchtime <= 0 {
		return opts, errors.New("-benchtime must be more than nothing")
	}
	opts.match, err = regexp.Compile(*match)
	return opts, err
}

// choose returns the works that the options select, at least one.
func choose(opts options) (works []work.Work, err error) {
	if opts.group == "" {
		works = work.All()
	} else if !slices.Contains(groups, opts.group) {
		return nil, fmt.Errorf("no group is called %q: there are %s", opts.group, strings.Join(groups, ", "))
	} else if works = work.Group(opts.group); len(works) == 0 {
		return nil, fmt.Errorf("there is nothing in group %s yet", opts.group)
	}
	works = slices.DeleteFunc(works, func(w work.Work) bool { return !opts.match.MatchString(w.Name) })
	if len(works) == 0 {
		return nil, fmt.Errorf("no work matches %q", opts.match)
	}
	return works, nil
}
