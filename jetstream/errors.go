package jetstream

import (
	"errors"
	"fmt"

	"github.com/twillgo/twill/jetstream/internal/kv"
)

// Why a call is refused, or a job fails, in the cluster.
var (
	// ErrNoScheduler is returned, with the error of the last attempt, when no
	// scheduler has answered in time: none of the processes that may schedule is
	// connected, or the streams have no leader.
	ErrNoScheduler = errors.New("jetstream: no scheduler")

	// ErrUnconfirmed is returned by Put, with the job, when the stream may have
	// the job, and it is not known in time whether it has, or whether a scheduler
	// has accepted the job. The job may run later.
	ErrUnconfirmed = errors.New("jetstream: put not confirmed")

	// ErrTooLarge is returned by Put when an argument does not fit into a message,
	// and is the failure of a job whose result does not, each time as a
	// [*TooLargeError] with the size and the limit.
	ErrTooLarge = kv.ErrTooLarge

	// ErrFull is returned by Put when a limit of the stream, or of the servers'
	// storage, is reached. The job was not added. What was put before stays, and
	// puts succeed again when there is room.
	ErrFull = errors.New("jetstream: stream is full")

	// ErrNoStream is returned, with the names, when streams of the queue do not
	// exist any longer, for example because an operator has deleted them. It is
	// also the failure of the jobs that this process waits for: nothing is known
	// about their ends. A NewQueue makes the streams anew.
	ErrNoStream = errors.New("jetstream: stream does not exist")

	// ErrLost is the failure of a job that was handed out again and again, each
	// time to a worker that was lost with it; see Options.MaxLost. It is also the
	// cause of the end of a call's context when the job belongs to this process no
	// longer.
	ErrLost = errors.New("jetstream: worker lost")

	// ErrOutcomeGone is the failure of a job that has ended, and whose outcome the
	// stream does not keep any longer; see Options.Keep.
	ErrOutcomeGone = errors.New("jetstream: outcome is gone")

	// ErrJournal is reported when the journal cannot be trusted: messages are
	// missing or damaged. No process schedules then; an operator has to decide.
	ErrJournal = errors.New("jetstream: journal is damaged")

	// ErrOption is returned by Put for a setting that cannot be sent to another
	// process.
	ErrOption = errors.New("jetstream: option cannot be sent")
)

// WireError is reported when a message cannot be read, for example one of a
// later version of the wire format.
type WireError struct {
	Subject string
	Version int
	Err     error
}

func (e *WireError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("jetstream: message on %s: %v", e.Subject, e.Err)
	}
	return fmt.Sprintf("jetstream: message of version %d on %s, this program reads %d", e.Version, e.Subject, wireVersion)
}

// Unwrap returns Err.
func (e *WireError) Unwrap() error { return e.Err }
