package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twillgo/twill"
	"golang.org/x/time/rate"
)

// args are the arguments of an action, from JSON or a form.
type args struct {
	Width     *setting `json:"width"`
	PerSecond *setting `json:"per_second"`
	Burst     int      `json:"burst"`
	For       string   `json:"for"`
	Within    string   `json:"within"`
	All       bool     `json:"all"`
	Priority  *int     `json:"priority"`
	Reason    string   `json:"reason"`
	Group     string   `json:"group"`
	Paused    *bool    `json:"paused"` // of a group
	Reset     bool     `json:"reset"`
}

// setting is a number or a word.
type setting struct {
	word   string
	number float64
}

func (s *setting) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &s.word); err != nil {
			return err
		}
		if s.word == "" {
			return badCommand{"empty setting"}
		}
		return nil
	}
	return json.Unmarshal(b, &s.number)
}

func parseSetting(text string) *setting {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return &setting{number: n}
	}
	return &setting{word: strings.ToLower(text)}
}

// outcome is the result of an action.
type outcome struct {
	Result string `json:"result"` // "ok"
	Detail string `json:"detail"`
	Count  int    `json:"count"`
	ID     string `json:"id"` // of the new job, after "run"
}

// steer does an action on a queue or on one of its jobs, and records it.
func (p *Page) steer(e *entry, action, id, who string, a args) (outcome, error) {
	o := outcome{Result: "ok"}
	d, err := a.check()
	if err == nil {
		err = p.carryOut(e, action, id, who, a, d, &o)
	}
	e.history.forget()
	var bad badCommand
	if !errors.As(err, &bad) {
		p.note(AuditEntry{Who: who, Action: action, Queue: e.name, Job: id, Detail: o.Detail, Reason: a.Reason, Count: o.Count, Result: p.resultOf(err)})
	}
	return o, err
}

// check checks the common arguments of all actions, and returns the time after
// which the change ends, or 0 if it does not end.
func (a *args) check() (time.Duration, error) {
	if len(a.Reason) > maxReason {
		return 0, badCommand{fmt.Sprintf("reason longer than %d bytes", maxReason)}
	}
	return parseTime("for", a.For)
}

func parseTime(name, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > maxFor {
		return 0, badCommand{fmt.Sprintf("%q in %q is not a duration from 1s to 744h", cut(text, 20), name)}
	}
	return d, nil
}

// forText describes how long a change lasts.
func forText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return " for " + shortDuration(d) + ", then back"
}

func (p *Page) carryOut(e *entry, action, id, who string, a args, d time.Duration, o *outcome) (err error) {
	defer containPanic(&err)
	switch action {
	case "width":
		return p.setWidth(e, who, a, d, o)
	case "rate":
		return p.setRate(e, who, a, d, o)
	case "pause":
		return p.pause(e, who, d, o)
	case "resume":
		return p.resume(e)
	case "clear":
		if !a.All {
			return badCommand{`clear cancels every pending job; say "all": true`}
		}
		o.Count = e.q.Clear()
		return nil
	case "drain":
		return p.drain(e, who, a, o)
	case "group":
		return p.setGroup(e, who, a, d, o)
	case "cancel", "run", "discard":
		return p.actOnOne(e, action, id, 0, who, a, o)
	case "reprioritize":
		if a.Priority == nil {
			return badCommand{"reprioritize without a priority"}
		}
		o.Detail = fmt.Sprintf("to priority %d", *a.Priority)
		return p.actOnOne(e, action, id, *a.Priority, who, a, o)
	}
	return badCommand{"unknown action"}
}

func (p *Page) actOnOne(e *entry, action, id string, priority int, who string, a args, o *outcome) (err error) {
	found, _, ok := e.q.FindJob(id)
	if !ok {
		return errNoJob
	}
	if action == "run" {
		if o.ID, err = e.q.RunJobAgain(found); err == nil {
			o.Detail = "as job " + o.ID
		}
	} else {
		err = p.act(e, action, found, priority, who, a.Reason)
	}
	if err == nil {
		o.Count = 1
	}
	return err
}

var errNoJob = errors.New("admin: there is no such job, or it is not kept")

// setWidth sets the width: a number, unlimited, or paused. A number does not
// resume a paused queue.
func (p *Page) setWidth(e *entry, who string, a args, d time.Duration, o *outcome) error {
	w := a.Width
	n := Unlimited
	switch {
	case w == nil:
		return badCommand{"width without a width"}
	case w.word == "paused":
		return p.pause(e, who, d, o)
	case w.word == "unlimited":
	case w.word != "":
		return badCommand{`the width is a number, "unlimited" or "paused"`}
	case w.number != math.Trunc(w.number) || w.number < 0 || w.number > 1e6:
		return badCommand{`a width is a whole number from 0 to 1,000,000, "unlimited" or "paused"`}
	default:
		n = int(w.number)
	}
	o.Detail = "to " + widthText(n) + forText(d)
	e.changes.step.Lock()
	defer e.changes.step.Unlock()
	before := e.q.Stats().Width
	if err := e.q.SetWidth(n); err != nil {
		return err
	}
	e.changes.set(&change{
		Setting: "width", Value: widthText(n), Who: who, At: time.Now(),
		same: func() (string, bool) {
			now := e.q.Stats().Width
			return widthText(now), now == n
		},
		back: func() (string, error) { return "to " + widthText(before), e.q.SetWidth(before) },
		note: p.noteBack(e, "width"),
	}, d)
	return nil
}

// noteBack records the end of a change.
func (p *Page) noteBack(e *entry, setting string) func(string, error) {
	return func(detail string, err error) {
		p.note(AuditEntry{Who: "the time that was set", Action: "back", Queue: e.name, Detail: setting + " " + detail, Result: p.resultOf(err)})
	}
}

func (p *Page) pause(e *entry, who string, d time.Duration, o *outcome) error {
	o.Detail = strings.TrimPrefix(forText(d), " ")
	e.changes.step.Lock()
	defer e.changes.step.Unlock()
	if e.q.Stopped() {
		return twill.ErrStopped
	}
	e.q.Pause()
	e.changes.set(&change{
		Setting: "paused", Value: "yes", Who: who, At: time.Now(),
		same: func() (string, bool) { return "running", e.q.Paused() },
		back: func() (string, error) { return "to running", e.q.Resume() },
		note: p.noteBack(e, "paused"),
	}, d)
	return nil
}

func (p *Page) resume(e *entry) error {
	e.changes.step.Lock()
	defer e.changes.step.Unlock()
	if err := e.q.Resume(); err != nil {
		return err
	}
	e.changes.drop("paused")
	return nil
}

// drop forgets a change.
func (c *changes) drop(setting string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.of[setting]; ch != nil && ch.timer != nil {
		ch.timer.Stop()
	}
	delete(c.of, setting)
}

var errNotOffered = errors.New("admin: the queue does not offer this")

// The bounds of a rate limit.
const (
	maxRate  = 1e9
	maxBurst = 1_000_000
)

func (p *Page) setRate(e *entry, who string, a args, d time.Duration, o *outcome) error {
	l, ok := e.q.(Limited)
	if !ok {
		return errNotOffered
	}
	r := a.PerSecond
	var limiter twill.Limiter
	value := "unlimited"
	switch {
	case r == nil:
		return badCommand{"rate without per_second"}
	case r.word == "unlimited":
	case r.word != "":
		return badCommand{`the rate is a number of starts per second, or "unlimited"`}
	case !(r.number > 0 && r.number <= maxRate):
		return badCommand{"a rate is a number above 0, up to 1e9; to start nothing, pause"}
	case a.Burst < 0 || a.Burst > maxBurst:
		return badCommand{"a burst is a number from 1 to 1,000,000"}
	default:
		burst := max(a.Burst, 1)
		limiter = rate.NewLimiter(rate.Limit(r.number), burst)
		value = rateText(limiter)
	}
	o.Detail = "to " + value + forText(d)
	e.changes.step.Lock()
	defer e.changes.step.Unlock()
	before := l.RateLimiter()
	l.SetRate(limiter)
	e.changes.set(&change{
		Setting: "rate", Value: value, Who: who, At: time.Now(),
		same: func() (string, bool) {
			now := l.RateLimiter()
			return rateText(now), now == limiter
		},
		back: func() (string, error) {
			l.SetRate(before)
			return "to " + rateText(before), nil
		},
		note: p.noteBack(e, "rate"),
	}, d)
	return nil
}

// rateText describes the limit of a limiter.
func rateText(l twill.Limiter) string {
	switch l := l.(type) {
	case nil:
		return "unlimited"
	case *rate.Limiter:
		if l == nil || l.Limit() == rate.Inf {
			return "unlimited"
		}
		return fmt.Sprintf("%g per second, burst %d", float64(l.Limit()), l.Burst())
	}
	return fmt.Sprintf("a %T of the program", l)
}

// drain ends the queue after its work. It continues after the request has
// ended.
func (p *Page) drain(e *entry, who string, a args, o *outcome) error {
	q, ok := e.q.(Drainer)
	if !ok {
		return errNotOffered
	}
	if !a.All {
		return badCommand{`drain ends the queue for good; say "all": true`}
	}
	within, err := parseTime("within", a.Within)
	if err != nil {
		return err
	}
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	o.Detail = "started"
	if within > 0 {
		ctx, cancel = context.WithTimeout(ctx, within)
		o.Detail = "started; what is left after " + shortDuration(within) + " is canceled"
	}
	go func() {
		defer cancel()
		left, err := func() (left int, err error) {
			defer containPanic(&err)
			return q.DrainJobs(ctx)
		}()
		p.note(AuditEntry{Who: who, Action: "drain", Queue: e.name, Detail: fmt.Sprintf("ended, %d jobs left over", left), Count: left, Result: p.resultOf(err)})
	}()
	return nil
}
