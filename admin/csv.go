package admin

import (
	"bufio"
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// exportColumns are the columns of an export.
var exportColumns = []string{
	"id", "state", "key", "group", "priority", "attempts", "queued_at", "due_at", "started_at", "ended_at", "arg", "error",
}

// getExport sends all jobs of a state, or that match a filter, as CSV, in one
// scan. If it cannot send all of them, it aborts the connection, so that the
// client does not take a part for the whole.
func (rq *request) getExport() {
	p, e := rq.page, rq.entry
	q := rq.r.URL.Query()
	if q.Get("state") == "" {
		q.Set("state", "any")
	}
	lr, err := parseList(q, maxPage)
	if err == nil && (q.Has("cursor") || q.Has("limit")) {
		err = badCommand{"an export has no cursor and no limit"}
	}
	if err != nil {
		rq.failWith(err)
		return
	}
	if !rq.startStream() {
		return
	}
	defer p.streams.Add(-1)
	h := rq.w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="jobs.csv"`)
	rq.began = true
	rq.w.WriteHeader(http.StatusOK)
	if rq.r.Method == http.MethodHead {
		return
	}
	buffer := bufio.NewWriterSize(&deadlineWriter{rq.w, http.NewResponseController(rq.w)}, 32<<10)
	w := csv.NewWriter(buffer)
	_ = w.Write(exportColumns) // w keeps an error for later calls
	now := time.Now()
	scanned := 0
	for j := range p.jobs(e, lr.filter, lr.states, 0) {
		if scanned++; scanned%64 == 0 && (rq.r.Context().Err() != nil || p.ctx.Err() != nil || w.Error() != nil) {
			panic(http.ErrAbortHandler)
		}
		if lr.filter == nil || lr.filter.matches(j, now) {
			_ = w.Write(exportRow(p.viewJob(j, true)))
		}
	}
	w.Flush()
	if w.Error() != nil || buffer.Flush() != nil {
		panic(http.ErrAbortHandler)
	}
}

func exportRow(j jobView) []string {
	return []string{
		cell(j.ID), j.State, cell(j.Key), cell(j.Group), strconv.Itoa(j.Priority), strconv.Itoa(j.Attempts),
		stamp(&j.QueuedAt), stamp(j.DueAt), stamp(j.StartedAt), stamp(j.EndedAt), cell(j.Arg), cell(j.Error),
	}
}

func stamp(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// cell keeps a spreadsheet from reading a text as a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// deadlineWriter sets a deadline for each write. An export may take long, but a
// client that stops reading is dropped.
type deadlineWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (w *deadlineWriter) Write(b []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(streamWrite))
	return w.ResponseWriter.Write(b)
}
