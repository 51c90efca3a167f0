package admin

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

//go:embed openapi.json
var openapi []byte

// route is one kind of request.
type route struct {
	method  string
	pattern []string // a segment that begins with a colon is a parameter
	action  string   // "" means "read"; ":action" means the parameter with that name
	handle  func(*request)
}

// actionOf returns the action that rq asks for.
func (rt *route) actionOf(rq *request) Action {
	name := rt.action
	switch name {
	case "":
		name = "read"
	case ":action":
		name = rq.params["action"]
	}
	return Action{Name: name, Queue: rq.params["queue"], Job: rq.params["id"]}
}

// The actions that a path may contain: on a queue, on one job, and on several.
var (
	queueActions = []string{"width", "rate", "group", "pause", "resume", "clear", "drain"}
	jobActions   = []string{"cancel", "reprioritize", "run", "discard"}
	bulkActions  = []string{"cancel", "reprioritize", "run", "discard", "count"}
)

// routes has all routes. The first route that matches is used.
var routes []route

func init() {
	get := func(path, action string, handle func(*request)) {
		routes = append(routes, route{http.MethodGet, strings.FieldsFunc(path, isSlash), action, handle})
	}
	post := func(path, action string, handle func(*request)) {
		routes = append(routes, route{http.MethodPost, strings.FieldsFunc(path, isSlash), action, handle})
	}
	get("", "", (*request).showIndex)
	get("static/:file", "", (*request).showFile)
	get("audit", "", (*request).showAudit)
	get("operations", "", (*request).showOperations)
	get("operations/:operation", "", (*request).showOperation)
	post("operations/:operation/abort", "abort", (*request).formAbort)
	get("q/:queue", "", (*request).showQueue)
	get("q/:queue/jobs", "", (*request).showJobs)
	get("q/:queue/job/:id", "", (*request).showJob)
	get("q/:queue/job/:id/stack", "stack", (*request).showStack)
	post("q/:queue/job/:id/:action", ":action", (*request).formJob)
	post("q/:queue/bulk/:action", ":action", (*request).formBulk)
	post("q/:queue/:action", ":action", (*request).formQueue)

	get("api/openapi.json", "", (*request).getOpenAPI)
	get("api/queues", "", (*request).getQueues)
	get("api/queues/:queue", "", (*request).getQueue)
	get("api/queues/:queue/history", "", (*request).getHistory)
	get("api/queues/:queue/groups", "", (*request).getGroups)
	get("api/queues/:queue/workers", "", (*request).getWorkers)
	get("api/queues/:queue/export", "", (*request).getExport)
	get("api/queues/:queue/jobs", "", (*request).getJobs)
	get("api/queues/:queue/jobs/:id", "", (*request).getJob)
	get("api/queues/:queue/jobs/:id/stack", "stack", (*request).getStack)
	post("api/queues/:queue/jobs/:id/:action", ":action", (*request).postJob)
	post("api/queues/:queue/bulk/:action", ":action", (*request).postBulk)
	post("api/queues/:queue/:action", ":action", (*request).postQueue)
	get("api/operations", "", (*request).getOperations)
	get("api/operations/:operation", "", (*request).getOperation)
	post("api/operations/:operation/abort", "abort", (*request).postAbort)
	get("api/audit", "", (*request).getAudit)
	get("api/gauges", "", (*request).getGauges)
	get("api/events", "", (*request).getEvents)
}

func isSlash(r rune) bool { return r == '/' }

// route finds the route of a request and its parameters. If there is none, it
// answers the request.
func (rq *request) route() (*route, bool) {
	path, ok := pathOf(rq.r.URL)
	if !ok {
		rq.fail(http.StatusNotFound, "not found")
		return nil, false
	}
	rq.path = path
	if len(path) == 0 && rq.r.URL.Path == "" {
		// The page is mounted without the slash at the end, which relative addresses
		// need.
		rq.toSlash()
		return nil, false
	}
	method := rq.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allow []string
	for i := range routes {
		rt := &routes[i]
		params, ok := rt.match(path)
		if !ok {
			continue
		}
		if rt.method != method {
			allow = append(allow, rt.method)
			continue
		}
		rq.params = params
		return rt, true
	}
	if len(allow) > 0 {
		rq.w.Header().Set("Allow", strings.Join(slices.Compact(allow), ", "))
		rq.fail(http.StatusMethodNotAllowed, "method not allowed")
		return nil, false
	}
	rq.fail(http.StatusNotFound, "not found")
	return nil, false
}

func (rt *route) match(path []string) (map[string]string, bool) {
	if len(path) != len(rt.pattern) {
		return nil, false
	}
	params := make(map[string]string)
	for i, part := range rt.pattern {
		name, isParam := strings.CutPrefix(part, ":")
		switch {
		case isParam:
			params[name] = path[i]
		case part != path[i]:
			return nil, false
		}
	}
	if a, ok := params["action"]; ok {
		of := queueActions
		switch {
		case params["id"] != "":
			of = jobActions
		case slices.Contains(rt.pattern, "bulk"):
			of = bulkActions
		}
		if !slices.Contains(of, a) {
			return nil, false
		}
	}
	return params, true
}

// toSlash redirects the browser to the same address with a slash at the end.
func (rq *request) toSlash() {
	path, _, _ := strings.Cut(rq.r.RequestURI, "?")
	last := path[strings.LastIndexByte(path, '/')+1:]
	if last == "" || strings.HasPrefix(path, "//") {
		rq.fail(http.StatusNotFound, "not found")
		return
	}
	rq.w.Header().Set("Location", "./"+last+"/")
	rq.w.WriteHeader(http.StatusPermanentRedirect)
}

// send answers with JSON.
func (rq *request) send(status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	rq.write(status, "application/json; charset=utf-8", b.Bytes())
}

func (rq *request) write(status int, kind string, body []byte) {
	h := rq.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	rq.began = true
	rq.w.WriteHeader(status)
	if rq.r.Method != http.MethodHead {
		_, _ = rq.w.Write(body) // that a client has disconnected is not an error here
	}
}

// fail answers with an error.
func (rq *request) fail(status int, text string) {
	if rq.isAPI() {
		rq.send(status, map[string]string{"error": text})
		return
	}
	rq.failPage(status, text)
}

// failWith answers with the status that belongs to err.
func (rq *request) failWith(err error) {
	status := http.StatusConflict
	var bad badCommand
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.As(err, &bad):
		status = http.StatusBadRequest
	case errors.Is(err, errNoJob):
		status = http.StatusNotFound
	case errors.Is(err, errNotOffered):
		status = http.StatusNotImplemented
	case errors.Is(err, errBusy), errors.Is(err, errStackBusy):
		status = http.StatusTooManyRequests
	}
	rq.fail(status, cut(rq.page.redact(strings.TrimPrefix(err.Error(), "admin: ")), maxPreview*2))
}

// decode reads the JSON of a request into v, a pointer to a struct. Names must
// have the right case and occur once: encoding/json ignores their case and uses
// the last, so that two programs could read one body in two ways.
func (rq *request) decode(v any) error {
	body, err := io.ReadAll(rq.r.Body)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if err := checkNames(body, reflect.TypeOf(v).Elem()); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badCommand{"body that does not fit: " + strings.TrimPrefix(err.Error(), "json: ")}
	}
	if _, err := dec.Token(); err != io.EOF {
		return badCommand{"body with more than one value"}
	}
	return nil
}

func checkNames(body []byte, t reflect.Type) error {
	known := make(map[string]bool)
	for i := range t.NumField() {
		known[t.Field(i).Tag.Get("json")] = true
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return badCommand{"body that is not a JSON object"}
	}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return badCommand{"body that is not JSON"}
		}
		name, _ := tok.(string)
		if !known[name] {
			return badCommand{fmt.Sprintf("unknown name %q, or one that is there twice", cut(name, 50))}
		}
		delete(known, name)
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return badCommand{"body that is not JSON"}
		}
	}
	return nil
}

// queueView is a queue in the form of the API. Durations are in seconds.
type queueView struct {
	Name          string                `json:"name"`
	Paused        bool                  `json:"paused"`
	Stopped       bool                  `json:"stopped"`
	Width         widthValue            `json:"width"`
	DeclaredWidth widthValue            `json:"declared_width"`
	Rate          string                `json:"rate"`
	RateHeldSince *time.Time            `json:"rate_held_since"` // null if the rate limit delays no job
	RateError     string                `json:"rate_error"`      // of the limiter, while it fails
	Grouped       int                   `json:"grouped"`         // pending jobs that wait for their group
	NextSince     *time.Time            `json:"next_since"`      // the next job to start has been due; null if there is none
	Pending       int                   `json:"pending"`
	Delayed       int                   `json:"delayed"`
	Underway      int                   `json:"underway"`
	Put           uint64                `json:"put"`
	Joined        uint64                `json:"joined"`
	Refused       uint64                `json:"refused"`
	Retries       uint64                `json:"retries"`
	Finished      uint64                `json:"finished"`
	Failed        uint64                `json:"failed"`
	Canceled      uint64                `json:"canceled"`
	Throughput    float64               `json:"throughput"`
	PutRate       float64               `json:"put_rate"`
	EmptyIn       *float64              `json:"empty_in_seconds"` // null if the queue will not be empty at this rate
	Waiting       durations             `json:"waiting_seconds"`
	Running       durations             `json:"running_seconds"`
	Changes       map[string]changeView `json:"changes"`
	Offers        []string              `json:"offers"` // the names of the actions that this client may use
	Time          time.Time             `json:"time"`
	Error         string                `json:"error"`
}

// widthValue is a width in JSON: a number or "unlimited".
type widthValue int

func (w widthValue) MarshalJSON() ([]byte, error) {
	if w >= Unlimited {
		return []byte(`"unlimited"`), nil
	}
	return strconv.AppendInt(nil, int64(w), 10), nil
}

func (w widthValue) String() string { return widthText(int(w)) }

type durations struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

func durationsOf(h *twill.Histogram) durations {
	return durations{h.Count(), h.Mean().Seconds(), h.Quantile(0.5).Seconds(), h.Quantile(0.9).Seconds(), h.Quantile(0.99).Seconds(), h.Max().Seconds()}
}

type changeView struct {
	Value string     `json:"value"`
	Who   string     `json:"who"`
	At    time.Time  `json:"at"`
	Until *time.Time `json:"until"` // null if it does not end
}

// view returns the state of e. It reads the queue's numbers unless live is set:
// then it uses the numbers that were read last.
func (p *Page) view(e *entry, live bool) (v queueView) {
	s, at, _, err := e.history.latest()
	if !live || at.IsZero() {
		if s, err = e.read(); err == nil {
			at = time.Now()
		}
	}
	put, ended := e.history.rates()
	v = queueView{
		Name: e.name, Paused: s.paused, Stopped: s.stopped, DeclaredWidth: widthValue(e.declared), Rate: s.rate,
		RateHeldSince: timeOrNil(s.RateHeldSince), RateError: cut(p.redact(s.RateError), maxPreview), Grouped: s.Grouped,
		NextSince: timeOrNil(s.NextSince),
		Width:     widthValue(s.Width), Pending: s.Pending, Delayed: s.Delayed, Underway: s.Underway,
		Put: s.Put, Joined: s.Joined, Refused: s.Refused, Retries: s.Retries,
		Finished: s.Finished, Failed: s.Failed, Canceled: s.Canceled,
		Throughput: s.Throughput, PutRate: put, Waiting: durationsOf(&s.Waiting), Running: durationsOf(&s.Running),
		Changes: make(map[string]changeView), Offers: []string{}, Time: at,
	}
	switch {
	case err != nil:
		v.Error = cut(p.redact(err.Error()), maxPreview)
	case s.trouble != "":
		v.Error = cut(p.redact(s.trouble), maxPreview)
	}
	v.EmptyIn = emptyIn(v.Pending+v.Underway, put, ended)
	for _, c := range e.changes.list(maxChanges) {
		cv := changeView{Value: c.Value, Who: c.Who, At: c.At}
		if !c.Until.IsZero() {
			cv.Until = &c.Until
		}
		v.Changes[c.Setting] = cv
	}
	return v
}

// emptyIn returns the approximate number of seconds until there is no job left,
// at the rates of the last minute, or nil if that will not happen.
func emptyIn(jobs int, put, ended float64) *float64 {
	var d float64
	switch {
	case jobs == 0:
	case ended-put <= 1e-9:
		return nil
	default:
		d = float64(jobs) / (ended - put)
	}
	if d > 1e9 {
		return nil
	}
	d = math.Round(d*10) / 10
	return &d
}

// offers returns the actions on e that rq may use.
func (rq *request) offers(e *entry) []string {
	offers := []string{}
	for _, name := range ActionNames {
		switch name {
		case "read", "abort":
			continue
		case "rate":
			if _, ok := e.q.(Limited); !ok {
				continue
			}
		case "group":
			if _, ok := e.q.(Grouped); !ok {
				continue
			}
		case "discard":
			if _, ok := e.q.(DeadKeeper); !ok {
				continue
			}
		case "drain":
			if _, ok := e.q.(Drainer); !ok {
				continue
			}
		case "stack":
			if _, ok := e.q.(Stacker); !ok {
				continue
			}
		}
		if rq.may(Action{Name: name, Queue: e.name}) {
			offers = append(offers, name)
		}
	}
	return offers
}

// jobView is a job in the form of the API.
type jobView struct {
	ID        string     `json:"id"`
	State     string     `json:"state"`
	Key       string     `json:"key"`
	Group     string     `json:"group"`
	Priority  int        `json:"priority"`
	Attempts  int        `json:"attempts"`
	QueuedAt  time.Time  `json:"queued_at"`
	DueAt     *time.Time `json:"due_at"`
	StartedAt *time.Time `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Arg       string     `json:"arg"`
	ArgBytes  int        `json:"arg_bytes"` // of the text, if arg is cut
	Error     string     `json:"error"`
	Stack     string     `json:"stack"` // of a panic; for one job only
	Why       string     `json:"why"`   // why a pending job does not run; for one job only
}

func (p *Page) viewJob(j *job, whole bool) jobView {
	limit := maxPreview
	if whole {
		limit = maxText
	}
	return jobView{
		ID: j.ID, State: stateName(j.State), Key: cut(j.Key, limit), Group: cut(j.Group, limit), Priority: j.Priority, Attempts: j.Attempts,
		QueuedAt: j.Queued, DueAt: timeOrNil(j.Due), StartedAt: timeOrNil(j.Started), EndedAt: timeOrNil(j.Stopped),
		Arg: cut(j.Arg, limit), ArgBytes: len(j.Arg), Error: cut(j.errorText(), limit),
	}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// failureOf returns the text of a job's error and the stack of its panic,
// redacted.
func (p *Page) failureOf(e *entry, id string) (text, stack string) {
	var err error
	func() {
		defer containPanic(&err)
		err = e.q.JobError(id)
	}()
	if err == nil {
		return "", ""
	}
	if panicked, ok := errors.AsType[*twill.PanicError](err); ok {
		stack = cut(p.redact(string(panicked.Stack)), maxText)
	}
	return cut(p.redact(safeText(err)), maxText), stack
}

// safeText returns err's text; the methods of an error may panic.
func safeText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("(%T whose Error panicked)", err)
		}
	}()
	return err.Error()
}

// list is a part of the jobs of a queue.
type list struct {
	Jobs    []jobView `json:"jobs"`
	Next    string    `json:"next"`    // the cursor of the next part, "" at the end
	Scanned int       `json:"scanned"` // number of jobs that were scanned for this part
	Total   int       `json:"total"`   // approximate number of jobs, whether or not they match
	Filter  string    `json:"filter"`
	State   string    `json:"state"`
}

// scanBudget is the maximum time that one request may search.
const scanBudget = 300 * time.Millisecond

// section is the jobs of some states, which are listed separately.
type section struct {
	name   string
	states []twill.JobState
}

// sections are all jobs of a queue, in the order in which they are listed.
var sections = []section{
	{"pending", []twill.JobState{twill.JobPending}},
	{"underway", []twill.JobState{twill.JobUnderway}},
	{"ended", []twill.JobState{twill.JobFinished, twill.JobFailed, twill.JobCanceled}},
	{"dead", []twill.JobState{stateDead}},
}

// cursor is a position in the lists of a queue.
type cursor struct{ section, offset int }

func (c cursor) String() string { return sections[c.section].name + "." + strconv.Itoa(c.offset) }

func parseCursor(text string) (c cursor, err error) {
	name, offset, _ := strings.Cut(text, ".")
	c.section = slices.IndexFunc(sections, func(s section) bool { return s.name == name })
	c.offset, err = strconv.Atoi(offset)
	if err != nil || c.section < 0 || c.offset < 0 || c.offset > 1e9 {
		return c, badCommand{"cursor that is none of ours"}
	}
	return c, nil
}

// listRequest has the arguments of a list.
type listRequest struct {
	states []twill.JobState
	state  string
	filter *jobFilter
	cursor cursor
	limit  int
}

// parseList reads a listRequest from a query.
func parseList(q url.Values, defaultLimit int) (lr listRequest, err error) {
	lr.limit = defaultLimit
	if text := q.Get("limit"); text != "" {
		if lr.limit, err = strconv.Atoi(text); err != nil || lr.limit < 1 || lr.limit > maxPage {
			return lr, badCommand{fmt.Sprintf("limit that is not from 1 to %d", maxPage)}
		}
	}
	if text := strings.TrimSpace(q.Get("filter")); text != "" {
		if lr.filter, err = parseFilter(text); err != nil {
			return lr, err
		}
	}
	lr.state = q.Get("state")
	if lr.state == "" {
		lr.state = "pending"
		if lr.filter != nil {
			lr.state = "any"
		}
	}
	switch s, ok := stateOf(lr.state); {
	case lr.state == "any":
		lr.states = covers["count"]
	case lr.state == "ended":
		lr.states = sections[2].states
	case ok:
		lr.states = []twill.JobState{s}
	default:
		return lr, badCommand{"unknown state"}
	}
	if text := q.Get("cursor"); text != "" {
		lr.cursor, err = parseCursor(text)
	}
	return lr, err
}

// list returns a part of the jobs of e. A search ends after scanBudget: then
// there are fewer jobs than requested, and Next is the cursor with which to
// continue.
func (p *Page) list(rq *request, e *entry, lr listRequest) (l list, err error) {
	defer containPanic(&err)
	s, err := e.read()
	if err != nil {
		return l, err
	}
	l = list{Jobs: []jobView{}, Total: s.Pending + s.Underway, State: lr.state}
	if lr.filter != nil {
		l.Filter = lr.filter.String()
	}
	now := time.Now()
	for at := lr.cursor; at.section < len(sections); at = (cursor{at.section + 1, 0}) {
		here := sections[at.section]
		states := slices.DeleteFunc(slices.Clone(lr.states), func(s twill.JobState) bool { return !slices.Contains(here.states, s) })
		if len(states) == 0 {
			continue
		}
		from, skip := 0, at.offset
		if here.name == "pending" {
			from, skip = at.offset, 0
		}
		offset := at.offset
		for j := range p.jobs(e, lr.filter, states, from) {
			if skip > 0 {
				skip--
				continue
			}
			switch {
			case len(l.Jobs) == lr.limit, l.Scanned%64 == 63 && (time.Since(now) > scanBudget || rq.r.Context().Err() != nil):
				l.Next = cursor{at.section, offset}.String()
				return l, nil
			}
			l.Scanned++
			offset++
			if lr.filter == nil || lr.filter.matches(j, now) {
				l.Jobs = append(l.Jobs, p.viewJob(j, false))
			}
		}
	}
	return l, nil
}

// operationView is an operation in the form of the API.
type operationView struct {
	ID           string         `json:"id"`
	Action       string         `json:"action"`
	Queue        string         `json:"queue"`
	Filter       string         `json:"filter"` // which jobs, as text
	Covers       []string       `json:"covers"` // the states to which the action applies
	DryRun       bool           `json:"dry_run"`
	Detail       string         `json:"detail"`
	Who          string         `json:"who"`
	Reason       string         `json:"reason"`
	State        string         `json:"state"` // running, done, aborted or failed
	StartedAt    time.Time      `json:"started_at"`
	EndedAt      *time.Time     `json:"ended_at"`
	Scanned      int            `json:"scanned"`
	Total        int            `json:"total"`
	Matched      int            `json:"matched"`
	Done         int            `json:"done"`
	Skipped      map[string]int `json:"skipped"` // by reason
	SkippedTotal int            `json:"skipped_total"`
	Failed       int            `json:"failed"`
	Failures     []failure      `json:"failures"`
	Jobs         []jobView      `json:"jobs"`      // the first jobs that a dry run has found
	Truncated    bool           `json:"truncated"` // a dry run has found more than it keeps
	Ages         agesView       `json:"ages"`      // of the pending jobs that a count has found
	Error        string         `json:"error"`
}

func (op *operation) view() operationView {
	op.mu.Lock()
	defer op.mu.Unlock()
	v := operationView{
		ID: op.id, Action: op.cmd.Action, Queue: op.entry.name, Filter: op.what(), Covers: []string{}, DryRun: op.cmd.DryRun,
		Detail: op.detail(), Who: op.who, Reason: op.cmd.Reason, State: op.state, StartedAt: op.started, EndedAt: timeOrNil(op.ended),
		Scanned: op.scanned, Total: max(op.total, op.scanned), Matched: op.matched, Done: op.done, Skipped: make(map[string]int), Failed: op.failed,
		Failures: append([]failure{}, op.failures...), Jobs: append([]jobView{}, op.listed...), Truncated: op.truncated, Error: op.err,
		Ages: op.ages.view(),
	}
	for _, s := range covers[op.cmd.Action] {
		v.Covers = append(v.Covers, stateName(s))
	}
	for reason, n := range op.skipped {
		v.Skipped[reason] = n
		v.SkippedTotal += n
	}
	return v
}

func (rq *request) getOpenAPI() { rq.write(http.StatusOK, "application/json; charset=utf-8", openapi) }

// visible returns the queues that rq may read.
func (rq *request) visible() []*entry {
	rq.page.mu.RLock()
	all := slices.Clone(rq.page.queues)
	rq.page.mu.RUnlock()
	return slices.DeleteFunc(all, func(e *entry) bool { return !rq.may(Action{Name: "read", Queue: e.name}) })
}

// mayRead returns a function that reports whether rq may read a queue, and asks
// once for each queue.
func (rq *request) mayRead() func(queue string) bool {
	known := map[string]bool{"": true}
	return func(queue string) bool {
		ok, asked := known[queue]
		if !asked {
			ok = rq.may(Action{Name: "read", Queue: queue})
			known[queue] = ok
		}
		return ok
	}
}

func (rq *request) getQueues() {
	views := []queueView{}
	for _, e := range rq.visible() {
		v := rq.page.view(e, true)
		v.Offers = rq.offers(e)
		views = append(views, v)
	}
	rq.send(http.StatusOK, map[string]any{"queues": views})
}

func (rq *request) getQueue() {
	v := rq.page.view(rq.entry, false)
	v.Offers = rq.offers(rq.entry)
	rq.send(http.StatusOK, v)
}

// historyView has the samples of the last hour in columns, and the audit
// entries of that time. Times are seconds since 1970.
type historyView struct {
	Interval float64     `json:"interval_seconds"`
	Time     []float64   `json:"time"`
	Pending  []int       `json:"pending"`
	Underway []int       `json:"underway"`
	Width    []int       `json:"width"`
	Put      []float64   `json:"put"`
	Ended    []float64   `json:"ended"`
	Failed   []float64   `json:"failed"`
	Waiting  []quantiles `json:"waiting_seconds"`
	Running  []quantiles `json:"running_seconds"`
	Marks    []mark      `json:"marks"`
}

type mark struct {
	Time float64 `json:"time"`
	Text string  `json:"text"`
}

func (rq *request) getHistory() {
	all := rq.entry.history.list()
	v := historyView{
		Interval: sampleInterval.Seconds(),
		Time:     []float64{}, Pending: []int{}, Underway: []int{}, Width: []int{}, Put: []float64{}, Ended: []float64{}, Failed: []float64{},
		Waiting: []quantiles{}, Running: []quantiles{}, Marks: []mark{},
	}
	for _, s := range all {
		v.Time = append(v.Time, seconds(s.Time))
		v.Pending = append(v.Pending, s.Pending)
		v.Underway = append(v.Underway, s.Underway)
		v.Width = append(v.Width, s.Width)
		v.Put = append(v.Put, s.Put)
		v.Ended = append(v.Ended, s.Ended)
		v.Failed = append(v.Failed, s.Failed)
		v.Waiting = append(v.Waiting, s.Waiting)
		v.Running = append(v.Running, s.Running)
	}
	v.Marks = rq.page.marks(rq.entry.name)
	rq.send(http.StatusOK, v)
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// marks returns the latest audit entries of a queue, for its charts, oldest
// first.
func (p *Page) marks(queue string) []mark {
	entries, _ := p.audit.list(func(q string) bool { return q == queue }, "", 0, 100)
	marks := []mark{}
	for _, a := range slices.Backward(entries) {
		text := a.Action
		if a.Detail != "" {
			text += " " + a.Detail
		}
		marks = append(marks, mark{seconds(a.Time), visible(cut(text+", by "+a.Who, maxPreview))})
	}
	return marks
}

func (rq *request) getJobs() {
	lr, err := parseList(rq.r.URL.Query(), 50)
	if err == nil {
		var l list
		if l, err = rq.page.list(rq, rq.entry, lr); err == nil {
			rq.send(http.StatusOK, l)
			return
		}
	}
	rq.failWith(err)
}

// oneJob returns the job that a request names, with all details.
func (rq *request) oneJob() (v jobView, err error) {
	defer containPanic(&err)
	p, e := rq.page, rq.entry
	id, r, ok := e.q.FindJob(rq.params["id"])
	if !ok {
		return v, errNoJob
	}
	ended := isEnded(r.State)
	v = p.viewJob(p.job(e, id, r, ended), true)
	if ended {
		_, v.Stack = p.failureOf(e, id)
	}
	if x, ok := e.q.(Explainer); ok && r.State == twill.JobPending {
		v.Why = x.WhyPending(id)
	}
	return v, nil
}

func (rq *request) getJob() {
	v, err := rq.oneJob()
	if err != nil {
		rq.failWith(err)
		return
	}
	rq.send(http.StatusOK, v)
}

// workerView is a worker of a cluster as the API shows it.
type workerView struct {
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Heartbeat time.Time `json:"heartbeat"`
	Underway  int       `json:"underway"`
	Schedules bool      `json:"schedules"`
}

// workersOf returns the first maxWorkers workers of e, nil if e is not
// [Clustered].
func workersOf(e *entry) (views []workerView, err error) {
	defer containPanic(&err)
	q, ok := e.q.(Clustered)
	if !ok {
		return nil, nil
	}
	views = []workerView{}
	q.EachWorker(func(name, version string, heartbeat time.Time, underway int, schedules bool) bool {
		views = append(views, workerView{cut(name, maxPreview), cut(version, maxPreview), heartbeat, underway, schedules})
		return len(views) < maxWorkers
	})
	return views, nil
}

func (rq *request) getWorkers() {
	views, err := workersOf(rq.entry)
	if err == nil && views == nil {
		err = errNotOffered
	}
	if err != nil {
		rq.failWith(err)
		return
	}
	rq.send(http.StatusOK, map[string]any{"workers": views})
}

// stack returns the stacks of the job's goroutines.
func (rq *request) stack() (text string, err error) {
	defer containPanic(&err)
	s, ok := rq.entry.q.(Stacker)
	if !ok {
		return "", errNotOffered
	}
	id, _, ok := rq.entry.q.FindJob(rq.params["id"])
	if !ok {
		return "", errNoJob
	}
	text, err = s.JobStacks(rq.r.Context(), id)
	return cut(rq.page.redact(text), 4*maxText), err
}

func (rq *request) getStack() {
	text, err := rq.stack()
	if err != nil {
		rq.failWith(err)
		return
	}
	rq.send(http.StatusOK, map[string]string{"stack": text})
}

func (rq *request) postQueue() { rq.postArgs("") }

func (rq *request) postJob() { rq.postArgs(rq.params["id"]) }

func (rq *request) postArgs(id string) {
	var a args
	err := rq.decode(&a)
	if err == nil {
		var o outcome
		if o, err = rq.page.steer(rq.entry, rq.action.Name, id, rq.who, a); err == nil {
			rq.send(http.StatusOK, o)
			return
		}
	}
	rq.failWith(err)
}

func (rq *request) postBulk() {
	var cmd command
	err := rq.decode(&cmd)
	if err == nil && cmd.Action != "" && cmd.Action != rq.action.Name {
		err = badCommand{"another action than that of the address"}
	}
	if err == nil {
		cmd.Action = rq.action.Name
		var op *operation
		if op, err = rq.page.start(rq.entry, cmd, rq.who); err == nil {
			rq.w.Header().Set("Location", rq.base()+"api/operations/"+op.id)
			rq.send(http.StatusAccepted, op.view())
			return
		}
	}
	rq.failWith(err)
}

func (rq *request) getOperations() {
	views := []operationView{}
	may := rq.mayRead()
	for _, op := range rq.page.ops.latest() {
		if may(op.entry.name) {
			v := op.view()
			v.Jobs, v.Failures = []jobView{}, []failure{} // these are only for a single operation
			views = append(views, v)
		}
	}
	rq.send(http.StatusOK, map[string]any{"operations": views})
}

// operation returns the operation that a request names. If there is none that
// the request may use for action, it answers the request and returns nil.
func (rq *request) operation(action string) *operation {
	op := rq.page.ops.find(rq.params["operation"])
	if op == nil {
		rq.fail(http.StatusNotFound, "there is no such operation")
		return nil
	}
	if !rq.authorize(Action{Name: action, Queue: op.entry.name}) {
		return nil
	}
	return op
}

func (rq *request) getOperation() {
	if op := rq.operation("read"); op != nil {
		rq.send(http.StatusOK, op.view())
	}
}

func (rq *request) postAbort() {
	var none struct{}
	if err := rq.decode(&none); err != nil {
		rq.failWith(err)
		return
	}
	if op := rq.operation("abort"); op != nil {
		rq.page.abort(op, rq.who)
		rq.send(http.StatusOK, op.view())
	}
}

// abort makes op end after the current job.
func (p *Page) abort(op *operation, who string) {
	if op.running() {
		op.cancel()
		p.note(AuditEntry{Who: who, Action: "abort", Queue: op.entry.name, Detail: "operation " + op.id + ", " + op.cmd.Action, Result: "ok"})
	}
}

func (rq *request) getAudit() {
	l, err := rq.auditPage()
	if err != nil {
		rq.failWith(err)
		return
	}
	rq.send(http.StatusOK, l)
}

// auditPage is a part of the audit list.
type auditPage struct {
	Entries []AuditEntry `json:"entries"`
	Next    string       `json:"next"`
	Search  string       `json:"search"`
}

func (rq *request) auditPage() (a auditPage, err error) {
	q := rq.r.URL.Query()
	limit, from := 100, 0
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPage {
			return a, badCommand{fmt.Sprintf("limit that is not from 1 to %d", maxPage)}
		}
	}
	if text := q.Get("cursor"); text != "" {
		if from, err = strconv.Atoi(text); err != nil || from < 0 {
			return a, badCommand{"cursor that is none of ours"}
		}
	}
	a.Search = q.Get("search")
	if len(a.Search) > maxFilter {
		return a, badCommand{fmt.Sprintf("search longer than %d bytes", maxFilter)}
	}
	entries, more := rq.page.audit.list(rq.mayRead(), a.Search, from, limit)
	a.Entries = append([]AuditEntry{}, entries...)
	if more {
		a.Next = strconv.Itoa(from + limit)
	}
	return a, nil
}

// gaugeView is a pool, a pooler or a semaphore in the form of the API.
type gaugeView struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	Numbers []number `json:"numbers"`
}

func (p *Page) gaugeViews() []gaugeView {
	p.mu.RLock()
	all := slices.Clone(p.gauges)
	p.mu.RUnlock()
	views := []gaugeView{}
	for _, g := range all {
		views = append(views, g.view())
	}
	return views
}

func (rq *request) getGauges() {
	rq.send(http.StatusOK, map[string]any{"gauges": rq.page.gaugeViews()})
}
