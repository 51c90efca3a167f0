// Package twillotel traces and measures twill's dispatch queues, functions,
// retries, races and poolers with OpenTelemetry. Nothing is instrumented unless
// one of the functions here is called for it, and the library itself does not
// know of this package.
//
//	in, err := twillotel.New(nil)    // the global providers
//	twillotel.Dispatch(in, "sms", queue)
//	queue.Put(message, 0, twill.JobOptions{Context: ctx})    // the span of ctx is linked
//
// # Spans
//
// All spans are of the kind "internal": these are functions of one process, and
// the messaging conventions are for brokers. Names contain only what the
// program passes as a name, never a key, an argument or an error text.
//
//   - "process NAME" for each attempt of a job of the dispatch queue NAME. It
//     is the root of its own trace, with a link to the span in the job's
//     context, which [twill.JobOptions].Context sets; with [Options].Parent it
//     is a child of that span. Attributes: twill.queue.name, twill.job.id,
//     twill.job.priority, twill.job.attempt (from 1).
//   - "go NAME" for a function started by [Go].
//   - "retry NAME" for a call of [Retry], with a child "attempt NAME" for each
//     attempt; twill.retry.attempts is the number of attempts.
//   - "race NAME" for a call of [RaceOf], with a child "entrant NAME" for each
//     function that was started; twill.race.entrant is its index.
//   - "call NAME" for a call of a function made by [Func].
//   - "pooler NAME" for a call of a pooler's function, made by [Pooler]. It is
//     a child of the span of the first caller.
//
// Every span has twill.outcome: "finished", "failed", "canceled" (its context
// ended and the function returned an error), "lost" (a loser of a race),
// "panic" or "exit" (runtime.Goexit). Only "failed", "panic" and "exit" set the
// status to error; then error.type is the Go type of the error, and the text of
// the error is recorded only if [Options].ErrorText is set, as it may hold
// secrets.
//
// # Metrics
//
// Durations are in seconds. Attributes are twill.name and, if given in
// parentheses, twill.outcome, twill.kind or twill.state.
//
//   - twill.call.duration (histogram; outcome, and twill.kind, the first word
//     of the span's name): each span;
//   - twill.job.wait.duration (histogram): the time from a job's due time to
//     its first attempt;
//   - twill.jobs.enqueued, twill.jobs.joined, twill.jobs.refused,
//     twill.job.retries, twill.jobs.ended (outcome): counters of a queue;
//   - twill.queue.jobs (state: pending, delayed, underway), twill.queue.width:
//     gauges of a queue;
//   - twill.pooler.calls, twill.pooler.merged: counters of a pooler;
//     twill.pooler.underway, twill.pooler.waiting: gauges.
//
// Counters and gauges are read from the statistics of the queue or pooler when
// the reader of the metrics asks.
package twillotel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twillgo/twill"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of the instrumentation scope.
const scope = "github.com/twillgo/twill/otel"

// The keys of attributes.
const (
	keyName     = attribute.Key("twill.name")
	keyKind     = attribute.Key("twill.kind")
	keyQueue    = attribute.Key("twill.queue.name")
	keyID       = attribute.Key("twill.job.id")
	keyPriority = attribute.Key("twill.job.priority")
	keyAttempt  = attribute.Key("twill.job.attempt")
	keyAttempts = attribute.Key("twill.retry.attempts")
	keyEntrant  = attribute.Key("twill.race.entrant")
	keyOutcome  = attribute.Key("twill.outcome")
	keyState    = attribute.Key("twill.state")
	keyError    = attribute.Key("error.type")
)

// buckets are the limits of the histograms, in seconds: 5 ms to some hours.
var buckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400}

// Options are the settings of an [Instrument]. The zero value of each field is
// its default.
type Options struct {
	// TracerProvider and MeterProvider make the tracer and the meter; nil
	// means the global ones.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider

	// Parent makes the span of a job's attempt a child of the span in the job's
	// context, instead of linking to it.
	Parent bool

	// ErrorText records the texts of errors and the stacks of panics in spans.
	ErrorText bool
}

// Instrument records for the functions of this package. It is constructed by
// [New], and may be used concurrently.
type Instrument struct {
	tracer trace.Tracer
	meter  metric.Meter
	opts   Options

	call, wait metric.Float64Histogram
}

// New returns an [Instrument]; nil options mean the defaults. It returns an
// error if the meter refuses a metric.
func New(opts *Options) (*Instrument, error) {
	in := &Instrument{}
	if opts != nil {
		in.opts = *opts
	}
	if in.opts.TracerProvider == nil {
		in.opts.TracerProvider = otel.GetTracerProvider()
	}
	if in.opts.MeterProvider == nil {
		in.opts.MeterProvider = otel.GetMeterProvider()
	}
	in.tracer = in.opts.TracerProvider.Tracer(scope)
	in.meter = in.opts.MeterProvider.Meter(scope)
	var err error
	in.call, err = in.meter.Float64Histogram("twill.call.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of traced functions."), metric.WithExplicitBucketBoundaries(buckets...))
	if err != nil {
		return nil, fmt.Errorf("twillotel: %w", err)
	}
	in.wait, err = in.meter.Float64Histogram("twill.job.wait.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from when a job was due to its first attempt."), metric.WithExplicitBucketBoundaries(buckets...))
	if err != nil {
		return nil, fmt.Errorf("twillotel: %w", err)
	}
	return in, nil
}

// Dispatch traces the attempts of the jobs of q that start from now on, and
// exports q's statistics under name. It adds a hook by q.Use, which runs on the
// goroutine of the attempt. The returned function ends the export of the
// statistics, so that q can be collected; the hook stays.
func Dispatch[A, R any](in *Instrument, name string, q *twill.ResizableDispatchQueue[A, R]) (unregister func() error, err error) {
	unregister, err = in.observeQueue(name, q.Stats)
	if err != nil {
		return nil, err
	}
	kept := attribute.NewSet(keyName.String(name))
	q.Use(func(ctx context.Context, j *twill.Job[A, R], next func(context.Context) (R, error)) (R, error) {
		attempt := j.Attempts()
		opts := []trace.SpanStartOption{trace.WithAttributes(keyQueue.String(name), keyID.String(j.ID()),
			keyPriority.Int(j.Priority()), keyAttempt.Int(attempt))}
		if !in.opts.Parent {
			opts = append(opts, trace.WithNewRoot())
			if put := trace.SpanContextFromContext(ctx); put.IsValid() {
				opts = append(opts, trace.WithLinks(trace.Link{SpanContext: put}))
			}
		}
		if attempt <= 1 {
			due := j.DueAt()
			if due.IsZero() {
				due = j.QueuedAt()
			}
			in.wait.Record(context.WithoutCancel(ctx), max(0, time.Since(due)).Seconds(), metric.WithAttributeSet(kept))
		}
		return traced(in, ctx, "process", name, opts,
			func(ctx context.Context, _ trace.Span) (R, error) { return next(ctx) })
	})
	return unregister, nil
}

// Go is [twill.Go] with the span "go NAME" around fn.
func Go[T any](in *Instrument, ctx context.Context, name string, fn func(context.Context) (T, error)) *twill.Future[T] {
	return twill.Go(ctx, func(ctx context.Context) (T, error) {
		return traced(in, ctx, "go", name, nil, func(ctx context.Context, _ trace.Span) (T, error) { return fn(ctx) })
	})
}

// Func returns fn with the span "call NAME" around each call, for functions
// that accept a function of a context and an argument: [twill.Race.Register],
// [twill.Map], [twill.NewPooler] and others.
func Func[A, T any](in *Instrument, name string, fn func(context.Context, A) (T, error)) func(context.Context, A) (T, error) {
	return func(ctx context.Context, arg A) (T, error) {
		return traced(in, ctx, "call", name, nil, func(ctx context.Context, _ trace.Span) (T, error) { return fn(ctx, arg) })
	}
}

// Retry is [twill.Retry] with the span "retry NAME" around the call, and
// "attempt NAME" around each attempt.
func Retry[T any](in *Instrument, ctx context.Context, name string, fn func(context.Context) (T, error), opts *twill.RetryOptions) (T, error) {
	return traced(in, ctx, "retry", name, nil, func(ctx context.Context, s trace.Span) (T, error) {
		attempts := 0
		defer func() { s.SetAttributes(keyAttempts.Int(attempts)) }()
		return twill.Retry(ctx, func(ctx context.Context) (T, error) {
			attempts++
			number := trace.WithAttributes(keyAttempt.Int(attempts))
			return traced(in, ctx, "attempt", name, []trace.SpanStartOption{number},
				func(ctx context.Context, _ trace.Span) (T, error) { return fn(ctx) })
		}, opts)
	})
}

// RaceOf is [twill.RaceOf] with the span "race NAME" until the race is decided,
// and "entrant NAME" around each function that is started; the spans of losers
// may end later.
func RaceOf[T any](in *Instrument, ctx context.Context, name string, fns ...func(context.Context) (T, error)) *twill.Future[T] {
	ctx, s := in.tracer.Start(ctx, "race "+name)
	began := time.Now()
	entrants := make([]func(context.Context) (T, error), len(fns))
	for i, fn := range fns {
		if fn == nil {
			continue // RaceOf panics because of it
		}
		index := trace.WithAttributes(keyEntrant.Int(i))
		entrants[i] = func(ctx context.Context) (T, error) {
			return traced(in, ctx, "entrant", name, []trace.SpanStartOption{index},
				func(ctx context.Context, _ trace.Span) (T, error) { return fn(ctx) })
		}
	}
	return twill.RaceOf(ctx, entrants...).Tap(func(_ T, err error) {
		in.end(ctx, s, "race", name, outcomeOf(ctx, err), began, err)
	})
}

// Pooler is [twill.NewPooler] with the span "pooler NAME" around each call of
// fn, and with the pooler's statistics exported under name until the returned
// function is called.
func Pooler[K comparable, V any](in *Instrument, name string, fn func(context.Context, K) (V, error)) (p *twill.Pooler[K, V], unregister func() error, err error) {
	if fn != nil {
		plain := fn
		fn = func(ctx context.Context, key K) (V, error) {
			return traced(in, ctx, "pooler", name, nil, func(ctx context.Context, _ trace.Span) (V, error) { return plain(ctx, key) })
		}
	}
	p = twill.NewPooler(fn)
	unregister, err = in.observePooler(name, p.Stats)
	if err != nil {
		return nil, nil, err
	}
	return p, unregister, nil
}

// traced runs fn in a span. A panic or Goexit of fn passes on to the caller
// after the span has ended.
func traced[T any](in *Instrument, ctx context.Context, kind, name string, opts []trace.SpanStartOption,
	fn func(context.Context, trace.Span) (T, error),
) (v T, err error) {
	ctx, s := in.tracer.Start(ctx, kind+" "+name, opts...)
	began := time.Now()
	returned := false
	defer func() {
		if returned {
			in.end(ctx, s, kind, name, outcomeOf(ctx, err), began, err)
		} else if r := recover(); r != nil {
			in.end(ctx, s, kind, name, "panic", began, &twill.PanicError{Value: r})
			panic(r)
		} else {
			in.end(ctx, s, kind, name, "exit", began, twill.ErrGoexit)
		}
	}()
	v, err = fn(ctx, s)
	returned = true
	return v, err
}

// outcomeOf names the outcome of a function that has returned err.
func outcomeOf(ctx context.Context, err error) string {
	if errors.Is(context.Cause(ctx), twill.ErrLost) {
		return "lost"
	}
	if err == nil {
		return "finished"
	}
	if _, ok := errors.AsType[*twill.PanicError](err); ok {
		return "panic"
	}
	switch {
	case errors.Is(err, twill.ErrGoexit):
		return "exit"
	case ctx.Err() != nil, errors.Is(err, twill.ErrCanceled):
		return "canceled"
	}
	return "failed"
}

// end ends a span and records its duration.
func (in *Instrument) end(ctx context.Context, s trace.Span, kind, name, outcome string, began time.Time, err error) {
	s.SetAttributes(keyOutcome.String(outcome))
	switch outcome {
	case "failed", "panic", "exit":
		s.SetAttributes(keyError.String(errorType(err)))
		text := ""
		if in.opts.ErrorText {
			text = err.Error()
			s.RecordError(err)
		}
		s.SetStatus(codes.Error, text)
	}
	s.End()
	// An exemplar may take the span from the context, whose end does not matter.
	in.call.Record(context.WithoutCancel(ctx), time.Since(began).Seconds(),
		metric.WithAttributes(keyKind.String(kind), keyName.String(name), keyOutcome.String(outcome)))
}

// errorType returns the type of the value of a panic, or otherwise of the
// error.
func errorType(err error) string {
	if p, ok := errors.AsType[*twill.PanicError](err); ok {
		return fmt.Sprintf("panic(%T)", p.Value)
	}
	return fmt.Sprintf("%T", err)
}

// observeQueue exports the statistics of a dispatch queue.
func (in *Instrument) observeQueue(name string, stats func() twill.DispatchStats) (func() error, error) {
	r := registration{in: in}
	enqueued := r.counter("twill.jobs.enqueued", "{job}", "Jobs added to the dispatch queue.")
	joined := r.counter("twill.jobs.joined", "{job}", "Puts that found a job of their key.")
	refused := r.counter("twill.jobs.refused", "{job}", "Jobs that were not accepted.")
	retries := r.counter("twill.job.retries", "{attempt}", "Attempts that failed and are followed by another.")
	ended := r.counter("twill.jobs.ended", "{job}", "Jobs that have ended, by outcome.")
	jobs := r.gauge("twill.queue.jobs", "{job}", "Jobs in the dispatch queue, by state.")
	width := r.gauge("twill.queue.width", "{job}", "Maximum number of jobs that run at once.")
	return r.register(func(o metric.Observer) {
		s := stats()
		queue := keyName.String(name)
		count := func(c metric.Int64Observable, n uint64, more ...attribute.KeyValue) {
			o.ObserveInt64(c, int64(min(n, 1<<63-1)), metric.WithAttributes(append(more, queue)...)) //nolint:gosec // bounded
		}
		count(enqueued, s.Put)
		count(joined, s.Joined)
		count(refused, s.Refused)
		count(retries, s.Retries)
		count(ended, s.Finished, keyOutcome.String("finished"))
		count(ended, s.Failed, keyOutcome.String("failed"))
		count(ended, s.Canceled, keyOutcome.String("canceled"))
		o.ObserveInt64(jobs, int64(s.Pending-s.Delayed), metric.WithAttributes(queue, keyState.String("pending")))
		o.ObserveInt64(jobs, int64(s.Delayed), metric.WithAttributes(queue, keyState.String("delayed")))
		o.ObserveInt64(jobs, int64(s.Underway), metric.WithAttributes(queue, keyState.String("underway")))
		o.ObserveInt64(width, int64(s.Width), metric.WithAttributes(queue))
	})
}

// observePooler exports the statistics of a pooler.
func (in *Instrument) observePooler(name string, stats func() twill.PoolerStats) (func() error, error) {
	r := registration{in: in}
	calls := r.counter("twill.pooler.calls", "{call}", "Calls made by callers.")
	merged := r.counter("twill.pooler.merged", "{call}", "Calls that joined a call of the same key.")
	underway := r.gauge("twill.pooler.underway", "{call}", "Calls of the pooler's function that are underway.")
	waiting := r.gauge("twill.pooler.waiting", "{caller}", "Callers that wait for a result.")
	return r.register(func(o metric.Observer) {
		s := stats()
		pooler := metric.WithAttributes(keyName.String(name))
		o.ObserveInt64(calls, int64(min(s.Calls, 1<<63-1)), pooler)   //nolint:gosec // bounded
		o.ObserveInt64(merged, int64(min(s.Merged, 1<<63-1)), pooler) //nolint:gosec // bounded
		o.ObserveInt64(underway, int64(s.Underway), pooler)
		o.ObserveInt64(waiting, int64(s.Waiting), pooler)
	})
}

// registration collects the instruments of one callback, and the first error.
type registration struct {
	in   *Instrument
	all  []metric.Observable
	fail error
}

func (r *registration) counter(name, unit, description string) metric.Int64ObservableCounter {
	c, err := r.in.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	r.all, r.fail = append(r.all, c), errors.Join(r.fail, err)
	return c
}

func (r *registration) gauge(name, unit, description string) metric.Int64ObservableGauge {
	g, err := r.in.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	r.all, r.fail = append(r.all, g), errors.Join(r.fail, err)
	return g
}

func (r *registration) register(observe func(metric.Observer)) (func() error, error) {
	if r.fail != nil {
		return nil, fmt.Errorf("twillotel: %w", r.fail)
	}
	registered, err := r.in.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		observe(o)
		return nil
	}, r.all...)
	if err != nil {
		return nil, fmt.Errorf("twillotel: %w", err)
	}
	return registered.Unregister, nil
}
