// Command twill-jobs shows and changes the jobs of a durable queue: through the
// process that has the queue open or, if there is none, in the file itself.
//
//	twill-jobs FILE [COMMAND] [FLAG | ID | NAME]...
//
// The program that has the queue open needs nothing for it: durable.Open
// listens on 127.0.0.1, with a token in the file FILE-owner, which only its
// owner can read. durable.Options.NoListener turns that off. If no process has
// the queue open, twill-jobs opens the file, and runs no job. An Open of the
// program waits for it then. twill-jobs never makes the file of a queue. Build
// it from the version of the module that the program has: it migrates a file of
// an earlier version, and refuses one of a later version.
//
// # Commands
//
//	info                      the queue: how many jobs, sizes, the process (without a COMMAND, too)
//	list [FILTER]             jobs, in the order of their ids; -latest turns it round
//	show ID...                all of some jobs, with arguments, results and errors
//	retry ID... | FILTER      put jobs once more that have ended
//	cancel ID... | FILTER     cancel jobs that have not ended
//	export [FILTER]           write jobs as lines of JSON
//	import [NAME]             put the jobs of an export, from a file or the standard input
//	backup NAME               copy the queue to a new file while it goes on
//	compact                   give unused space back, while the queue waits
//	check                     look for damage: checksums of jobs and arguments, counts
//
// list shows 100 jobs and the number of all; -limit changes that, and 0 is no
// limit.
//
// retry puts a new job with the argument, priority, key, group, timeout and
// retry policy of one that has ended. The new job replaces it, unless it had
// finished. A filter means failed and dead jobs if it names no state. The key
// of a job must not be that of another one.
//
// cancel by a filter means pending and parked jobs if the filter names no
// state. A job that is underway is canceled by its id, or with -state underway.
// The jobs are kept as canceled ones, with the text of -reason in the error.
//
// export writes the jobs that have not ended, unless the filter names states.
// While the queue goes on, it is not a picture of one moment; backup is.
//
// import puts jobs with their priority, key, group, times, attempts, crashes,
// timeout and retry policy. import keeps an id only if it is above all ids used
// (by the queue or earlier in the import) and not above 1<<53; the other jobs
// get new ids, and the output names them. A job that is in the queue, or in a
// line not far before, with the same id and argument, is skipped, so that an
// import can be repeated if the ids were kept and the queue still has the jobs
// or keeps them as ended ones. Where an id could not be kept, nothing tells
// that the job was imported before: a second import puts it again, unless it
// has a key that is taken. Jobs that were underway or parked are pending. Those
// that have ended are skipped, or put as new ones with -again. A job is refused
// if the queue would refuse it: its key is taken, the queue is full, its
// argument or its retry policy is not known to the program. Without a process
// that has the queue open the last two are not checked: a job whose argument
// cannot be read is parked when it starts. What import has reported as done is
// on disk.
//
// check reads all of the queue while it goes on. SQLite's own check of the file
// is made if no process has the queue open, or with -deep; the queue waits for
// it.
//
// # Filters
//
// A job is meant if all flags hold. Without any, retry and cancel need -all.
//
//	-state NAMES      pending, underway, parked, finished, failed, canceled, dead; separated by commas
//	-kind NAME        the argument is a JSON object whose member "kind" or "type", in any case, is NAME
//	-priority N       the priority is N; M..N, M.. and ..N are ranges
//	-key PREFIX       the key begins with PREFIX
//	-group NAME       the group is NAME
//	-older DURATION   it has ended that long ago or, if it has not, was put then: 90s, 15m, 36h, 7d
//	-newer DURATION   not that long ago
//	-error TEXT       the error has TEXT in it
//	-cause NAMES      the error is a known one: canceled, expired, goexit, retries, timeout, dead, damaged, not-kept
//	-arg TEXT         the argument has TEXT in it; JSON is searched as it is written
//
// -arg looks into the bytes of an argument. The usual codec writes JSON, where
// Go has \u003c, \u003e and \u0026 for <, > and &, and \" for a quotation mark:
// TEXT is looked for as it is given, and as it is in a string of JSON. -kind
// reads the JSON.
//
// # Other flags
//
//	-all              all jobs (retry and cancel; export: those that have ended, too)
//	-dry-run          say what would be done, and change nothing (retry, cancel, import, compact)
//	-json             lines of JSON, the last one a summary
//	-quiet            print no line for a job that went well (retry, cancel, import)
//	-wait DURATION    how long the process that has the queue open may take to be ready, and later
//	                  give no sign of life (then 2s at least), as one that is stopped; 10s
//	-limit N, -latest, -args   of list: how many, in which order, with arguments
//	-reason TEXT      of cancel
//	-again            of import
//	-deep             of check
//
// What comes from jobs is printed so that it cannot control a terminal. Work
// that takes more than two seconds reports on the standard error how far it is.
// An interrupt ends the work between two jobs; what was reported is done.
//
// The exit status is 0 if all was done, 1 if jobs were skipped, something
// failed or damage was found, and 2 if the command line is wrong. (go run exits
// with 1 for each of the last two.)
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twillgo/twill/durable/internal/steer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends the process
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const usage = `usage: twill-jobs FILE [COMMAND] [FLAG | ID | NAME]...

  info                    how many jobs, sizes, the process that has the queue
  list [FILTER]           jobs
  show ID...              all of some jobs
  retry ID... | FILTER    put jobs once more that have ended
  cancel ID... | FILTER   cancel jobs that have not ended
  export [FILTER]         write jobs as lines of JSON
  import [NAME]           put the jobs of an export
  backup NAME             copy the queue to a new file
  compact                 give unused space back
  check                   look for damage

filters: -state NAMES -kind NAME -priority N|M..N -key PREFIX -group NAME -older 7d
         -newer 1h -error TEXT -cause NAMES -arg TEXT; -all where there is none
others:  -dry-run -json -quiet -wait 10s -limit N -latest -args -reason TEXT -again -deep
`

// errUsage is in the error about a command line that is wrong.
var errUsage = errors.New("usage")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// run is the command. It returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := bufio.NewWriter(stdout)
	defer out.Flush()
	c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, usage)
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "twill-jobs: %s\n", steer.Clean(strings.TrimPrefix(err.Error(), errUsage.Error()+": ")))
		if len(args) == 0 {
			fmt.Fprint(stderr, usage)
		}
		return 2
	}
	p := newPrinter(c, out, stderr)
	defer p.stop()
	if err := c.run(ctx, p, stdin); err != nil {
		p.fail(err)
	}
	return p.status()
}

// command is a command line.
type command struct {
	file string
	name string
	args []string // that are not flags

	req    steer.Request
	all    bool
	json   bool
	quiet  bool
	wait   time.Duration
	filter bool // a flag of the filter is set
}

// commands are the names of the commands, and which flags they know beside
// -json and -wait.
var commands = map[string]string{
	"info":    "",
	"list":    filterFlags + " limit latest args",
	"show":    "",
	"retry":   filterFlags + " all dry-run quiet",
	"cancel":  filterFlags + " all dry-run quiet reason",
	"export":  filterFlags + " all",
	"import":  "dry-run quiet again",
	"backup":  "",
	"compact": "dry-run",
	"check":   "deep",
}

const filterFlags = "state kind priority key group older newer error cause arg"

// parse reads the command line.
func parse(args []string) (*command, error) {
	c := &command{name: "info", wait: 10 * time.Second}
	if len(args) == 0 {
		return nil, wrong("no FILE")
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		return nil, flag.ErrHelp
	}
	if strings.HasPrefix(args[0], "-") {
		return nil, wrong("the FILE comes before the flags; ./%s is a file", args[0])
	}
	c.file, args = args[0], args[1:]
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		c.name, args = args[0], args[1:]
	}
	known, ok := commands[c.name]
	if !ok {
		return nil, wrong("no command %q; there are info, list, show, retry, cancel, export, import, backup, compact and check", c.name)
	}
	flags := c.flags(strings.Fields(known))
	for { // flags and other arguments may be mixed
		if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, wrong("%s: %v; twill-jobs help lists the flags", c.name, err)
		}
		rest := flags.Args()
		if len(rest) == 0 {
			break
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			c.args = append(c.args, rest...)
			break
		}
		c.args, args = append(c.args, rest[0]), rest[1:]
	}
	flags.Visit(func(f *flag.Flag) {
		c.filter = c.filter || slices.Contains(strings.Fields(filterFlags), f.Name)
	})
	return c, c.check()
}

// flags are the flags of the command.
func (c *command) flags(known []string) *flag.FlagSet {
	all := flag.NewFlagSet(c.name, flag.ContinueOnError)
	f := &c.req.Filter
	all.Func("state", "", func(s string) (err error) { f.States, err = names(s, steer.States()); return err })
	all.Func("cause", "", func(s string) (err error) { f.Causes, err = names(s, steer.Causes()); return err })
	all.Func("priority", "", func(s string) (err error) { f.Low, f.High, err = priorities(s); return err })
	all.Func("older", "", func(s string) (err error) { f.Older, err = duration(s); return err })
	all.Func("newer", "", func(s string) (err error) { f.Newer, err = duration(s); return err })
	all.Func("group", "", func(s string) error { f.Group = (*steer.Text)(&s); return nil })
	for name, text := range map[string]*steer.Text{"key": &f.KeyPrefix, "error": &f.Error, "arg": &f.Arg, "kind": &f.Kind} {
		all.Func(name, "", func(s string) error {
			if s == "" {
				return errors.New("is empty")
			}
			*text = steer.Text(s)
			return nil
		})
	}
	all.BoolVar(&c.all, "all", false, "")
	all.BoolVar(&c.req.Dry, "dry-run", false, "")
	all.BoolVar(&c.json, "json", false, "")
	all.BoolVar(&c.quiet, "quiet", false, "")
	all.DurationVar(&c.wait, "wait", c.wait, "")
	all.IntVar(&c.req.Limit, "limit", 100, "")
	all.BoolVar(&c.req.Latest, "latest", false, "")
	all.BoolVar(&c.req.Args, "args", false, "")
	all.StringVar(&c.req.Cause, "reason", "canceled by twill-jobs", "")
	all.BoolVar(&c.req.Again, "again", false, "")
	all.BoolVar(&c.req.Deep, "deep", false, "")

	own := flag.NewFlagSet(c.name, flag.ContinueOnError)
	own.SetOutput(io.Discard)
	for _, name := range append(known, "json", "wait") {
		f := all.Lookup(name)
		own.Var(f.Value, name, "")
	}
	return own
}

// check completes the request, and says what is wrong with the command line.
func (c *command) check() error {
	c.req.Version, c.req.Do = steer.Version, c.name
	switch c.name {
	case "retry", "cancel", "show":
		for _, arg := range c.args {
			id, err := steer.ParseID(arg)
			if err != nil {
				return wrong("%s: %v", c.name, err)
			}
			if !slices.Contains(c.req.IDs, id) {
				c.req.IDs = append(c.req.IDs, id)
			}
		}
	case "backup":
		if len(c.args) != 1 {
			return wrong("backup: the name of one new file is needed")
		}
		path, err := filepath.Abs(c.args[0]) // the process of the queue is in another folder
		if err != nil {
			return wrong("backup: %v", err)
		}
		c.req.Path = path
	case "import":
		if len(c.args) > 1 {
			return wrong("import: one file at a time")
		}
	default:
		if len(c.args) > 0 {
			return wrong("%s: unexpected %q", c.name, c.args[0])
		}
	}
	switch c.name {
	case "show":
		if len(c.req.IDs) == 0 {
			return wrong("show: which jobs? Their ids are in the list")
		}
		c.req.Do, c.req.Args, c.req.Why = steer.List, true, true
		c.req.Limit = 0
	case "retry", "cancel":
		switch {
		case len(c.req.IDs) > 0 && (c.filter || c.all):
			return wrong("%s: ids, or a filter, not both", c.name)
		case len(c.req.IDs) == 0 && !c.filter && !c.all:
			return wrong("%s: which jobs? Name them by ids or a filter, or all by -all", c.name)
		}
	case "list":
		if c.req.Limit < 0 {
			return wrong("list: -limit %d", c.req.Limit)
		}
	case "export":
		c.req.Do, c.req.Args, c.req.Limit = steer.List, true, 0
		if !c.all && len(c.req.Filter.States) == 0 {
			c.req.Filter.States = []string{"pending", "underway", "parked"}
		}
	}
	return nil
}

// names reads a list of names.
func names(s string, known []string) ([]string, error) {
	list := strings.Split(s, ",")
	for _, name := range list {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%q is not one of %s", name, strings.Join(known, ", "))
		}
	}
	return list, nil
}

// priorities reads a priority or a range.
func priorities(s string) (low, high *int64, err error) {
	number := func(s string) *int64 {
		if s == "" {
			return nil
		}
		n, e := strconv.ParseInt(s, 10, 64)
		if e != nil {
			err = errors.New("not a priority, or a range such as 3..7")
		}
		return &n
	}
	from, to, isRange := strings.Cut(s, "..")
	low = number(from)
	if high = low; isRange {
		high = number(to)
	}
	if low == nil && high == nil {
		err = errors.New("not a priority, or a range such as 3..7")
	}
	return low, high, err
}

// duration reads a duration, with days.
func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		d = time.Duration(n * float64(24*time.Hour))
	}
	if err != nil || d <= 0 {
		return 0, errors.New("not a duration such as 90s, 15m, 36h or 7d")
	}
	return d, nil
}

// run does the work.
func (c *command) run(ctx context.Context, p *printer, stdin io.Reader) (err error) {
	q, err := steer.Open(ctx, c.file, c.wait, func(owner int) {
		p.note(fmt.Sprintf("waiting for process %d, which has the file open", owner))
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	p.owner = q.Owner
	for _, err := range q.Found {
		p.damage(err.Error())
	}
	switch c.name {
	case "import":
		return c.importJobs(ctx, q, p, stdin)
	case "check":
		c.req.Deep = c.req.Deep || q.Owner == 0
	case "export":
		p.begin()
	}
	if err := q.Do(ctx, &c.req, p.reply); err != nil {
		return err
	}
	p.end()
	return nil
}
