package admin

import (
	"strings"
	"sync"
	"time"
)

// AuditEntry is one change that was made or attempted through the page, the API
// or the command line, or a temporary change that has ended.
type AuditEntry struct {
	Time   time.Time `json:"time"`
	Who    string    `json:"who"`
	Action string    `json:"action"` // one of ActionNames, or "back" for a change that has ended
	Queue  string    `json:"queue"`
	Job    string    `json:"job"`    // the id, if the entry is about one job
	Filter string    `json:"filter"` // if the entry is about all jobs that match
	Detail string    `json:"detail"` // the new width, rate or priority, and for how long
	Reason string    `json:"reason"` // given by the operator
	Count  int       `json:"count"`  // number of jobs that were changed
	Result string    `json:"result"` // "ok", or the error
}

// maxAudit is the maximum number of entries that are kept.
const maxAudit = 1000

// auditList has the latest entries.
type auditList struct {
	mu      sync.Mutex
	entries []AuditEntry // a ring
	next    int
}

func (l *auditList) add(e AuditEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) < maxAudit {
		l.entries = append(l.entries, e)
		return
	}
	l.entries[l.next] = e
	l.next = (l.next + 1) % maxAudit
}

// list returns up to n entries, the latest first, without the first from, that
// are of a queue in visible and contain search, ignoring case.
func (l *auditList) list(visible func(queue string) bool, search string, from, n int) (found []AuditEntry, more bool) {
	search = strings.ToLower(search)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.entries {
		at := (l.next - 1 - i + 2*len(l.entries)) % len(l.entries)
		e := &l.entries[at]
		if !visible(e.Queue) || search != "" && !e.contains(search) {
			continue
		}
		if from > 0 {
			from--
			continue
		}
		if len(found) == n {
			return found, true
		}
		found = append(found, *e)
	}
	return found, false
}

func (e *AuditEntry) contains(lower string) bool {
	for _, s := range []string{e.Who, e.Action, e.Queue, e.Job, e.Filter, e.Detail, e.Reason, e.Result} {
		if strings.Contains(strings.ToLower(s), lower) {
			return true
		}
	}
	return false
}

// note adds e to the audit list and calls Options.Audit.
func (p *Page) note(e AuditEntry) {
	e.Time = time.Now()
	p.audit.add(e)
	if p.opts.Audit == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("admin: panic in Options.Audit")
		}
	}()
	p.opts.Audit(e)
}

// resultOf returns err in the form of an audit entry.
func (p *Page) resultOf(err error) string {
	if err == nil {
		return "ok"
	}
	return cut(p.redact(err.Error()), maxPreview)
}
