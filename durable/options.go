package durable

import (
	"errors"
	"log/slog"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable/internal/store"
)

// Options are the settings of a [Queue]. The zero value of each field is its
// default.
type Options struct {
	// Dispatch are the settings of the queue in memory. What was changed while
	// the queue ran - by SetWidth, Pause, SetRate and SetGroupLimit - is kept
	// in the file and comes before them. A change of Width or GroupLimit here,
	// since the process before, comes before what the file has.
	//
	// Size must not be negative. A job counts for Size while it is written. Go
	// gets the *Job as its argument, and is called on a goroutine of its own, for
	// which the call that makes the job start does not wait.
	Dispatch twill.DispatchOptions

	// Codec turns arguments and results into bytes and back; the zero value is
	// JSON. What is written is read again at once, and refused if the two differ.
	// What a type leaves out on purpose is not compared: fields with the tag
	// json:"-", and those that a method of the type, such as MarshalJSON, drops.
	// Empty and nil slices and maps are equal.
	Codec Codec

	// Retries are the settings that JobOptions.Retry may have, by the names by
	// which the file has them: functions cannot be written. A name whose entry
	// is missing means Dispatch.Retry.
	Retries map[string]*twill.RetryOptions

	// MaxCrashes is how many calls of a job may end with the process. Then the
	// job is dead: it is kept with its story and not run. 0 means 3, and a
	// negative value no limit.
	MaxCrashes int

	// Keep is how many ended jobs are kept, with result or error, to be found
	// by their id; 0 means 1000, and a negative value none. KeepFor is how
	// long; 0 means no limit. KeepDead is how many dead jobs are kept; 0 means
	// 10,000, and a negative value no limit. Jobs beyond these bounds are removed
	// after each 64 ends and some seconds after the last one.
	Keep     int
	KeepFor  time.Duration
	KeepDead int

	// Early makes futures settle when the call has returned, before its end is
	// on disk: a job whose result was seen may then run again after a crash.
	Early bool

	// Wait is how long Open waits for another owner of the file to close it.
	Wait time.Duration

	// AnyFileSystem lets Open use a network file system, on which SQLite may
	// damage the file.
	AnyFileSystem bool

	// NoListener keeps Open from listening for twill-jobs, which then cannot do
	// anything with the file while the queue is open. Otherwise Open listens on a
	// port of 127.0.0.1 until Close, for requests with a token that only readers
	// of the -owner file know: those that can read the queue's file. Nothing
	// listens in a bubble of testing/synctest, where a wait for a connection would
	// stop the clock.
	NoListener bool

	// Show returns an argument as text for the admin page and its searches. If
	// it is nil, only the size is shown. It must leave secrets out.
	Show func(arg any) string

	// Logger is where the queue reports what no call returns: damaged rows,
	// dead and parked jobs, a disk that fails. Nil means [slog.Default].
	// Arguments and results are not logged.
	Logger *slog.Logger

	vfs   string           // of tests
	clock func() time.Time // of tests, nil is time.Now
}

// Why Open refuses a file, a call fails, or a job ends.
var (
	// ErrInUse is returned by Open if another process, or this one, has the
	// file open.
	ErrInUse = store.ErrInUse

	// ErrNotQueue is returned by Open for a file that is not one of a queue.
	ErrNotQueue = store.ErrNotQueue

	// ErrNewer is returned by Open for a file that a later version has written.
	ErrNewer = store.ErrNewer

	// ErrBroken is returned by all calls that would write after the disk has
	// failed, or the file was deleted, moved or replaced, and is the cause with
	// which the futures of jobs are canceled whose ends could not be written.
	// Nothing is acknowledged any longer, and no job starts: close the queue, and
	// open it when the disk works.
	ErrBroken = store.ErrBroken

	// ErrDiskFull is returned by Open, Put and its kin if there is no space. Jobs
	// that are underway wait for space. The next call may succeed.
	ErrDiskFull = store.ErrDiskFull

	// ErrDamaged is found in errors about data whose checksum is wrong.
	ErrDamaged = store.ErrDamaged

	// ErrClosed is returned by calls after Close, and is the cause with which the
	// futures of jobs are canceled that ended when nothing could be written any
	// longer: they run again in the next process.
	ErrClosed = store.ErrClosed

	// ErrNoJob is returned if there is no job with an id, or no periodic job
	// with a name.
	ErrNoJob = store.ErrNoJob

	// ErrNotKept is returned by Put for an argument or a setting that could not
	// be brought back from the file, or is larger than 900,000,000 bytes, and is
	// the error of a job with such a result.
	ErrNotKept = errors.New("durable: cannot be kept in a file")

	// ErrUnknownKind is returned by the function of a queue, alone or wrapped,
	// for an argument that this version of the program does not know. The job
	// is parked: it is not run, stays in the file as it was, and is tried again
	// by the next process.
	ErrUnknownKind = errors.New("durable: unknown kind of job")

	// ErrDead is found in the error of a dead job: one that has crashed the
	// process too often, or whose argument is damaged.
	ErrDead = errors.New("durable: job is dead")
)

func (o *Options) withDefaults() Options {
	var all Options
	if o != nil {
		all = *o
	}
	if all.MaxCrashes == 0 {
		all.MaxCrashes = 3
	}
	if all.Keep == 0 {
		all.Keep = 1000
	}
	if all.KeepDead == 0 {
		all.KeepDead = 10_000
	}
	if all.Logger == nil {
		all.Logger = slog.Default()
	}
	if all.Codec.Marshal == nil {
		all.Codec.Marshal = JSON.Marshal
	}
	if all.Codec.Unmarshal == nil {
		all.Codec.Unmarshal = JSON.Unmarshal
	}
	return all
}
