// Package steer is what command twill-jobs does with a queue, through the
// process that has the file open or on the file itself. It works on rows and
// bytes: it does not know the types of arguments and results.
//
// A [Service] does the work, on a store and on something that changes its jobs:
// a queue that runs, or the rows of a file. [Serve] lets another process call
// it, and [Open] finds out where that is needed.
package steer

import (
	"context"
	"fmt"
	"time"

	"github.com/twillgo/twill/durable/internal/store"
)

// Version is that of the requests and replies.
const Version = 1

// Doer carries out requests. It calls emit with each reply, the last of which
// has an End unless there is an error. If emit returns an error, the work ends
// with it. The end of ctx ends the work between two jobs.
type Doer interface {
	Do(ctx context.Context, req *Request, emit func(*Reply) error) error
}

// What a Request asks for.
const (
	Info    = "info"
	List    = "list"
	Retry   = "retry"
	Cancel  = "cancel"
	Import  = "import"
	Backup  = "backup"
	Compact = "compact"
	Check   = "check"
)

// Request is one request.
type Request struct {
	Version int    `json:"version"`
	Do      string `json:"do"`

	// Which jobs: the jobs with the IDs or, without IDs, all that the Filter
	// matches.
	IDs    []int64 `json:"ids,omitempty"`
	Filter Filter  `json:"filter,omitzero"`

	Limit  int  `json:"limit,omitempty"`  // of List: how many at most; 0 is no limit
	Latest bool `json:"latest,omitempty"` // of List: the latest first
	Args   bool `json:"args,omitempty"`   // of List: with arguments
	Why    bool `json:"why,omitempty"`    // of List: with what pending jobs wait for

	Dry   bool   `json:"dry,omitempty"`   // change nothing
	Cause string `json:"cause,omitempty"` // of Cancel

	Jobs  []Job `json:"jobs,omitempty"`  // of Import
	Again bool  `json:"again,omitempty"` // of Import: jobs that have ended are put once more

	Path string `json:"path,omitempty"` // of Backup
	Deep bool   `json:"deep,omitempty"` // of Check: what the queue has to wait for
}

// Reply is one line of what comes back. One field is set.
type Reply struct {
	Job      *Job      `json:"job,omitempty"`
	Outcome  *Outcome  `json:"outcome,omitempty"`
	Damage   string    `json:"damage,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	Alive    bool      `json:"alive,omitempty"` // the owner works; nothing else is known
	Error    string    `json:"error,omitempty"` // the last one, if the work failed
	End      *End      `json:"end,omitempty"`   // the last one, if it did not
}

// What has become of a job.
const (
	Done    = "done"
	Skipped = "skipped"
	Failed  = "failed"
)

// Outcome is what has become of a job that was to be changed.
type Outcome struct {
	ID      string `json:"id,omitempty"`   // "" of an import without one
	Line    int    `json:"line,omitempty"` // of an import
	Outcome string `json:"outcome"`        // Done, Skipped or Failed
	Reason  string `json:"reason,omitempty"`
	New     string `json:"new,omitempty"` // the id of the job that was put for it
}

// NewID is the New of a dry run that would not keep the id.
const NewID = "new"

// Progress is how much of the work is done.
type Progress struct {
	Done int64  `json:"done"`
	Of   int64  `json:"of,omitempty"` // 0 if it is not known
	What string `json:"what"`
}

// End is how the work went.
type End struct {
	Matched int64 `json:"matched"` // jobs that were asked for
	Shown   int64 `json:"shown,omitempty"`
	Done    int64 `json:"done,omitempty"`
	Skipped int64 `json:"skipped,omitempty"`
	Failed  int64 `json:"failed,omitempty"`
	Damaged int64 `json:"damaged,omitempty"` // rows, and whatever else Check finds

	About  *About       `json:"about,omitempty"`
	Before *store.Sizes `json:"before,omitempty"` // of Compact
	After  *store.Sizes `json:"after,omitempty"`
	Pages  int          `json:"pages,omitempty"` // of Backup
}

// About describes a queue.
type About struct {
	File       string            `json:"file"`
	Owner      int               `json:"owner,omitempty"` // the process that has it open, 0 if only the command has
	Paused     bool              `json:"paused"`
	Stopped    bool              `json:"stopped,omitempty"`
	Width      int               `json:"width,omitempty"`
	Jobs       map[string]int64  `json:"jobs"` // how many are in each state
	Oldest     time.Time         `json:"oldest,omitzero"`
	LastID     int64             `json:"lastID"`
	Sizes      store.Sizes       `json:"sizes"`
	Periodics  []Periodic        `json:"periodics,omitempty"`
	Settings   map[string]string `json:"settings,omitempty"`
	SQLite     string            `json:"sqlite"`
	Schema     int               `json:"schema"`
	FileSystem string            `json:"fileSystem,omitempty"`
	Pragmas    map[string]string `json:"pragmas,omitempty"`
}

// Periodic is a periodic job.
type Periodic struct {
	Name     Text      `json:"name"`
	Schedule Text      `json:"schedule,omitempty"` // "" if it is no text
	Last     time.Time `json:"last,omitzero"`      // the times up to this one are over
	Job      string    `json:"job,omitempty"`      // the latest run
}

// Live is what a queue that runs says of itself.
type Live struct {
	Process int
	Paused  bool
	Stopped bool
	Width   int
}

// Queue changes jobs. Its methods may be called by several goroutines.
type Queue interface {
	// Live describes the queue, nil if none runs.
	Live() *Live

	// Cancel cancels jobs that have not ended. The end of ctx ends its waits for
	// the disk.
	Cancel(ctx context.Context, ids []int64, cause error) []Outcome

	// Retry puts jobs that have ended once more. A job that did not finish is
	// replaced by the new one.
	Retry(jobs []store.Job) []Outcome

	// Import puts jobs as they are, with the same id if that is above all that
	// were used and [Imported.Keeps], and returns an outcome for each. If dry, it
	// returns what it would do.
	Import(jobs []Imported, dry bool) []Outcome

	// KeyTaken returns the job that has a key, 0 if there is none.
	KeyTaken(key string) (id int64, err error)

	// Why says what a pending job waits for.
	Why(id int64) string

	// Has reports whether the queue has a job that has not ended in memory.
	Has(id int64) bool
}

// Imported is a job to be imported. Its id is 0 if it has none.
type Imported struct {
	Row  store.Job
	Data []byte
}

// maxImportID is the highest id that an import keeps. With a much higher one,
// no ids would be left for the jobs to come.
const maxImportID = 1 << 53

// Keeps reports whether the job is imported with its id into a queue that has
// used the ids up to last.
func (in *Imported) Keeps(last int64) bool { return in.Row.ID > last && in.Row.ID <= maxImportID }

// NotKept is why the id of a job is not kept, "" if it has none or the reason
// is that the id was used.
func (in *Imported) NotKept() string {
	if in.Row.ID <= maxImportID {
		return ""
	}
	return fmt.Sprintf("no id above %d is kept", int64(maxImportID))
}
