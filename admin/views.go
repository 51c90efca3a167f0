package admin

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

//go:embed ui
var ui embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"visible": visible,
	"seconds": func(s float64) string { return shortDuration(time.Duration(s * float64(time.Second))) },
	"count": func(n any) string {
		switch n := n.(type) {
		case int:
			return shortNumber(int64(n))
		case uint64:
			return shortNumber(int64(n))
		}
		return fmt.Sprint(n)
	},
	"perSecond": func(f float64) string { return fmt.Sprintf("%.3g", f) },
	"time":      func(t time.Time) string { return t.Format("2006-01-02 15:04:05") },
	"iso":       func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"ago":       func(t time.Time) string { return shortDuration(time.Since(t)) },
	"has":       slices.Contains[[]string],
	"path":      url.PathEscape,
	"percent": func(a, b int) int {
		if b <= 0 {
			return 100
		}
		return min(100, a*100/b)
	},
	"quote": func(name string) string { // as a word of a filter
		if i := strings.IndexByte(name, '"'); i >= 0 {
			name = name[:i] + "*"
		}
		return `"` + name + `"`
	},
	"deref": func(f *float64) float64 { return *f },
	"join":  strings.Join,
	"parts": func(lists map[string]any) []part {
		return []part{
			{"underway", "Underway", "Underway", lists["underway"].(list)},
			{"pending", "Next pending", "Due", lists["pending"].(list)},
			{"dead", "Dead", "Ended", lists["dead"].(list)},
			{"ended", "Ended last", "Ended", lists["ended"].(list)},
		}
	},
	"since": func(t time.Time) float64 { return time.Since(t).Seconds() },
	"dict": func(pairs ...any) map[string]any {
		m := make(map[string]any)
		for i := 0; i+1 < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	},
}).ParseFS(ui, "ui/*.html"))

// part is one of the lists on the page of a queue.
type part struct {
	Name, Title, Last string
	List              list
}

// listStates are the values of the state of a list.
var listStates = []string{"any", "pending", "underway", "ended", "finished", "failed", "canceled", "dead"}

// statesOf are the states that a list of e may be of.
func statesOf(e *entry) []string {
	if _, ok := e.q.(DeadKeeper); ok {
		return listStates
	}
	return listStates[:len(listStates)-1]
}

// frame has the fields of every page.
type frame struct {
	Title    string
	Base     string // the relative address of the page's root
	Nonce    string
	Who      string
	ReadOnly bool
	Queue    string // "" if the page is not about a queue
	Notice   string
	Failure  string
	Refresh  bool // the list may be fetched again while the page is open
}

// base returns the relative address of the root.
func (rq *request) base() string {
	if len(rq.path) < 2 {
		return "./"
	}
	return strings.Repeat("../", len(rq.path)-1)
}

func (rq *request) frame(title string) frame {
	f := frame{
		Title: title, Base: rq.base(), Nonce: rq.nonce, Who: rq.who, ReadOnly: rq.page.opts.ReadOnly,
		Queue: rq.params["queue"], Refresh: true,
	}
	switch q := rq.r.URL.Query(); {
	case q.Get("done") != "":
		f.Notice = cut(q.Get("done"), maxPreview)
	case q.Get("failed") != "":
		f.Failure = cut(q.Get("failed"), maxPreview)
	}
	return f
}

// render answers with a page.
func (rq *request) render(status int, name string, data any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		panic(err)
	}
	// A NUL and bytes that are not UTF-8 are shown as escapes. In fields of forms
	// they are replaced.
	body := bytes.ToValidUTF8(bytes.ReplaceAll(b.Bytes(), []byte{0}, []byte("\ufffd")), []byte("\ufffd"))
	rq.write(status, "text/html; charset=utf-8", body)
}

// redirect redirects the browser to another page, after a form.
func (rq *request) redirect(query url.Values, segments ...string) {
	to := rq.base()
	for i, s := range segments {
		if i > 0 {
			to += "/"
		}
		to += url.PathEscape(s)
	}
	if len(query) > 0 {
		to += "?" + query.Encode()
	}
	rq.w.Header().Set("Location", to)
	rq.began = true
	rq.w.WriteHeader(http.StatusSeeOther)
}

func (rq *request) failPage(status int, text string) {
	f := frame{Title: http.StatusText(status), Base: rq.base(), Nonce: rq.nonce, Failure: text}
	rq.render(status, "error.html", f)
}

func (rq *request) showIndex() {
	data := struct {
		frame
		Queues []queueView
		Gauges []gaugeView
	}{frame: rq.frame("Queues")}
	for _, e := range rq.visible() {
		data.Queues = append(data.Queues, rq.page.view(e, true))
	}
	data.Gauges = rq.page.gaugeViews()
	rq.render(http.StatusOK, "index.html", data)
}

// showFile serves one of the page's own files.
func (rq *request) showFile() {
	name := rq.params["file"]
	body, err := ui.ReadFile("ui/static/" + name)
	if err != nil || strings.Contains(name, "/") {
		rq.fail(http.StatusNotFound, "not found")
		return
	}
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "text/plain; charset=utf-8"
	}
	rq.write(http.StatusOK, kind, body)
}

// maxFirst is the number of pending jobs from which the page of a queue
// computes ages. A count computes them from all pending jobs.
const maxFirst = 1000

// firstAges returns the ages of the first maxFirst pending jobs, and whether
// these are all pending jobs.
func firstAges(e *entry) (v agesView, all bool, err error) {
	defer containPanic(&err)
	var a ages
	now := time.Now()
	n := 0
	for _, r := range e.q.PendingJobs(0) {
		if n == maxFirst {
			return a.view(), false, nil
		}
		n++
		a.add(r, now)
	}
	return a.view(), true, nil
}

func (rq *request) showQueue() {
	p, e := rq.page, rq.entry
	data := struct {
		frame
		V       queueView
		Samples []sample // a few, as a table
		Ages    agesView
		AgesAll bool
		Groups  *groupList
		Workers []workerView
		Lists   map[string]any // by section
	}{frame: rq.frame(e.name), V: p.view(e, false), Lists: make(map[string]any)}
	data.V.Offers = rq.offers(e)
	all := e.history.list()
	for i := len(all) - 1; i >= 0 && len(data.Samples) < 12; i -= 60 {
		data.Samples = append(data.Samples, all[i])
	}
	var err error
	data.Ages, data.AgesAll, err = firstAges(e)
	if err == nil {
		data.Groups, err = groupsOf(e, "", 20)
	}
	if err == nil {
		data.Workers, err = workersOf(e)
	}
	for i, s := range sections {
		if err == nil {
			data.Lists[s.name], err = p.list(rq, e, listRequest{states: s.states, state: s.name, cursor: cursor{i, 0}, limit: 10})
		}
	}
	if err != nil {
		rq.failWith(err)
		return
	}
	rq.render(http.StatusOK, "queue.html", data)
}

func (rq *request) showJobs() {
	p, e := rq.page, rq.entry
	q := rq.r.URL.Query()
	data := struct {
		frame
		V      queueView
		List   list
		Filter string
		State  string
		Query  string // of this page, to which forms return
		Next   string // of the next page
		First  string // of the first page, or "" on the first page
		Op     *operationView
		Offers []string
		States []string
		Error  string
	}{frame: rq.frame(e.name + ": jobs"), States: statesOf(e), V: p.view(e, true), Filter: cut(q.Get("filter"), maxFilter), State: q.Get("state")}
	data.Offers = rq.offers(e)
	keep := url.Values{}
	for _, name := range []string{"filter", "state", "limit"} {
		if v := q.Get(name); v != "" {
			keep.Set(name, v)
		}
	}
	data.Query = keep.Encode()
	status := http.StatusOK
	lr, err := parseList(q, 50)
	if err == nil {
		data.State = lr.state
		data.Offers = applicable(data.Offers, lr.states)
		data.List, err = p.list(rq, e, lr)
	}
	if err != nil {
		status = http.StatusBadRequest
		data.Error = strings.TrimPrefix(err.Error(), "admin: ")
	}
	if data.List.Next != "" {
		keep.Set("cursor", data.List.Next)
		data.Next = keep.Encode()
	}
	if q.Get("cursor") != "" {
		data.First = data.Query
		if data.First == "" {
			data.First = "state=pending"
		}
	}
	if op := p.ops.find(q.Get("operation")); op != nil && op.entry == e {
		v := op.view()
		data.Op = &v
	}
	rq.render(status, "jobs.html", data)
}

// applicable returns those of the actions that can apply to a job in one of the
// states.
func applicable(actions []string, states []twill.JobState) []string {
	return slices.DeleteFunc(actions, func(name string) bool {
		of, on := covers[name]
		return on && !slices.ContainsFunc(states, func(s twill.JobState) bool { return slices.Contains(of, s) })
	})
}

func (rq *request) showJob() { rq.renderJob("") }

// showStack shows the page of a job with its stacks.
func (rq *request) showStack() {
	text, err := rq.stack()
	if err != nil {
		text = strings.TrimPrefix(err.Error(), "admin: ")
	}
	rq.renderJob(text)
}

func (rq *request) renderJob(where string) {
	v, err := rq.oneJob()
	if err != nil {
		rq.failWith(err)
		return
	}
	data := struct {
		frame
		J      jobView
		Offers []string
		Where  string
	}{rq.frame("Job " + v.ID), v, rq.offers(rq.entry), where}
	data.Refresh = where == ""
	rq.render(http.StatusOK, "job.html", data)
}

func (rq *request) showOperations() {
	data := struct {
		frame
		Ops []operationView
	}{frame: rq.frame("Operations")}
	may := rq.mayRead()
	for _, op := range rq.page.ops.latest() {
		if may(op.entry.name) {
			data.Ops = append(data.Ops, op.view())
		}
	}
	rq.render(http.StatusOK, "operations.html", data)
}

func (rq *request) showOperation() {
	op := rq.operation("read")
	if op == nil {
		return
	}
	data := struct {
		frame
		Op     operationView
		Offers []string
		Abort  bool
		Back   string
	}{rq.frame("Operation " + op.id), op.view(), rq.offers(op.entry), rq.may(Action{Name: "abort", Queue: op.entry.name}), ""}
	if op.filter != nil {
		data.Back = url.Values{"filter": {op.filter.String()}}.Encode()
	}
	rq.render(http.StatusOK, "operation.html", data)
}

func (rq *request) showAudit() {
	l, err := rq.auditPage()
	if err != nil {
		rq.failWith(err)
		return
	}
	data := struct {
		frame
		List auditPage
		Next string
	}{frame: rq.frame("Audit"), List: l}
	if l.Next != "" {
		data.Next = url.Values{"search": {l.Search}, "cursor": {l.Next}}.Encode()
	}
	rq.render(http.StatusOK, "audit.html", data)
}

// form returns the fields of a form as args.
func (rq *request) form() (a args, err error) {
	if err := rq.r.ParseForm(); err != nil {
		return a, badCommand{"form that cannot be read"}
	}
	f := rq.r.PostForm
	a = args{
		Width: parseSetting(f.Get("width")), PerSecond: parseSetting(f.Get("per_second")),
		For: strings.TrimSpace(f.Get("for")), Within: strings.TrimSpace(f.Get("within")), All: f.Get("all") != "", Reason: strings.TrimSpace(f.Get("reason")),
		Group: f.Get("group"), Reset: f.Get("reset") != "",
	}
	if text := f.Get("paused"); text != "" {
		paused := text == "yes"
		a.Paused = &paused
	}
	for name, to := range map[string]func(int){"burst": func(n int) { a.Burst = n }, "priority": func(n int) { a.Priority = &n }} {
		text := strings.TrimSpace(f.Get(name))
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return a, badCommand{name + " that is no whole number"}
		}
		to(n)
	}
	return a, nil
}

// afterForm redirects the browser back, with the outcome.
func (rq *request) afterForm(o outcome, err error, query url.Values, segments ...string) {
	if query == nil {
		query = url.Values{}
	}
	if err != nil {
		query.Set("failed", strings.TrimPrefix(cut(rq.page.redact(err.Error()), maxPreview), "admin: "))
	} else {
		text := rq.action.Name
		switch {
		case o.Count > 1:
			text += fmt.Sprintf(": %s jobs", shortNumber(int64(o.Count)))
		case o.Detail != "":
			text += " " + o.Detail
		}
		query.Set("done", "Done: "+text)
	}
	rq.redirect(query, segments...)
}

func (rq *request) formQueue() {
	a, err := rq.form()
	var o outcome
	if err == nil {
		o, err = rq.page.steer(rq.entry, rq.action.Name, "", rq.who, a)
	}
	rq.afterForm(o, err, nil, "q", rq.entry.name)
}

func (rq *request) formJob() {
	a, err := rq.form()
	var o outcome
	id := rq.params["id"]
	if err == nil {
		o, err = rq.page.steer(rq.entry, rq.action.Name, id, rq.who, a)
	}
	if o.ID != "" {
		id = o.ID
	}
	rq.afterForm(o, err, nil, "q", rq.entry.name, "job", id)
}

// formBulk acts on the jobs that were selected, or makes a dry run for the jobs
// that match the filter; the page of the dry run asks for a confirmation.
func (rq *request) formBulk() {
	a, err := rq.form()
	back := url.Values{}
	f := rq.r.PostForm
	for _, name := range []string{"filter", "state"} {
		if v := f.Get(name); v != "" {
			back.Set(name, v)
		}
	}
	cmd := command{Action: rq.action.Name, Reason: a.Reason}
	switch {
	case err != nil:
	case f.Get("from") != "":
		cmd.From = f.Get("from")
	case f.Get("scope") == "matching":
		cmd.Filter = f.Get("filter")
		if state := f.Get("state"); cmd.Filter != "" && state != "" && state != "any" {
			if state == "ended" {
				state = "finished,failed,canceled"
			}
			cmd.Filter = strings.TrimPrefix(strings.TrimSpace(cmd.Filter)+" state:"+state, "all ")
		}
		// The filter of a dry run with more jobs than it keeps is applied directly.
		cmd.DryRun = cmd.Action != "count" && f.Get("dry_run") != "no"
	default:
		cmd.IDs = f["id"]
		if len(cmd.IDs) == 0 {
			err = badCommand{"no job is selected"}
		}
	}
	if cmd.Action == "reprioritize" && err == nil && cmd.From == "" {
		if a.Priority == nil {
			err = badCommand{"reprioritize without a priority"}
		} else {
			cmd.Priority = *a.Priority
		}
	}
	var op *operation
	if err == nil {
		op, err = rq.page.start(rq.entry, cmd, rq.who)
	}
	switch {
	case err != nil:
		rq.afterForm(outcome{}, err, back, "q", rq.entry.name, "jobs")
	case cmd.DryRun, cmd.From != "", cmd.Action == "count":
		rq.redirect(nil, "operations", op.id)
	default:
		// An action on a few selected jobs ends soon: the list shows its result.
		select {
		case <-op.over:
		case <-time.After(2 * time.Second):
		}
		back.Set("operation", op.id)
		rq.redirect(back, "q", rq.entry.name, "jobs")
	}
}

func (rq *request) formAbort() {
	if op := rq.operation("abort"); op != nil {
		rq.page.abort(op, rq.who)
		rq.redirect(nil, "operations", op.id)
	}
}
