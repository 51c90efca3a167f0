package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill"
)

// Options are the settings of a [Page]. One of Authorize and Insecure must be
// set; the zero value of every other field is its default.
type Options struct {
	// Authorize decides whether a request may do something, and returns the name
	// of the requester for the audit list. It is called for every request before
	// the request is handled, with an Action of Name "read", and again with the
	// queue, the job and the name of the action before these are read or changed.
	// An error refuses the request, with status 403, or 401 if it is or wraps
	// [ErrUnauthenticated]; its text is logged and not sent. Authorize is called
	// on the goroutines of requests, concurrently. If it panics, the request is
	// refused with status 500.
	//
	// It is also called to determine what a page offers, so a refusal is not
	// always an attempt.
	Authorize func(r *http.Request, action Action) (who string, err error)

	// Insecure serves without Authorize, to clients on a loopback address only.
	Insecure bool

	// ReadOnly turns off all actions that change something, for everyone.
	ReadOnly bool

	// Hosts are the names under which the page can be reached, with or without a
	// port; without one, any port is allowed. A request for another host is
	// refused before anything else, which keeps other web sites from reaching the
	// page under a name of their own (DNS rebinding). The default is localhost,
	// 127.0.0.1 and [::1]. "*" allows any host: set it only if a proxy in front
	// checks the host.
	Hosts []string

	// Realm, if set, is sent with status 401, so that browsers ask for a name
	// and a password.
	Realm string

	// Redact changes every text of a job before it is shown, searched or kept: the
	// argument as Show returns it, errors, panics and stacks. The default
	// replaces the user and password of URLs.
	Redact func(text string) string

	// Audit is called for each entry of the audit list, to store it elsewhere: the
	// page keeps only the latest 1000, and loses them when the process ends. It is
	// called on the goroutine of the request or operation, concurrently.
	Audit func(AuditEntry)

	// Logger receives refused requests, contained panics and failed actions. The
	// default is [slog.Default].
	Logger *slog.Logger

	// Streams is the maximum number of browsers that watch, and of exports, at
	// the same time; 0 means 64. Further requests receive status 503; browsers
	// then poll.
	Streams int
}

// Action is what a request asks to do.
type Action struct {
	// Name is one of ActionNames.
	Name string
	// Queue is the name of the queue, or "" if the action is not about a queue.
	Queue string
	// Job is the id or the key of the job, or "" if the action is not about a job.
	Job string
}

// ActionNames are the names of all actions: "read" shows, "stack" reads the
// stacks of a job's goroutines, and the others change a queue or its jobs. An
// action has the same name whether it is about one job, several jobs, or all
// jobs that match a filter. "abort" ends an operation on many jobs.
var ActionNames = []string{
	"read", "stack", "width", "rate", "group", "pause", "resume", "clear", "drain",
	"cancel", "reprioritize", "run", "discard", "count", "abort",
}

// The bounds of a page. Requests beyond a bound are refused.
const (
	maxQueueName = 200
	maxID        = 500                 // bytes of the id or the key of a job
	maxURL       = 8 << 10             // bytes of a request's path and query
	maxBody      = 64 << 10            // bytes of a request's body
	maxPage      = 500                 // jobs of one page
	maxIDs       = 1000                // jobs selected for one action
	maxPreview   = 200                 // bytes of an argument or error in a list
	maxText      = 64 << 10            // bytes of an argument, an error or a stack
	maxReason    = 500                 // bytes of the reason for an action
	maxFor       = 31 * 24 * time.Hour // the time after which a change ends
	maxQueues    = 1000
	maxWorkers   = 500 // of a cluster that are shown
	maxChanges   = 30  // of settings that are shown
)

// Page is an [http.Handler] that shows and controls queues. It is constructed
// by [New]; the zero value refuses every request. Its methods may be called
// concurrently. It must not be copied.
//
// A page has a goroutine for each queue, which reads the queue's Stats once a
// second, whether or not a browser watches. The goroutines end with
// [Page.Close].
type Page struct {
	opts  Options
	cross *http.CrossOriginProtection
	hosts hostList
	log   *slog.Logger

	ctx    context.Context // ends with Close; operations and streams heed it
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.RWMutex // guards the fields below
	queues []*entry     // in the order in which they were added
	gauges []*gauge     // pools, poolers and semaphores, in order too

	audit   auditList
	ops     operations
	streams atomic.Int64
}

// entry is a queue on a page.
type entry struct {
	name     string
	q        Queue
	declared int // the width when it was added
	history  history
	changes  changes
}

// New returns a page without queues. It panics if neither or both of
// opts.Authorize and opts.Insecure are set, or if one of opts.Hosts is not a
// host.
func New(opts Options) *Page {
	switch {
	case opts.Authorize == nil && !opts.Insecure:
		panic("admin: New without Authorize; set Insecure to serve everything to loopback clients")
	case opts.Authorize != nil && opts.Insecure:
		panic("admin: New with both Authorize and Insecure")
	}
	if opts.Redact == nil {
		opts.Redact = redactURLs
	}
	opts.Streams = cmp.Or(max(opts.Streams, 0), 64)
	hosts, err := parseHosts(opts.Hosts)
	if err != nil {
		panic("admin: New: " + err.Error())
	}
	p := &Page{opts: opts, cross: http.NewCrossOriginProtection(), hosts: hosts, log: cmp.Or(opts.Logger, slog.Default())}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Add shows q under the given name. It returns an error if the name is empty,
// in use, or longer than 200 bytes, if there are 1000 queues already, or after
// Close.
func (p *Page) Add(name string, q Queue) error {
	switch {
	case q == nil:
		panic("admin: Add of a nil queue")
	case name == "" || len(name) > maxQueueName:
		return fmt.Errorf("admin: queue name of %d bytes", len(name))
	case name == "." || name == ".." || strings.ContainsRune(name, 0):
		return fmt.Errorf("admin: queue name %q", name) // it cannot be part of an address
	}
	e := &entry{name: name, q: q, declared: q.Stats().Width}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ctx == nil || p.ctx.Err() != nil:
		return errors.New("admin: page is closed")
	case len(p.queues) == maxQueues:
		return fmt.Errorf("admin: more than %d queues", maxQueues)
	case slices.ContainsFunc(p.queues, func(e *entry) bool { return e.name == name }):
		return fmt.Errorf("admin: queue %q was added before", name)
	}
	p.queues = append(p.queues, e)
	p.wg.Go(func() { e.history.record(p.ctx, e.read) })
	return nil
}

// AddPool shows the numbers of a pool, and the age of its oldest member.
func (p *Page) AddPool(name string, pool *twill.Pool) { p.addGauge(poolGauge(name, pool)) }

// AddPooler shows the numbers of a pooler, and for how long, to the second, it
// has been in use and callers have been waiting.
func (p *Page) AddPooler(name string, pooler interface{ Stats() twill.PoolerStats }) {
	p.addGauge(poolerGauge(name, pooler))
}

// AddSemaphore shows the numbers of a semaphore, and for how long, to the
// second, tokens have been in use, none has been free, and callers have been
// waiting.
func (p *Page) AddSemaphore(name string, s *twill.Semaphore) {
	p.addGauge(semaphoreGauge(name, s))
}

// Close ends the goroutines of the page, its streams and its operations, and
// waits for them. Temporary changes that have not ended yet are undone first.
// The queues are not affected. Requests after Close are refused.
func (p *Page) Close() {
	if p.cancel == nil {
		return
	}
	p.mu.RLock()
	queues := slices.Clone(p.queues)
	p.mu.RUnlock()
	for _, e := range queues {
		e.changes.endAll()
	}
	p.cancel()
	p.wg.Wait()
}

// find returns the queue with the given name, or nil.
func (p *Page) find(name string) *entry {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, e := range p.queues {
		if e.name == name {
			return e
		}
	}
	return nil
}

// read reads the queue's numbers. A panic is an error.
func (e *entry) read() (r reading, err error) {
	defer containPanic(&err)
	r = reading{DispatchStats: e.q.Stats(), paused: e.q.Paused(), stopped: e.q.Stopped()}
	if t, ok := e.q.(Troubled); ok {
		if err := t.Trouble(); err != nil {
			r.trouble = safeText(err)
		}
	}
	if l, ok := e.q.(Limited); ok {
		r.rate = rateText(l.RateLimiter())
	}
	return r, nil
}

// containPanic turns a panic of user code into an error.
func containPanic(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("admin: panic of a %T in the queue", v)
	}
}

// gauge is a pool, a pooler or a semaphore.
type gauge struct {
	kind, name string
	numbers    func() []number
	conditions func() []condition // may be nil

	mu    sync.Mutex // guards since
	since map[string]time.Time
}

// number is a number and its name.
type number struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// condition is something that the page shows the duration of. A pooler and a
// semaphore keep no times, as a call would pay for them: the page looks once a
// second.
type condition struct {
	name  string
	holds bool
}

func (p *Page) addGauge(g *gauge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.gauges) == maxQueues || p.ctx == nil || p.ctx.Err() != nil {
		return
	}
	p.gauges = append(p.gauges, g)
	if g.conditions != nil {
		p.wg.Go(func() { g.watch(p.ctx) })
	}
}

// watch looks at the conditions once a second until ctx ends.
func (g *gauge) watch(ctx context.Context) {
	t := time.NewTicker(liveInterval)
	defer t.Stop()
	for {
		g.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// look returns how long each condition that holds has held whenever the page
// looked.
func (g *gauge) look(now time.Time) []number {
	conditions := g.conditions()
	g.mu.Lock()
	defer g.mu.Unlock()
	var lasting []number
	for _, c := range conditions {
		since, held := g.since[c.name]
		switch {
		case !c.holds:
			delete(g.since, c.name)
			continue
		case !held:
			if g.since == nil {
				g.since = make(map[string]time.Time)
			}
			since = now
			g.since[c.name] = now
		}
		lasting = append(lasting, number{c.name, shortDuration(now.Sub(since))})
	}
	return lasting
}

func (g *gauge) view() gaugeView {
	n := g.numbers()
	if g.conditions != nil {
		n = append(n, g.look(time.Now())...)
	}
	return gaugeView{g.kind, g.name, n}
}

func poolGauge(name string, pool *twill.Pool) *gauge {
	return &gauge{kind: "pool", name: name, numbers: func() []number {
		s := pool.Stats()
		n := []number{{"len", fmt.Sprint(s.Len)}, {"peak", fmt.Sprint(s.Peak)}, {"added", fmt.Sprint(s.Added)}, {"waiting", fmt.Sprint(s.Waiting)}}
		if len(s.Ages) > 0 {
			n = append(n, number{"oldest", shortDuration(s.Ages[0])})
		}
		return n
	}}
}

func poolerGauge(name string, pooler interface{ Stats() twill.PoolerStats }) *gauge {
	return &gauge{kind: "pooler", name: name, numbers: func() []number {
		s := pooler.Stats()
		return []number{{"underway", fmt.Sprint(s.Underway)}, {"waiting", fmt.Sprint(s.Waiting)}, {"calls", fmt.Sprint(s.Calls)}, {"merged", fmt.Sprint(s.Merged)}}
	}, conditions: func() []condition {
		s := pooler.Stats()
		return []condition{{"busy for", s.Underway > 0}, {"callers wait for", s.Waiting > 0}}
	}}
}

func semaphoreGauge(name string, s *twill.Semaphore) *gauge {
	return &gauge{kind: "semaphore", name: name, numbers: func() []number {
		return []number{{"limit", fmt.Sprint(s.Limit())}, {"free", fmt.Sprint(s.Tokens())}, {"waiting", fmt.Sprint(s.Waiting())}}
	}, conditions: func() []condition {
		return []condition{{"in use for", s.Tokens() < s.Limit()}, {"no token free for", s.Tokens() <= 0}, {"callers wait for", s.Waiting() > 0}}
	}}
}
