package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/twillgo/twill/durable/internal/steer"
)

// printer prints what a command finds and does.
type printer struct {
	c     *command
	quit  chan struct{}
	ended chan struct{} // closed when no report comes any longer

	owner int // the process that has the queue open, 0 if this one has

	// mu guards what follows, as the reports on progress come from a goroutine.
	mu       sync.Mutex
	out      *bufio.Writer
	err      io.Writer
	table    *tabwriter.Writer // of list; nil before the first row
	rows     int               // in table, since it was flushed
	progress string            // how far the work is, "" if that is not known
	printed  time.Time         // the last output
	now      time.Time

	last                           steer.End // of the last request
	done, skipped, failed, damages int64
	broken                         bool // an error was printed
}

// maxText is how much of a text that can have any size is printed where it is
// only one of several things.
const maxText = 200

// reportEvery is how often progress is reported while nothing is printed.
const reportEvery = 2 * time.Second

func newPrinter(c *command, out *bufio.Writer, err io.Writer) *printer {
	p := &printer{c: c, out: out, err: err, quit: make(chan struct{}), ended: make(chan struct{}), now: time.Now(), printed: time.Now()}
	go p.report()
	return p
}

// stop ends the reports: nothing is printed after it.
func (p *printer) stop() {
	close(p.quit)
	<-p.ended
}

func (p *printer) report() {
	defer close(p.ended)
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-ticker.C:
			p.mu.Lock()
			if time.Since(p.printed) >= reportEvery {
				text := p.progress
				if text == "" {
					text = "working"
				}
				fmt.Fprintf(p.err, "twill-jobs: %s: %s\n", p.c.name, text)
			}
			p.flushLocked()
			p.mu.Unlock()
		}
	}
}

// status is the exit status.
func (p *printer) status() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushLocked()
	if p.broken || p.skipped+p.failed+p.damages > 0 {
		return 1
	}
	return 0
}

func (p *printer) flushLocked() {
	if p.table != nil {
		p.table.Flush()
		p.rows = 0
	}
	p.out.Flush()
}

// note prints a line that is no error.
func (p *printer) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.err, "twill-jobs: %s\n", steer.Clean(strings.TrimPrefix(text, "durable: ")))
}

// fail prints an error.
func (p *printer) fail(err error) {
	text := err.Error()
	if errors.Is(err, context.Canceled) {
		text = "interrupted; what was reported is done"
		p.summary()
	}
	p.note(text)
	p.broken = true
}

// damage prints what was found damaged.
func (p *printer) damage(text string) {
	p.damages++
	if !p.c.json || p.c.name == "export" {
		p.note("damage: " + text)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jsonLocked(steer.Reply{Damage: text})
}

// reply prints a reply.
func (p *printer) reply(r *steer.Reply) error {
	switch {
	case r.Job != nil:
		return p.job(r.Job)
	case r.Outcome != nil:
		p.outcome(r.Outcome)
	case r.Damage != "":
		p.damage(r.Damage)
	case r.Progress != nil:
		text := r.Progress.What
		if r.Progress.Of > 0 {
			text = fmt.Sprintf("%s of %s %s", group(r.Progress.Done), group(r.Progress.Of), text)
		}
		p.reached(text)
	case r.End != nil:
		p.last = *r.End
	}
	return nil
}

// reached notes how far the work is.
func (p *printer) reached(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.progress = text
}

func (p *printer) job(j *steer.Job) error {
	if j.Damage != "" {
		p.damage(j.Damage)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.printed = time.Now()
	switch {
	case p.c.name == "export":
		return p.jsonLocked(exportLine{Job: *j})
	case p.c.json:
		return p.jsonLocked(j)
	case p.c.name == "show":
		p.showLocked(j)
	default:
		p.rowLocked(j)
	}
	return nil
}

// jsonLocked prints a line of JSON that a terminal may see.
func (p *printer) jsonLocked(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := p.out.Write(steer.CleanJSON(b.Bytes()))
	return err
}

// rowLocked prints a line of a list.
func (p *printer) rowLocked(j *steer.Job) {
	if p.table == nil {
		p.table = tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
		fmt.Fprint(p.table, "ID\tSTATE\tPRIORITY\tAGE\tCALLS\tKEY\tGROUP\tNOTE")
		if p.c.req.Args {
			fmt.Fprint(p.table, "\tARGUMENT")
		}
		fmt.Fprintln(p.table)
	}
	at := j.Queued
	if !j.Ended.IsZero() {
		at = j.Ended
	}
	fmt.Fprintf(p.table, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s", j.ID, j.State, j.Priority, short(p.now.Sub(at)), j.Attempts,
		cut(string(j.Key), 40), cut(string(j.Group), 30), cut(p.notes(j), 70))
	if p.c.req.Args {
		arg := cut(string(j.Arg), 80)
		if j.Damage != "" {
			arg = "(damaged)"
		}
		fmt.Fprintf(p.table, "\t%s", arg)
	}
	fmt.Fprintln(p.table)
	if p.rows++; p.rows == 200 {
		p.table.Flush()
		p.rows = 0
	}
}

// notes is what there is to say of a job in a list.
func (p *printer) notes(j *steer.Job) string {
	text := ""
	switch d := j.Due.Sub(p.now); {
	case j.State == "underway" && p.owner == 0:
		text = "interrupted; runs when the program starts"
	case j.State == "underway" && !j.Started.IsZero():
		text = "since " + short(p.now.Sub(j.Started))
	case j.State == "pending" && j.Held:
		text = "held"
	case j.State == "pending" && j.Again:
		text = "runs after an earlier one of its key"
	case j.State == "pending" && !j.Due.IsZero() && d > 0:
		text = "due in " + short(d)
	}
	if j.Crashes > 0 {
		text = join(text, fmt.Sprintf("crashes: %d", j.Crashes))
	}
	return join(text, string(j.Error))
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// showLocked prints all of a job.
func (p *printer) showLocked(j *steer.Job) {
	fmt.Fprintf(p.out, "job %s\n", j.ID)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(p.out, "  %-10s %s\n", name, steer.Clean(text))
		}
	}
	moment := func(name string, t time.Time) {
		if t.IsZero() {
			return
		}
		ago := short(p.now.Sub(t)) + " ago"
		if t.After(p.now) {
			ago = "in " + short(t.Sub(p.now))
		}
		line(name, t.Format(time.RFC3339)+" ("+ago+")")
	}
	state := j.State
	if j.Held {
		state += ", held"
	}
	if j.Again {
		state += ", runs after an earlier one of its key"
	}
	line("state", state)
	line("waits for", j.Why)
	line("priority", fmt.Sprint(j.Priority))
	line("key", string(j.Key))
	line("group", string(j.Group))
	moment("queued", j.Queued)
	moment("due", j.Due)
	moment("expires", j.Expires)
	moment("started", j.Started)
	moment("ended", j.Ended)
	line("calls", fmt.Sprintf("%d, retries %d, crashes %d", j.Attempts, j.Retries, j.Crashes))
	line("timeout", j.Timeout)
	line("retry", string(j.Policy))
	line("error", string(j.Error))
	if j.Arg != nil {
		line("argument", string(j.Arg))
	}
	if j.Result != nil {
		line("result", string(j.Result))
	}
}

// verbs are what is done to a job, and what would be.
var verbs = map[string][2]string{
	"retry":  {"put again", "would be put again"},
	"cancel": {"canceled", "would be canceled"},
	"import": {"imported", "would be imported"},
}

func (p *printer) verb() string {
	if p.c.req.Dry {
		return verbs[p.c.name][1]
	}
	return verbs[p.c.name][0]
}

// outcome prints what has become of a job.
func (p *printer) outcome(o *steer.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := o.Outcome
	switch o.Outcome {
	case steer.Done:
		p.done++
		text = p.verb()
		if p.c.quiet {
			return
		}
	case steer.Skipped:
		p.skipped++
	default:
		p.failed++
	}
	p.printed = time.Now()
	if p.c.json {
		_ = p.jsonLocked(o)
		return
	}
	name := "job " + o.ID
	if o.ID == "" {
		name = fmt.Sprintf("line %d", o.Line)
	}
	switch {
	case o.New == steer.NewID:
		text += " with a new id"
	case o.New != "" && o.New != o.ID:
		text += " as " + o.New
	}
	if o.Reason != "" {
		text += ": " + cut(o.Reason, maxText)
	}
	fmt.Fprintf(p.out, "%s: %s\n", steer.Clean(name), steer.Clean(text))
}

// begin prints the first line of an export.
func (p *printer) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.jsonLocked(map[string]exportBegin{"export": {steer.Version, p.c.file}})
}

// end prints what follows the jobs.
func (p *printer) end() {
	switch p.c.name {
	case "export":
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = p.jsonLocked(map[string]exportEnd{"end": {p.last.Shown}})
	case "info":
		p.about()
	default:
		p.summary()
	}
}

// summary prints how the work went.
func (p *printer) summary() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushLocked()
	l := &p.last
	if p.c.json && p.c.name != "export" {
		l.Done, l.Skipped, l.Failed, l.Damaged = p.done, p.skipped, p.failed, p.damages
		_ = p.jsonLocked(map[string]*steer.End{"summary": l})
		return
	}
	switch p.c.name {
	case "list":
		if l.Shown < l.Matched {
			fmt.Fprintf(p.out, "%s of %s; -limit 0 shows all\n", group(l.Shown), jobs(l.Matched))
		} else {
			fmt.Fprintln(p.out, jobs(l.Matched))
		}
	case "retry", "cancel", "import":
		fmt.Fprintf(p.out, "%s %s, %s skipped, %s failed%s\n", jobs(p.done), p.verb(), group(p.skipped), group(p.failed), p.meant())
	case "backup":
		fmt.Fprintf(p.out, "copied %s pages to %s\n", group(int64(l.Pages)), steer.Clean(p.c.req.Path))
	case "compact":
		p.compacted(l)
	case "check":
		fmt.Fprintf(p.out, "%s, %s problems\n", jobs(l.Matched), group(p.damages))
	}
}

// meant says, where no job was, which ones a filter without a state means.
func (p *printer) meant() string {
	if len(p.c.req.IDs) > 0 || len(p.c.req.Filter.States) > 0 || p.done+p.skipped+p.failed > 0 {
		return ""
	}
	return map[string]string{
		"retry": "; without -state, failed and dead jobs are meant", "cancel": "; without -state, pending and parked jobs are meant",
	}[p.c.name]
}

func (p *printer) compacted(l *steer.End) {
	if l.After == nil && l.Before != nil {
		fmt.Fprintf(p.out, "at least %s would be given back: %s of %s in the database, %s in the log\n",
			bytesText(l.Before.Free+l.Before.Log), bytesText(l.Before.Free), bytesText(l.Before.File), bytesText(l.Before.Log))
	} else if l.Before != nil {
		fmt.Fprintf(p.out, "%s given back: the database had %s and has %s, the log had %s and has %s\n",
			bytesText(l.Before.File+l.Before.Log-l.After.File-l.After.Log), bytesText(l.Before.File), bytesText(l.After.File),
			bytesText(l.Before.Log), bytesText(l.After.Log))
	}
}

// about prints the description of the queue.
func (p *printer) about() {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.last.About
	if a == nil {
		return
	}
	if p.c.json {
		_ = p.jsonLocked(a)
		return
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(p.out, "%-8s %s\n", name, steer.Clean(fmt.Sprintf(format, args...)))
	}
	line("file", "%s", a.File)
	line("size", "%s, %s of it free, and %s of log", bytesText(a.Sizes.File), bytesText(a.Sizes.Free), bytesText(a.Sizes.Log))
	switch {
	case a.Owner == 0:
		line("owner", "none: no process has the file open")
	case a.Stopped:
		line("owner", "process %d, stopped", a.Owner)
	default:
		line("owner", "process %d, width %d", a.Owner, a.Width)
	}
	if a.Paused {
		line("paused", "no job starts until the queue is resumed")
	}
	for _, state := range steer.States() {
		line(state, "%s", group(a.Jobs[state]))
	}
	if !a.Oldest.IsZero() {
		line("oldest", "put %s ago, of the jobs that have not ended", short(p.now.Sub(a.Oldest)))
	}
	for _, periodic := range a.Periodics {
		text := fmt.Sprintf("%s, schedule %s", cut(string(periodic.Name), maxText), cut(fmt.Sprintf("%q", periodic.Schedule), maxText))
		if periodic.Job != "" {
			text += ", latest run: job " + periodic.Job
		}
		line("periodic", "%s", text)
	}
	line("sqlite", "%s, schema %d, file system %s", a.SQLite, a.Schema, a.FileSystem)
}

// jobs is a number of jobs as text.
func jobs(n int64) string {
	if n == 1 {
		return "1 job"
	}
	return group(n) + " jobs"
}

// group writes a number with commas.
func group(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// short is a duration in one unit.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func bytesText(n int64) string {
	f := float64(n)
	for _, unit := range []string{"B", "KB", "MB", "GB"} {
		if f < 1000 && f > -1000 {
			if unit == "B" {
				return fmt.Sprintf("%d B", n)
			}
			return fmt.Sprintf("%.1f %s", f, unit)
		}
		f /= 1000
	}
	return fmt.Sprintf("%.1f TB", f)
}

// cut returns a text of a job for a list or a line: without what could control
// a terminal, and not longer than n characters.
func cut(s string, n int) string {
	if len(s) > 8*n {
		s = s[:8*n] // cheap, for long ones
	}
	runes := []rune(steer.Clean(s))
	if len(runes) > n {
		return string(runes[:n-3]) + "..."
	}
	return string(runes)
}
