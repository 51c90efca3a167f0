// Twillctl shows and controls the dispatch queues of a program, through the API
// of its admin page.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/twillgo/twill/admin/internal/client"
)

const usage = `Usage: twillctl -url ADDRESS COMMAND [FLAGS] [ARGUMENTS]

  list                                  all queues
  list [-state STATE] [-n N] QUEUE [FILTER...]
                                        jobs of a queue
  show QUEUE [JOB]                      a queue, or one job by id or key
  watch [-every 1s] [-times N] QUEUE    a progress line, until Ctrl-C
  width [-for 30m] QUEUE N|unlimited|paused
  rate [-for 30m] [-burst N] QUEUE PER-SECOND|unlimited
  groups [-n N] QUEUE                   groups of jobs, those held back first
  group [-for 30m] QUEUE GROUP width=N|rate=N|burst=N|pause|resume|reset...
  pause [-for 30m] QUEUE
  resume QUEUE
  cancel [-yes] QUEUE FILTER...         all jobs that match; without -yes a dry run
  count QUEUE FILTER...                 how many match, and the oldest of them
  export [-state STATE] QUEUE [FILTER...]
                                        jobs as CSV

Filters are those of the page: words, key:user-5, priority:<0, age:>10m,
state:failed; "all" is every job. A changing command takes -reason TEXT, which
comes before its arguments as all flags do. ADDRESS is that of the page, such as
http://127.0.0.1:8321/queues/, and may have a user and a password; the
environment variable TWILLCTL_URL is its default.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "twillctl:", err)
		os.Exit(1)
	}
}

// tool is one run of the command.
type tool struct {
	ctx context.Context
	c   *client.Client
	out io.Writer
	err io.Writer

	state, forTime, reason string
	n, times, burst        int
	every                  time.Duration
	yes                    bool
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	top := flag.NewFlagSet("twillctl", flag.ContinueOnError)
	top.SetOutput(errOut)
	top.Usage = func() { fmt.Fprint(errOut, usage) }
	address := top.String("url", os.Getenv("TWILLCTL_URL"), "")
	if err := top.Parse(args); err != nil {
		return err
	}
	if top.NArg() == 0 {
		fmt.Fprint(errOut, usage)
		return fmt.Errorf("no command")
	}
	if *address == "" {
		return fmt.Errorf("no -url, and no TWILLCTL_URL")
	}
	c, err := client.New(*address)
	if err != nil {
		return err
	}
	t := &tool{ctx: ctx, c: c, out: out, err: errOut}
	name := top.Arg(0)
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(errOut)
	set.Usage = top.Usage
	set.StringVar(&t.state, "state", "", "")
	set.IntVar(&t.n, "n", 50, "")
	set.StringVar(&t.forTime, "for", "", "")
	set.StringVar(&t.reason, "reason", "", "")
	set.BoolVar(&t.yes, "yes", false, "")
	set.DurationVar(&t.every, "every", time.Second, "")
	set.IntVar(&t.times, "times", 0, "")
	set.IntVar(&t.burst, "burst", 0, "")
	if err := set.Parse(top.Args()[1:]); err != nil {
		return err
	}
	rest := set.Args()
	need := func(least, most int) bool { return len(rest) >= least && (most < 0 || len(rest) <= most) }
	switch {
	case name == "list" && need(0, 0):
		return t.queues()
	case name == "list" && need(1, -1):
		return t.list(rest[0], strings.Join(rest[1:], " "))
	case name == "show" && need(1, 1):
		return t.showQueue(rest[0])
	case name == "show" && need(2, 2):
		return t.showJob(rest[0], rest[1])
	case name == "watch" && need(1, 1):
		return t.watch(rest[0])
	case name == "width" && need(2, 2):
		return t.width(rest[0], rest[1])
	case name == "rate" && need(2, 2):
		return t.rate(rest[0], rest[1])
	case name == "groups" && need(1, 1):
		return t.groups(rest[0])
	case name == "group" && need(3, -1):
		return t.group(rest[0], rest[1], rest[2:])
	case name == "count" && need(2, -1):
		return t.count(rest[0], strings.Join(rest[1:], " "))
	case name == "pause" && need(1, 1), name == "resume" && need(1, 1):
		return t.act(rest[0], name, map[string]any{})
	case name == "cancel" && need(2, -1):
		return t.cancel(rest[0], strings.Join(rest[1:], " "))
	case name == "export" && need(1, -1):
		return t.export(rest[0], strings.Join(rest[1:], " "))
	}
	fmt.Fprint(errOut, usage)
	return fmt.Errorf("no command %q with %d arguments", name, len(rest))
}

type queue struct {
	Name                                              string
	Paused, Stopped                                   bool
	Width, DeclaredWidth                              any
	Rate, Error                                       string
	Pending, Delayed, Underway                        int
	Put, Refused, Retries, Finished, Failed, Canceled uint64
	Throughput                                        float64
	EmptyIn                                           *float64  `json:"empty_in_seconds"`
	Waiting                                           durations `json:"waiting_seconds"`
	Running                                           durations `json:"running_seconds"`
	Changes                                           map[string]struct {
		Value, Who string
		Until      *time.Time
	}
}

type durations struct{ P50, P90, P99, Max float64 }

func (q *queue) state() string {
	switch {
	case q.Stopped:
		return "stopped"
	case q.Paused:
		return "paused"
	}
	return "running"
}

func (q *queue) empty() string {
	if q.EmptyIn == nil {
		return "not at this rate"
	}
	return seconds(*q.EmptyIn)
}

type job struct {
	ID, State, Key, Arg, Error, Stack, Why string
	Priority, Attempts                     int
	QueuedAt                               time.Time  `json:"queued_at"`
	DueAt                                  *time.Time `json:"due_at"`
	StartedAt                              *time.Time `json:"started_at"`
	EndedAt                                *time.Time `json:"ended_at"`
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}

// plain returns a text that is safe for a terminal: control characters are
// escaped.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return '\ufffd'
		}
		return r
	}, s)
}

func (t *tool) table(rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	rows(w)
	return w.Flush()
}

func (t *tool) queues() error {
	var v struct{ Queues []queue }
	if err := t.c.Get(t.ctx, client.Path("queues"), nil, &v); err != nil {
		return err
	}
	return t.table(func(w io.Writer) {
		fmt.Fprintln(w, "QUEUE\tSTATE\tWIDTH\tUNDERWAY\tPENDING\tENDED/S\tFAILED\tEMPTY IN")
		for _, q := range v.Queues {
			fmt.Fprintf(w, "%s\t%s\t%v\t%d\t%d\t%.3g\t%d\t%s\n", plain(q.Name), q.state(), q.Width, q.Underway, q.Pending, q.Throughput, q.Failed, q.empty())
		}
	})
}

// jobs calls each for up to n jobs of a queue, or for all if n is 0.
func (t *tool) jobs(queue, filter string, n int, each func(job) error) (more bool, err error) {
	query := url.Values{"limit": {"500"}}
	if n > 0 && n < 500 {
		query.Set("limit", strconv.Itoa(n))
	}
	for name, value := range map[string]string{"state": t.state, "filter": filter} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for seen := 0; ; {
		var l struct {
			Jobs []job
			Next string
		}
		if err := t.c.Get(t.ctx, client.Path("queues", queue, "jobs"), query, &l); err != nil {
			return false, err
		}
		for _, j := range l.Jobs {
			if n > 0 && seen == n {
				return true, nil
			}
			seen++
			if err := each(j); err != nil {
				return false, err
			}
		}
		if l.Next == "" || n > 0 && seen == n {
			return l.Next != "", nil
		}
		query.Set("cursor", l.Next)
	}
}

func (t *tool) list(queue, filter string) error {
	var more bool
	var err error
	if flushErr := t.table(func(w io.Writer) {
		fmt.Fprintln(w, "JOB\tSTATE\tPRIORITY\tATTEMPTS\tAGE\tKEY\tARGUMENT\tERROR")
		more, err = t.jobs(queue, filter, t.n, func(j job) error {
			age := time.Since(j.QueuedAt).Round(time.Second)
			_, err := fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", plain(j.ID), j.State, j.Priority, j.Attempts, age, plain(j.Key), plain(j.Arg), plain(j.Error))
			return err
		})
	}); err == nil {
		err = flushErr
	}
	if more {
		fmt.Fprintln(t.err, "there are more; -n says how many are shown")
	}
	return err
}

func (t *tool) showQueue(name string) error {
	var q queue
	if err := t.c.Get(t.ctx, client.Path("queues", name), nil, &q); err != nil {
		return err
	}
	return t.table(func(w io.Writer) {
		fmt.Fprintf(w, "queue\t%s\nstate\t%s\nwidth\t%v\n", plain(q.Name), q.state(), q.Width)
		if q.Rate != "" {
			fmt.Fprintf(w, "rate\t%s\n", plain(q.Rate))
		}
		fmt.Fprintf(w, "underway\t%d\npending\t%d, %d of them delayed\nempty in\t%s\nended per second\t%.3g\n", q.Underway, q.Pending, q.Delayed, q.empty(), q.Throughput)
		fmt.Fprintf(w, "put\t%d, %d refused\nended\t%d finished, %d failed, %d canceled, %d retries\n", q.Put, q.Refused, q.Finished, q.Failed, q.Canceled, q.Retries)
		for _, d := range []struct {
			name string
			durations
		}{{"wait", q.Waiting}, {"run", q.Running}} {
			fmt.Fprintf(w, "%s\tp50 %s, p90 %s, p99 %s, longest %s\n", d.name, seconds(d.P50), seconds(d.P90), seconds(d.P99), seconds(d.Max))
		}
		for name, c := range q.Changes {
			fmt.Fprintf(w, "%s\tset to %s by %s", name, plain(c.Value), plain(c.Who))
			if c.Until != nil {
				fmt.Fprintf(w, ", back at %s", c.Until.Local().Format(time.DateTime))
			}
			fmt.Fprintln(w)
		}
		if q.Error != "" {
			fmt.Fprintf(w, "error\t%s\n", plain(q.Error))
		}
	})
}

func (t *tool) showJob(queue, id string) error {
	var j job
	if err := t.c.Get(t.ctx, client.Path("queues", queue, "jobs", id), nil, &j); err != nil {
		return err
	}
	err := t.table(func(w io.Writer) {
		fmt.Fprintf(w, "job\t%s\nstate\t%s\npriority\t%d\nattempts\t%d\nqueued\t%s\n", plain(j.ID), j.State, j.Priority, j.Attempts, j.QueuedAt.Local().Format(time.DateTime))
		for _, at := range []struct {
			name string
			time *time.Time
		}{{"due", j.DueAt}, {"started", j.StartedAt}, {"ended", j.EndedAt}} {
			if at.time != nil {
				fmt.Fprintf(w, "%s\t%s\n", at.name, at.time.Local().Format(time.DateTime))
			}
		}
		for _, s := range []struct{ name, text string }{{"key", j.Key}, {"argument", j.Arg}, {"why", j.Why}, {"error", j.Error}} {
			if s.text != "" {
				fmt.Fprintf(w, "%s\t%s\n", s.name, plain(s.text))
			}
		}
	})
	for line := range strings.Lines(j.Stack) {
		fmt.Fprintln(t.out, plain(strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "    ")))
	}
	return err
}

func (t *tool) watch(name string) error {
	tick := time.NewTicker(max(t.every, 100*time.Millisecond))
	defer tick.Stop()
	longest := 0
	for n := 1; ; n++ {
		var q queue
		if err := t.c.Get(t.ctx, client.Path("queues", name), nil, &q); err != nil {
			if t.ctx.Err() != nil {
				return nil
			}
			return err
		}
		line := fmt.Sprintf("%s %s: %d of %v underway, %d pending, %d finished, %d failed, %.3g/s, empty in %s",
			time.Now().Format(time.TimeOnly), q.state(), q.Underway, q.Width, q.Pending, q.Finished, q.Failed, q.Throughput, q.empty())
		longest = max(longest, len(line))
		fmt.Fprintf(t.out, "\r%-*s", longest, line)
		if n == t.times {
			fmt.Fprintln(t.out)
			return nil
		}
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			fmt.Fprintln(t.out)
			return nil
		}
	}
}

func (t *tool) width(queue, width string) error {
	body := map[string]any{"width": width}
	if n, err := strconv.Atoi(width); err == nil {
		body["width"] = n
	}
	return t.act(queue, "width", body)
}

func (t *tool) rate(queue, rate string) error {
	body := map[string]any{"per_second": rate}
	if n, err := strconv.ParseFloat(rate, 64); err == nil {
		body["per_second"] = n
	}
	if t.burst != 0 {
		body["burst"] = t.burst
	}
	return t.act(queue, "rate", body)
}

func (t *tool) act(queue, action string, body map[string]any) error {
	if t.forTime != "" {
		body["for"] = t.forTime
	}
	if t.reason != "" {
		body["reason"] = t.reason
	}
	var o struct{ Detail string }
	if err := t.c.Post(t.ctx, client.Path("queues", queue, action), body, &o); err != nil {
		return err
	}
	fmt.Fprintln(t.out, strings.TrimSpace("done: "+action+" "+plain(o.Detail)))
	return nil
}

type operation struct {
	ID, State, Filter, Error              string
	Scanned, Total, Matched, Done, Failed int
	Skipped                               map[string]int
	Jobs                                  []job
	Failures                              []struct{ ID, Error string }
	Ages                                  struct{ Priorities, Groups []age }
}

type age struct {
	Name   string
	Jobs   int
	Oldest float64 `json:"oldest_seconds"`
}

// cancel makes a dry run or, with -yes, cancels all jobs that match.
func (t *tool) cancel(queue, filter string) error {
	var op operation
	body := map[string]any{"filter": filter, "dry_run": !t.yes, "reason": t.reason}
	if err := t.c.Post(t.ctx, client.Path("queues", queue, "bulk", "cancel"), body, &op); err != nil {
		return err
	}
	if err := t.follow(&op, "canceled"); err != nil {
		return err
	}
	if !t.yes {
		for _, j := range op.Jobs {
			fmt.Fprintf(t.out, "%s  %s  priority %d  %s\n", plain(j.ID), j.State, j.Priority, plain(j.Arg))
		}
		fmt.Fprintf(t.out, "dry run of %s: %d jobs match %q; -yes cancels them\n", op.ID, op.Matched, op.Filter)
		return nil
	}
	fmt.Fprintf(t.out, "%s: %d canceled, %d failed", op.State, op.Done, op.Failed)
	for reason, n := range op.Skipped {
		fmt.Fprintf(t.out, ", %d skipped: %s", n, reason)
	}
	fmt.Fprintln(t.out)
	for _, f := range op.Failures {
		fmt.Fprintf(t.out, "%s: %s\n", plain(f.ID), plain(f.Error))
	}
	if op.State != "done" || op.Failed > 0 {
		return fmt.Errorf("operation %s was not done for all: %s", op.ID, plain(op.Error))
	}
	return nil
}

// follow shows how far an operation is, until it is over. Ctrl-C aborts it on
// the server.
func (t *tool) follow(op *operation, what string) error {
	ctx := t.ctx
	for op.State == "running" {
		done := op.Done
		if what == "match" {
			done = op.Matched
		}
		fmt.Fprintf(t.err, "\r%d of about %d jobs looked at, %d %s", op.Scanned, op.Total, done, what)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			ctx = context.WithoutCancel(ctx)
			if err := t.c.Post(ctx, client.Path("operations", op.ID, "abort"), struct{}{}, op); err != nil {
				return err
			}
		}
		if err := t.c.Get(ctx, client.Path("operations", op.ID), nil, op); err != nil {
			if ctx.Err() != nil {
				continue
			}
			return err
		}
	}
	fmt.Fprintln(t.err)
	return nil
}

func (t *tool) export(queue, filter string) error {
	query := url.Values{}
	for name, value := range map[string]string{"state": t.state, "filter": filter} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return t.c.Stream(t.ctx, client.Path("queues", queue, "export"), query, t.out)
}

type limit struct{ Text string }

func (t *tool) groups(queue string) error {
	var l struct {
		Groups []struct {
			Name                string
			Own, Held           bool
			Limit               limit
			Jobs, Underway, Due int
			NextSince           *time.Time `json:"next_since"`
		}
		Total  int
		Common limit
	}
	query := url.Values{"limit": {strconv.Itoa(min(max(t.n, 1), 500))}}
	if err := t.c.Get(t.ctx, client.Path("queues", queue, "groups"), query, &l); err != nil {
		return err
	}
	if l.Total > len(l.Groups) {
		fmt.Fprintf(t.err, "%d of %d groups; -n says how many are shown\n", len(l.Groups), l.Total)
	}
	return t.table(func(w io.Writer) {
		fmt.Fprintln(w, "GROUP\tLIMIT\tUNDERWAY\tDUE\tJOBS\tNEXT WAITS\tHELD")
		for _, g := range l.Groups {
			text, wait, held := g.Limit.Text, "", ""
			if g.Own {
				text += " (its own)"
			}
			if g.NextSince != nil {
				wait = time.Since(*g.NextSince).Round(time.Millisecond).String()
			}
			if g.Held {
				held = "held"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", plain(g.Name), text, g.Underway, g.Due, g.Jobs, wait, held)
		}
		fmt.Fprintf(w, "all others\t%s\n", l.Common.Text)
	})
}

// group changes the limit of a group as settings such as width=3 say.
func (t *tool) group(queue, name string, settings []string) error {
	body := map[string]any{"group": name}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		number, err := strconv.ParseFloat(value, 64)
		switch {
		case s == "pause" || s == "resume":
			body["paused"] = s == "pause"
		case s == "reset":
			body["reset"] = true
		case (key == "width" || key == "rate") && (err == nil || value == "unlimited"), key == "burst" && err == nil:
			if key == "rate" {
				key = "per_second"
			}
			body[key] = number
			if err != nil {
				body[key] = value
			}
		default:
			return fmt.Errorf("%q is none of width=N, rate=N, burst=N, pause, resume and reset", s)
		}
	}
	return t.act(queue, "group", body)
}

// count counts the jobs that match, and shows the oldest.
func (t *tool) count(queue, filter string) error {
	var op operation
	if err := t.c.Post(t.ctx, client.Path("queues", queue, "bulk", "count"), map[string]any{"filter": filter}, &op); err != nil {
		return err
	}
	if err := t.follow(&op, "match"); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s: %d jobs match %q, of %d looked at\n", op.State, op.Matched, plain(op.Filter), op.Scanned)
	err := t.table(func(w io.Writer) {
		for _, part := range []struct {
			name string
			rows []age
		}{{"PRIORITY", op.Ages.Priorities}, {"GROUP", op.Ages.Groups}} {
			if len(part.rows) > 0 {
				fmt.Fprintf(w, "%s\tPENDING\tOLDEST\n", part.name)
			}
			for _, a := range part.rows {
				name := plain(a.Name)
				if name == "" {
					name = "others"
				}
				fmt.Fprintf(w, "%s\t%d\t%s\n", name, a.Jobs, seconds(a.Oldest))
			}
		}
	})
	if err == nil && op.State != "done" {
		err = fmt.Errorf("operation %s: %s", op.ID, cmp.Or(plain(op.Error), op.State))
	}
	return err
}
