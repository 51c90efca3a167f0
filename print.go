package twill

import (
	"fmt"
	"log/slog"
	"reflect"

	"github.com/twillgo/twill/internal/settle"
)

// How the types of this package print: their type and their state and, if a
// future failed, the type of the error. Values, keys, arguments and texts of
// errors belong to the user: they may refer to the value that is printed, and
// may be secret. Every type has the four methods, as fmt would print the fields
// of a type that lacks one of them.

// stateOf returns the state of a future as text.
func stateOf(c *settle.Core) string {
	if !c.Settled() {
		return "pending"
	}
	if fail := c.Failure(); fail != nil {
		return fmt.Sprintf("failed: %T", fail.Err)
	}
	return "resolved"
}

// printed returns the text of a value of a generic type.
func printed(name, state string, of ...reflect.Type) string {
	text := name
	for i, t := range of {
		if i == 0 {
			text += "["
		} else {
			text += ","
		}
		text += t.String()
	}
	if len(of) > 0 {
		text += "]"
	}
	if state != "" {
		text += "(" + state + ")"
	}
	return text
}

// String returns the type, and the state of f and, if f failed, the type of its
// error.
func (f *Future[T]) String() string {
	return printed("Future", stateOf(&f.core), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (f *Future[T]) GoString() string { return f.String() }

// LogValue returns the text of String, for package slog.
func (f *Future[T]) LogValue() slog.Value { return slog.StringValue(f.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb and, in
// debug mode, the places where f was made, settled and canceled for %+v.
func (f *Future[T]) Format(s fmt.State, verb rune) {
	formatText(s, verb, f.String())
	if verb == 'v' && s.Flag('+') {
		if o := settle.OriginOf(&f.core); o != nil {
			fmt.Fprintf(s, "\n%s", o)
		}
	}
}

// String returns the type, and the state of p's future.
func (p *Promise[T]) String() string {
	return printed("Promise", stateOf(&p.f.core), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (p *Promise[T]) GoString() string { return p.String() }

// LogValue returns the text of String, for package slog.
func (p *Promise[T]) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (p *Promise[T]) Format(s fmt.State, verb rune) { formatText(s, verb, p.String()) }

// String returns the type, and the state of l.
func (l *DeferredList[T]) String() string {
	return printed("DeferredList", stateOf(&l.core), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (l *DeferredList[T]) GoString() string { return l.String() }

// LogValue returns the text of String, for package slog.
func (l *DeferredList[T]) LogValue() slog.Value { return slog.StringValue(l.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (l *DeferredList[T]) Format(s fmt.State, verb rune) { formatText(s, verb, l.String()) }

// String returns the type, and the state of j and, if j failed, the type of its
// error.
func (j *Job[A, R]) String() string {
	return printed("Job", jobState(j.State(), &j.core), reflect.TypeFor[A](), reflect.TypeFor[R]())
}

// GoString returns the text of String, for %#v.
func (j *Job[A, R]) GoString() string { return j.String() }

// LogValue returns the text of String, for package slog.
func (j *Job[A, R]) LogValue() slog.Value { return slog.StringValue(j.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (j *Job[A, R]) Format(s fmt.State, verb rune) { formatText(s, verb, j.String()) }

// String returns the type, and how many futures are in p.
func (p *Pool) String() string {
	return printed("Pool", fmt.Sprintf("%d in the pool", p.Len()))
}

// GoString returns the text of String, for %#v.
func (p *Pool) GoString() string { return p.String() }

// LogValue returns the text of String, for package slog.
func (p *Pool) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (p *Pool) Format(s fmt.State, verb rune) { formatText(s, verb, p.String()) }

// String returns the type, and how many calls are underway.
func (p *Pooler[A, V]) String() string {
	return printed("Pooler", p.printedState(), reflect.TypeFor[A](), reflect.TypeFor[V]())
}

// GoString returns the text of String, for %#v.
func (p *Pooler[A, V]) GoString() string { return p.String() }

// LogValue returns the text of String, for package slog.
func (p *Pooler[A, V]) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (p *Pooler[A, V]) Format(s fmt.State, verb rune) { formatText(s, verb, p.String()) }

// String returns the type, and how many items are queued and how many gets
// wait.
func (q *Queue[T]) String() string {
	return printed("Queue", fmt.Sprintf("%d queued, %d waiting", q.Len(), q.Waiting()), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (q *Queue[T]) GoString() string { return q.String() }

// LogValue returns the text of String, for package slog.
func (q *Queue[T]) LogValue() slog.Value { return slog.StringValue(q.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (q *Queue[T]) Format(s fmt.State, verb rune) { formatText(s, verb, q.String()) }

// String returns the type, and how many items are queued and how many gets
// wait.
func (q *PriorityQueue[T]) String() string {
	return printed("PriorityQueue", fmt.Sprintf("%d queued, %d waiting", q.Len(), q.Waiting()), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (q *PriorityQueue[T]) GoString() string { return q.String() }

// LogValue returns the text of String, for package slog.
func (q *PriorityQueue[T]) LogValue() slog.Value { return slog.StringValue(q.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (q *PriorityQueue[T]) Format(s fmt.State, verb rune) { formatText(s, verb, q.String()) }

// String returns the type, and whether x is queued, and its priority.
func (x *PriorityItem[T]) String() string {
	return printed("PriorityItem", x.printedState(), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (x *PriorityItem[T]) GoString() string { return x.String() }

// LogValue returns the text of String, for package slog.
func (x *PriorityItem[T]) LogValue() slog.Value { return slog.StringValue(x.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (x *PriorityItem[T]) Format(s fmt.State, verb rune) { formatText(s, verb, x.String()) }

// String returns the type, and how many keys d has and how many gets wait.
func (d *Dict[K, V]) String() string {
	return printed("Dict", fmt.Sprintf("%d keys, %d waiting", d.Len(), d.Waiting()), reflect.TypeFor[K](), reflect.TypeFor[V]())
}

// GoString returns the text of String, for %#v.
func (d *Dict[K, V]) GoString() string { return d.String() }

// LogValue returns the text of String, for package slog.
func (d *Dict[K, V]) LogValue() slog.Value { return slog.StringValue(d.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (d *Dict[K, V]) Format(s fmt.State, verb rune) { formatText(s, verb, d.String()) }

// String returns the type, and whether l is held.
func (l *Lock) String() string {
	return printed("Lock", l.printedState())
}

// GoString returns the text of String, for %#v.
func (l *Lock) GoString() string { return l.String() }

// LogValue returns the text of String, for package slog.
func (l *Lock) LogValue() slog.Value { return slog.StringValue(l.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (l *Lock) Format(s fmt.State, verb rune) { formatText(s, verb, l.String()) }

// String returns the type, and how many tokens are free.
func (s *Semaphore) String() string {
	return printed("Semaphore", fmt.Sprintf("%d of %d free, %d waiting", s.Tokens(), s.Limit(), s.Waiting()))
}

// GoString returns the text of String, for %#v.
func (s *Semaphore) GoString() string { return s.String() }

// LogValue returns the text of String, for package slog.
func (s *Semaphore) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (s *Semaphore) Format(state fmt.State, verb rune) { formatText(state, verb, s.String()) }

// String returns the type, and whether the value is ready.
func (in *Init[T]) String() string {
	return printed("Init", in.printedState(), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (in *Init[T]) GoString() string { return in.String() }

// LogValue returns the text of String, for package slog.
func (in *Init[T]) LogValue() slog.Value { return slog.StringValue(in.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (in *Init[T]) Format(s fmt.State, verb rune) { formatText(s, verb, in.String()) }

// String returns the type, and the type of c.
func (c *RetryingCall[T]) String() string {
	return printed("RetryingCall", "", reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (c *RetryingCall[T]) GoString() string { return c.String() }

// LogValue returns the text of String, for package slog.
func (c *RetryingCall[T]) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (c *RetryingCall[T]) Format(s fmt.State, verb rune) { formatText(s, verb, c.String()) }

// String returns the type, and how many functions are registered.
func (r *Race[A, T]) String() string {
	return printed("Race", fmt.Sprintf("%d functions", r.Len()), reflect.TypeFor[A](), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (r *Race[A, T]) GoString() string { return r.String() }

// LogValue returns the text of String, for package slog.
func (r *Race[A, T]) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (r *Race[A, T]) Format(s fmt.State, verb rune) { formatText(s, verb, r.String()) }

// String returns the type, and how many jobs are underway and pending, and
// whether q is paused or stopped.
func (q *ResizableDispatchQueue[A, R]) String() string {
	return printed("ResizableDispatchQueue", q.printedState(), reflect.TypeFor[A](), reflect.TypeFor[R]())
}

// GoString returns the text of String, for %#v.
func (q *ResizableDispatchQueue[A, R]) GoString() string { return q.String() }

// LogValue returns the text of String, for package slog.
func (q *ResizableDispatchQueue[A, R]) LogValue() slog.Value { return slog.StringValue(q.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (q *ResizableDispatchQueue[A, R]) Format(s fmt.State, verb rune) {
	formatText(s, verb, q.String())
}

// String returns the type, and how many tokens are left.
func (b *Budget) String() string {
	return printed("Budget", fmt.Sprintf("%.3g tokens", b.Tokens()))
}

// GoString returns the text of String, for %#v.
func (b *Budget) GoString() string { return b.String() }

// LogValue returns the text of String, for package slog.
func (b *Budget) LogValue() slog.Value { return slog.StringValue(b.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (b *Budget) Format(s fmt.State, verb rune) { formatText(s, verb, b.String()) }

// jobState is the state of a job, and how its future failed.
func jobState(state JobState, c *settle.Core) string {
	if state == JobFailed && c.Settled() {
		return stateOf(c)
	}
	return state.String()
}

func (p *Pooler[A, V]) printedState() string {
	if p.p == nil {
		return "not created by NewPooler"
	}
	return fmt.Sprintf("%d underway", p.Len())
}

func (x *PriorityItem[T]) printedState() string {
	if _, queued := x.Value(); !queued {
		return "not queued"
	}
	return fmt.Sprintf("priority %d", x.Priority())
}

func (l *Lock) printedState() string {
	if l.Locked() {
		return fmt.Sprintf("held, %d waiting", l.Waiting())
	}
	return "free"
}

func (in *Init[T]) printedState() string {
	if in.f == nil {
		return "not created by NewInit"
	}
	return stateOf(&in.f.core)
}

func (q *ResizableDispatchQueue[A, R]) printedState() string {
	underway, pending := q.Size()
	text := fmt.Sprintf("%d underway, %d pending", underway, pending)
	switch {
	case q.Stopped():
		text += ", stopped"
	case q.Paused():
		text += ", paused"
	}
	return text
}
