package steer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twillgo/twill/durable/internal/store"
)

// Job is a job in JSON.
type Job struct {
	ID       string    `json:"id,omitempty"`
	State    string    `json:"state"`
	Priority int64     `json:"priority"`
	Key      Text      `json:"key,omitempty"`
	Group    Text      `json:"group,omitempty"`
	Queued   time.Time `json:"queued,omitzero"`
	Due      time.Time `json:"due,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Attempts int64     `json:"attempts"`
	Crashes  int64     `json:"crashes,omitempty"`
	Retries  int64     `json:"retries,omitempty"`
	Timeout  string    `json:"timeout,omitempty"`
	Policy   Text      `json:"policy,omitempty"`
	Held     bool      `json:"held,omitempty"`
	Again    bool      `json:"again,omitempty"`
	Error    Text      `json:"error,omitempty"`
	Causes   []string  `json:"causes,omitempty"` // the names of known errors in the error
	Arg      Data      `json:"arg,omitzero"`
	Result   Data      `json:"result,omitzero"`
	Damage   string    `json:"damage,omitempty"` // why there is no argument
	Why      string    `json:"why,omitempty"`    // what it waits for
	Line     int       `json:"line,omitempty"`   // of what is imported
}

// causes are the names of the letters in [store.Job.Kind].
var causes = []struct {
	letter byte
	name   string
}{
	{'c', "canceled"}, {'x', "expired"}, {'g', "goexit"}, {'r', "retries"}, {'t', "timeout"}, {'d', "dead"}, {'m', "damaged"}, {'n', "not-kept"},
}

// Causes returns the names of the errors that a Filter knows.
func Causes() (names []string) {
	for _, c := range causes {
		names = append(names, c.name)
	}
	return names
}

func causesOf(kind string) (names []string) {
	for _, c := range causes {
		if strings.IndexByte(kind, c.letter) >= 0 {
			names = append(names, c.name)
		}
	}
	return names
}

// States are the names of the states, in the order of their numbers.
func States() (names []string) {
	for s := store.Pending; s <= store.Dead; s++ {
		names = append(names, s.String())
	}
	return names
}

// StateOf returns the state with a name.
func StateOf(name string) (store.State, bool) {
	for s := store.Pending; s <= store.Dead; s++ {
		if s.String() == name {
			return s, true
		}
	}
	return 0, false
}

func isEnded(s store.State) bool { return s > store.Parked }

// newJob is a row in JSON.
func newJob(r *store.Job) *Job {
	j := &Job{
		ID: strconv.FormatInt(r.ID, 10), State: r.State.String(), Priority: r.Priority, Key: Text(r.Key), Group: Text(r.Group),
		Queued: toTime(r.Queued), Due: toTime(r.Due), Expires: toTime(r.Expires), Started: toTime(r.Started), Ended: toTime(r.Ended),
		Attempts: r.Attempts, Crashes: r.Crashes, Retries: r.Retries, Policy: Text(r.Policy), Held: r.Held, Again: r.Again,
		Error: Text(r.Error), Causes: causesOf(r.Kind), Result: r.Result,
	}
	if r.Timeout != 0 {
		j.Timeout = time.Duration(r.Timeout).String()
	}
	return j
}

func toTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// toMillis is a time as a row has it. Rows have whole milliseconds; a time that
// is between two of them is rounded up, so that no job starts early.
func toMillis(t time.Time) (int64, error) {
	if t.IsZero() {
		return 0, nil
	}
	if t.Year() < 1970 || t.Year() > 9999 {
		return 0, fmt.Errorf("time %s is out of range", t.Format(time.RFC3339))
	}
	return max(t.Add(time.Millisecond-1).UnixMilli(), 1), nil
}

// errEnded is why a job is not imported.
type errEnded struct{ state store.State }

func (e errEnded) Error() string { return "has ended (" + e.state.String() + ")" }

// row returns the job as it is to be put, or why it cannot be. A job that has
// ended is put once more if again, without its attempts.
func (j *Job) row(again bool) (in Imported, err error) {
	r := &in.Row
	if j.ID != "" {
		if r.ID, err = ParseID(j.ID); err != nil {
			return in, err
		}
	}
	state, ok := StateOf(j.State)
	switch {
	case j.Damage != "":
		return in, fmt.Errorf("its argument is damaged: %s", j.Damage)
	case !ok:
		return in, fmt.Errorf("no state %q", j.State)
	case isEnded(state) && !again:
		return in, errEnded{state}
	case j.Arg == nil:
		return in, errors.New("no argument")
	case j.Attempts < 0 || j.Crashes < 0 || j.Retries < 0:
		return in, errors.New("negative count of attempts")
	case int64(int(j.Priority)) != j.Priority:
		return in, fmt.Errorf("priority %d is out of range", j.Priority)
	}
	r.Priority, r.Key, r.Group, r.Policy, r.Held = j.Priority, string(j.Key), string(j.Group), string(j.Policy), j.Held
	if j.Timeout != "" {
		d, err := time.ParseDuration(j.Timeout)
		if err != nil {
			return in, fmt.Errorf("timeout: %w", err)
		}
		r.Timeout = int64(d)
	}
	in.Data = j.Arg
	if isEnded(state) {
		r.Queued = time.Now().UnixMilli()
		return in, nil
	}
	r.Attempts, r.Crashes, r.Retries, r.Error, r.Again = j.Attempts, j.Crashes, j.Retries, string(j.Error), j.Again && j.Key != ""
	if r.Queued, err = toMillis(j.Queued); err != nil {
		return in, err
	}
	if r.Queued == 0 {
		r.Queued = time.Now().UnixMilli()
	}
	if state != store.Underway {
		if r.Due, err = toMillis(j.Due); err != nil {
			return in, err
		}
	}
	r.Expires, err = toMillis(j.Expires)
	return in, err
}

// ParseID reads the id of a job.
func ParseID(id string) (int64, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != id {
		return 0, fmt.Errorf("not the id of a job: %q", id)
	}
	return n, nil
}
